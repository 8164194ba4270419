"""The only room that speaks Redis: key names, scripts, and one typed method for each script."""
