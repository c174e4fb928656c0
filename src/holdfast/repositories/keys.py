"""Which keys a store takes: the same everywhere, so that backups can move between stores."""

from __future__ import annotations

import re

from holdfast.errors import ObjectMissing

# What S3 takes, and the others too: bytes of UTF-8.
MOST_BYTES = 1024
# Control characters are in no key of ours, and half of a surrogate pair is no letter at all.
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def is_plain(key: str) -> bool:
    """Whether it is a relative name that leads nowhere but down; a segment with a leading dot is
    never an object's."""
    if any(segment == "" or segment.startswith(".") for segment in key.split("/")):
        return False
    return _ODD.search(key) is None and len(key.encode()) <= MOST_BYTES


def require_plain(key: str) -> None:
    """Raises `ObjectMissing`: nothing can be stored under a key that is not plain."""
    if not is_plain(key):
        raise ObjectMissing(f"cannot use key {_shown(key)}: it is not a plain relative name")


def _shown(key: str) -> str:
    return f"'{key}'" if _ODD.search(key) is None else ascii(key)
