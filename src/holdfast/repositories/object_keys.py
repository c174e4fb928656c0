"""The keys that stores accept, and how far a store's list is trusted: one place for all stores.

Anybody who can write to a store, or imitate one, can list anything: names that lead elsewhere,
impossible sizes, the same page for ever. An entry that cannot be one of our objects is skipped with
a warning, so that no run stops for it; a list that does not end is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holdfast.model.errors import ObjectMissing, RepositoryUnreachable
from holdfast.model.values import MOST
from holdfast.ports.repository import Stored
from holdfast.runtime import events

# The limit of S3 in bytes of UTF-8; other stores accept at least that.
MOST_BYTES = 1024
# Our keys have no control characters, and half of a surrogate pair is no character.
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
MOST_OBJECTS = 10_000_000
# One name in so many is remembered: a repeated page contains one of them again.
LANDMARK_EVERY = 500


def is_plain(key: str) -> bool:
    """Whether `key` is a relative name that cannot lead out of its folder.

    No segment may begin with a dot.
    """
    if any(segment == "" or segment.startswith(".") for segment in key.split("/")):
        return False
    return _ODD.search(key) is None and len(key.encode()) <= MOST_BYTES


def require_plain(key: str) -> None:
    """Raise `ObjectMissing` if `key` is not plain: no object can have such a key."""
    if not is_plain(key):
        raise ObjectMissing(f"cannot use key {_shown(key)}: it is not a plain relative name")


def _shown(key: str) -> str:
    return f"'{key}'" if _ODD.search(key) is None else ascii(key)


Listed = tuple[str, int, str]
"""A name, a size and a version, as a store reports them."""


def believed(found: Iterable[Listed], prefix: str, *, store: str) -> Iterator[Stored]:
    """The entries of `found` that can be objects below `prefix`.

    Raises `RepositoryUnreachable` if the list repeats itself, or is too long for any repository.
    """
    below = f"{prefix}/" if prefix else ""
    landmarks: set[str] = set()
    told = False
    for position, (key, size_bytes, version) in enumerate(found):
        if key in landmarks or position >= MOST_OBJECTS:
            raise RepositoryUnreachable(
                f"cannot list '{prefix}' in '{store}': the list does not end",
                hint="try again; if the error returns, the store is broken or is not your own",
            )
        if position % LANDMARK_EVERY == 0:
            landmarks.add(key)
        if key.startswith(below) and is_plain(key) and 0 <= size_bytes <= MOST:
            yield Stored(key=key, size_bytes=size_bytes, version=version)
        elif not told:
            told = True
            events.warning(
                "foreign_object_skipped", store=store, key=ascii(key), size_bytes=size_bytes
            )


def is_content(chunks: Iterable[bytes], content: bytes) -> bool:
    """Whether `chunks` equal `content`; stops reading at the first difference."""
    at = 0
    for chunk in chunks:
        if content[at : at + len(chunk)] != chunk:
            return False
        at += len(chunk)
    return at == len(content)
