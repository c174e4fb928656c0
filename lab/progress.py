"""Short lines on stderr, so that nobody wonders whether the lab still works."""

import sys


def say(line: str) -> None:
    """Print one line of progress; safe from several threads."""
    sys.stderr.write(f"lab: {line}\n")
    sys.stderr.flush()
