"""The only package that uses Redis: key names, scripts, and one typed method for each script."""
