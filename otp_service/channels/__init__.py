"""How a code reaches a person."""
