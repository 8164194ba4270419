"""What a caller can do; each file is one story."""
