"""Small tables share parts: a part, an object and a client for each is what makes many slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from holdfast.model import PartKind, PartPlan
from holdfast.sources.mysql_native.faithful import TRANSACTIONAL
from holdfast.sources.mysql_native.tables import Table

SMALL_TABLE_BYTES = 1 << 20
PACK_BYTES = 16 << 20
TABLES_IN_PACK = 500


def is_small(table: Table) -> bool:
    """Tables that are locked while they are read stay apart: their locks end the sooner."""
    return table.engine == TRANSACTIONAL and table.data_bytes < SMALL_TABLE_BYTES


def packs(tables: Sequence[Table]) -> Iterator[tuple[Table, ...]]:
    """`tables` in their order, as many at a time as one part holds."""
    pack: list[Table] = []
    size_bytes = 0
    for table in tables:
        if pack and (size_bytes + table.data_bytes > PACK_BYTES or len(pack) == TABLES_IN_PACK):
            yield tuple(pack)
            pack, size_bytes = [], 0
        pack.append(table)
        size_bytes += table.data_bytes
    if pack:
        yield tuple(pack)


def pack_plan(number: int, pack: Sequence[Table]) -> PartPlan:
    """The plan's digest of names lets a resumed run see that other tables share the part by now."""
    names = "\0".join(table.relation.name for table in pack)
    return PartPlan(
        name=f"data/pack-{number:05d}.sql",
        kind=PartKind.DATA,
        estimated_bytes=sum(table.data_bytes for table in pack),
        details={"method": "packed", "tables_sha256": sha256(names.encode()).hexdigest()},
    )
