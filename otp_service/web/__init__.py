"""The only package that serves HTTP to callers."""
