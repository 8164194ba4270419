"""Use cases of callers, one per file."""
