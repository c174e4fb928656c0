"""What a store tells of its objects, believed only as far as it can be so: one place for all.

Who can write to a store, or plays one, can list anything: names that lead elsewhere, sizes that
no object has, the same page for ever. What cannot be an object of ours is passed over and told, so
that nobody's work stops for it; a list that does not end is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.model.backup import MOST
from holdfast.model.errors import RepositoryUnreachable
from holdfast.ports.repository import Stored
from holdfast.repositories.keys import is_plain
from holdfast.runtime import events

MOST_OBJECTS = 10_000_000
# One name in so many is remembered: a page that comes again brings one of them again.
LANDMARK_EVERY = 500


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
