"""Which parts a restore brings back, when only some tables are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.model.backup import Member, Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed
from holdfast.ports.target import RestoreRequest


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


def is_wanted(of: Part | Member, request: RestoreRequest) -> bool:
    return not request.tables or not set(request.tables).isdisjoint(of.relations)


def pieces(parts: Sequence[Part]) -> Iterator[Part | Member]:
    """The tables, or ranges of tables, that the parts hold."""
    for part in parts:
        yield from part.members or (part,)


def filled_relations(request: RestoreRequest) -> set[Relation]:
    """Every table that has all of its rows once what is wanted is loaded."""
    every = list(pieces(of_kind(request.parts, PartKind.DATA)))
    filled = {relation for each in every if is_wanted(each, request) for relation in each.relations}
    return filled - {
        relation for each in every if not is_wanted(each, request) for relation in each.relations
    }
