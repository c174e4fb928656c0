"""Commands: each parses arguments, calls one operation and shows its value."""
