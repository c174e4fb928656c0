"""Which keys a store takes, and how far it is believed about what it holds: one place for all.

Who can write to a store, or plays one, can list anything: names that lead elsewhere, sizes that
no object has, the same page for ever. What cannot be an object of ours is passed over and told, so
that nobody's work stops for it; a list that does not end is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holdfast.model.errors import ObjectMissing, RepositoryUnreachable
from holdfast.model.values import MOST
from holdfast.ports.repository import Stored
from holdfast.runtime import events

# What S3 takes, and the others too: bytes of UTF-8.
MOST_BYTES = 1024
# Control characters are in no key of ours, and half of a surrogate pair is no letter at all.
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
MOST_OBJECTS = 10_000_000
# One name in so many is remembered: a page that comes again brings one of them again.
LANDMARK_EVERY = 500


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


def believed(found: Iterable[tuple[str, int]], prefix: str, *, store: str) -> Iterator[Stored]:
    """Those of `found`, names with sizes, that may be objects below `prefix`.

    Raises `RepositoryUnreachable` where the list begins again, or is too long for any repository.
    """
    below = f"{prefix}/" if prefix else ""
    landmarks: set[str] = set()
    told = False
    for position, (key, size_bytes) in enumerate(found):
        if key in landmarks or position >= MOST_OBJECTS:
            raise RepositoryUnreachable(
                f"cannot list '{prefix}' in '{store}': the list does not end",
                hint="trying again may work; if it does not, the store is broken or not yours",
            )
        if position % LANDMARK_EVERY == 0:
            landmarks.add(key)
        if key.startswith(below) and is_plain(key) and 0 <= size_bytes <= MOST:
            yield Stored(key=key, size_bytes=size_bytes)
        elif not told:
            told = True
            events.warning("strange_object", store=store, key=ascii(key), size_bytes=size_bytes)


def is_content(chunks: Iterable[bytes], content: bytes) -> bool:
    """Whether a store gives back `content`; of what is longer no more is read."""
    at = 0
    for chunk in chunks:
        if content[at : at + len(chunk)] != chunk:
            return False
        at += len(chunk)
    return at == len(content)
