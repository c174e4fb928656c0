"""How deep a sweep goes: all the way, or a sample of it where CI has an hour for everything."""

from __future__ import annotations

import os


def deep(whole: int, *, sample: int) -> int:
    """`whole`, or `sample` of it where `CI` is set."""
    return sample if os.environ.get("CI") else whole
