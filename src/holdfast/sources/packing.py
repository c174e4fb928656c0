"""Which small tables share a part: a part and an object for each is what makes many slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TypeVar

# A table below this is over before a part of its own would have paid for itself.
SMALL_TABLE_BYTES = 1 << 20
PACK_BYTES = 16 << 20
TABLES_IN_PACK = 500
TABLES = "tables_sha256"

Table = TypeVar("Table")


def packs(tables: Iterable[Table], *, size_of: Callable[[Table], int]) -> Iterator[list[Table]]:
    """`tables` in their order, as many at a time as one part holds; `size_of` is in bytes."""
    pack: list[Table] = []
    size_bytes = 0
    for table in tables:
        if pack and (size_bytes + size_of(table) > PACK_BYTES or len(pack) == TABLES_IN_PACK):
            yield pack
            pack, size_bytes = [], 0
        pack.append(table)
        size_bytes += size_of(table)
    if pack:
        yield pack


def known_by(names: Sequence[str]) -> dict[str, str]:
    """The detail of a pack by which a resumed run sees that other tables share it by now."""
    return {TABLES: sha256("\0".join(names).encode()).hexdigest()}
