"""Short lines on stderr, which show that the lab still works."""

import sys


def say(line: str) -> None:
    """Print one line of progress; safe from several threads."""
    sys.stderr.write(f"lab: {line}\n")
    sys.stderr.flush()
