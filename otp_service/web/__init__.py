"""The only room that speaks HTTP to callers. Handlers read, call, answer."""
