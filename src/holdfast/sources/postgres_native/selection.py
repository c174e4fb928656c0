"""Which parts a restore brings back, when only some tables are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.errors import RestoreFailed
from holdfast.model import Part, PartKind, Relation
from holdfast.ports import RestoreRequest


def of_kind(parts: Sequence[Part], kind: PartKind) -> list[Part]:
    return [part for part in parts if part.kind is kind]


def data_parts(request: RestoreRequest) -> list[Part]:
    """The rows that were asked for; a partitioned table stands for its partitions.

    Raises `RestoreFailed` for a table that the backup does not hold.
    """
    parts = of_kind(request.parts, PartKind.DATA)
    if not request.tables:
        return parts
    known = {relation for part in parts for relation in part.relations}
    for relation in request.tables:
        if relation not in known:
            raise RestoreFailed(
                f"cannot restore table '{relation}': the backup does not hold its rows",
                hint="see the tables with: holdfast show BACKUP_ID",
            )
    wanted = set(request.tables)
    return [part for part in parts if wanted.intersection(part.relations)]


def filled_relations(request: RestoreRequest, chosen: Sequence[Part]) -> set[Relation]:
    """Every table that has all of its rows once `chosen` are loaded."""
    names = {part.name for part in chosen}
    others = [part for part in of_kind(request.parts, PartKind.DATA) if part.name not in names]
    filled = {relation for part in chosen for relation in part.relations}
    return filled - {relation for part in others for relation in part.relations}
