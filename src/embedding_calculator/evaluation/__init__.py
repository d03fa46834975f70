"""How good the answers are: measures over labelled photos, free of any model."""
