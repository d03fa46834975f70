"""Find every face in a picture: where it is, its embedding, and its attributes."""
