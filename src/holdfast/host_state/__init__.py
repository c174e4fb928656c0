"""What this host remembers of its runs."""
