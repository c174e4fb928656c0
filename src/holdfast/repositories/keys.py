"""What every store has to be asked in the same way: which keys it takes, and what it gives back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holdfast.model.errors import ObjectMissing

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


def is_content(chunks: Iterable[bytes], content: bytes) -> bool:
    """Whether a store gives back `content`; of what is longer no more is read."""
    at = 0
    for chunk in chunks:
        if content[at : at + len(chunk)] != chunk:
            return False
        at += len(chunk)
    return at == len(content)
