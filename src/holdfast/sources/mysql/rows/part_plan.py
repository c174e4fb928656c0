"""The parts of one database: names, order, and the details that a restore needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from holdfast.model.backup import PartKind, PartPlan
from holdfast.model.part_details import (
    NOTHING,
    Details,
    MysqlDatabase,
    MysqlGrants,
    MysqlTable,
    TablePack,
)
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.snapshot import Contents
from holdfast.sources.mysql.server.accounts import Access
from holdfast.sources.mysql.server.definitions import Definitions
from holdfast.sources.mysql.server.sql import slug
from holdfast.sources.mysql.server.tables import TRANSACTIONAL, Table
from holdfast.sources.packing import SMALL_TABLE_BYTES, known_by, packs

Data = tuple[PartPlan, tuple[Table, ...]]


def contents(
    tables: Sequence[Table],
    *,
    definitions: Definitions,
    access: Access,
    limits: Limits,
    packed: bool = True,
) -> Contents:
    """Every part: tables that are locked while they are read first, then the biggest tables first.

    Small tables share parts where `packed`. The scripts of definitions and rights come last.
    """
    in_turn = sorted((table for table in tables if table.owns_rows), key=_in_turn)
    data = list(_apart([each for each in in_turn if not (packed and is_small(each))]))
    data += _packed([each for each in in_turn if packed and is_small(each)], after=len(data))
    texts = {
        name: text
        for name, text in (
            ("pre-data.sql", definitions.pre_data),
            ("indexes.sql", definitions.indexes),
            ("sequences.sql", definitions.sequences),
            ("post-data.sql", definitions.post_data),
            ("grants.sql", access.grants),
            ("globals.sql", access.globals),
        )
        if text
    }
    return Contents(
        plans=(
            *(plan for plan, _ in data),
            *_text_plans(texts, definitions, access, limits=limits),
        ),
        tables={plan.name: of for plan, of in data},
        texts=texts,
    )


def _in_turn(table: Table) -> tuple[bool, int, str]:
    return table.engine == TRANSACTIONAL, -table.data_bytes, table.relation.name


def _apart(tables: Iterable[Table], *, after: int = 0) -> Iterator[Data]:
    for number, table in enumerate(tables, start=after + 1):
        plan = PartPlan(
            name=f"data/{number:05d}-{slug(table.relation.name)}.sql",
            kind=PartKind.DATA,
            relation=table.relation,
            estimated_bytes=table.data_bytes,
            details=MysqlTable(method=table.method),
        )
        yield plan, (table,)


def _packed(small: Sequence[Table], *, after: int) -> Iterator[Data]:
    for number, pack in enumerate(packs(small, size_of=size_of), start=1):
        if len(pack) == 1:
            yield from _apart(pack, after=after)
        else:
            yield pack_plan(number, pack), tuple(pack)


def is_small(table: Table) -> bool:
    """Whether a table may share a part.

    A table that is locked while it is read may not, so that its lock ends sooner.
    """
    return table.engine == TRANSACTIONAL and table.data_bytes < SMALL_TABLE_BYTES


def size_of(table: Table) -> int:
    return table.data_bytes


def pack_plan(number: int, pack: Sequence[Table]) -> PartPlan:
    return PartPlan(
        name=f"data/pack-{number:05d}.sql",
        kind=PartKind.DATA,
        estimated_bytes=sum(map(size_of, pack)),
        details=TablePack(
            method="packed", tables_sha256=known_by([table.relation.name for table in pack])
        ),
    )


def _text_plans(
    texts: dict[str, bytes], definitions: Definitions, access: Access, *, limits: Limits
) -> Iterable[PartPlan]:
    details: dict[str, Details] = {
        "pre-data.sql": MysqlDatabase(
            character_set=definitions.character_set,
            collation=definitions.collation,
            longest_statement_bytes=limits.longest_bytes,
        ),
        "grants.sql": grants_of(access),
    }
    for name, text in texts.items():
        yield PartPlan(
            name=name,
            kind=PartKind(name.removesuffix(".sql")),
            estimated_bytes=len(text),
            details=details.get(name, NOTHING),
        )


def grants_of(access: Access) -> MysqlGrants:
    """The accounts that must exist before the grants can be applied, as details of their part."""
    return MysqlGrants(accounts=tuple((each.user, each.host) for each in access.accounts))
