"""The journey of one photo: detect, limit, crop, ask the plugins; and the machinery around it."""
