"""Which tables of MySQL and MariaDB may share a part, and the plan of one that is shared."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.backup import PartKind, PartPlan
from holdfast.sources.mysql.server.engine_support import TRANSACTIONAL
from holdfast.sources.mysql.server.tables import Table
from holdfast.sources.packing import SMALL_TABLE_BYTES, known_by


def is_small(table: Table) -> bool:
    """Tables that are locked while they are read stay apart: their locks end the sooner."""
    return table.engine == TRANSACTIONAL and table.data_bytes < SMALL_TABLE_BYTES


def size_of(table: Table) -> int:
    return table.data_bytes


def pack_plan(number: int, pack: Sequence[Table]) -> PartPlan:
    return PartPlan(
        name=f"data/pack-{number:05d}.sql",
        kind=PartKind.DATA,
        estimated_bytes=sum(map(size_of, pack)),
        details={"method": "packed"} | known_by([table.relation.name for table in pack]),
    )
