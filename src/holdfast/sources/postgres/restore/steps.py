"""Orders post-data statements in steps: what runs alone, and what runs in parallel.

Post-data statements run in pg_dump's order; only consecutive indexes, and consecutive foreign keys,
are created in parallel. pg_dump puts each object after those that it needs. An index on a
materialized view follows the view, and the view follows the primary key that its GROUP BY needs.
So every other statement is a barrier. Consecutive indexes do not need one another. But indexes that
call functions wait for the constraints before them, because no catalog records what a function's
body needs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import replace
from functools import cache
from itertools import groupby

from holdfast.model.backup import Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.restore.definitions import (
    STATEMENTS_PER_MESSAGE,
    Definer,
    Settings,
    settings_before,
)
from holdfast.sources.postgres.server.sql_text import NAME, Statement, relation_of

_CONSTRAINT = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}\.{NAME})\s+ADD CONSTRAINT {NAME} "
    r"(?P<kind>PRIMARY KEY|UNIQUE|EXCLUDE)\b"
)
_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX {NAME} ON (?:ONLY )?(?P<table>{NAME}\.{NAME}) ")
# An index on columns alone, which calls no function.
_INDEX_ON_COLUMNS = re.compile(
    rf"[^(]* USING {NAME} \([^()]*\)(?: INCLUDE \([^()]*\))?(?: NULLS NOT DISTINCT)?"
    r"(?: WITH \([^()]*\))?;$"
)
# A key without options, which can take over a unique index.
_KEY = re.compile(
    rf"(?P<add>ALTER TABLE (?:ONLY )?(?P<table>{NAME}\.{NAME})\s+ADD CONSTRAINT (?P<name>{NAME}))"
    rf" (?P<kind>PRIMARY KEY|UNIQUE) (?P<columns>\({NAME}(?:, {NAME})*\));$"
)
_ADOPTING = re.compile(rf".* (?:PRIMARY KEY|UNIQUE) USING INDEX {NAME};$", re.DOTALL)
# The statements about an index that pg_dump writes right after it.
_OF_INDEX = re.compile(
    rf"ALTER INDEX {NAME}\.{NAME} ALTER COLUMN \d+ SET STATISTICS"
    rf"|ALTER TABLE (?:ONLY )?{NAME}\.{NAME} (?:CLUSTER ON|REPLICA IDENTITY USING INDEX)\b"
)
_FOREIGN_KEY = re.compile(
    rf"ALTER TABLE ONLY (?P<table>{NAME}\.{NAME})\s+ADD CONSTRAINT {NAME} FOREIGN KEY "
    rf"\({NAME}(?:, {NAME})*\) REFERENCES (?P<other>{NAME}\.{NAME})\("
)
_REMARK = re.compile(r"COMMENT ON |SECURITY LABEL ")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NONE: Mapping[Relation, str] = {}
_NO_SIZES: Mapping[Relation, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The statements of one object or of like ones, their settings, and what must come first.

    `tables` are those that it reads. If it `calls_functions`, it may read any table. No two pieces
    of work that are done at the same time may have the same of `locks`.
    """

    number: int
    statements: tuple[Statement, ...]
    settings: Settings
    needs: frozenset[int] = frozenset()
    tables: frozenset[Relation] = frozenset()
    calls_functions: bool = False
    locks: frozenset[Relation] = frozenset()

    def do(self, definer: Definer) -> None:
        definer.take_on(self.settings)
        definer.run(self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Work that runs in parallel as far as `needs` and `locks` allow, or in order if `alone`."""

    works: tuple[Work, ...]
    alone: bool
    builds_indexes: bool = False


def steps(
    found: Iterable[Statement],
    *,
    small: Mapping[Relation, str] = _NONE,
    large: AbstractSet[Relation] = frozenset(),
    sizes: Mapping[Relation, int] = _NO_SIZES,
) -> Iterator[Step]:
    """Group every statement that is no setting into steps, in the order to run them.

    `small` names the pack of each small table. All indexes of a `large` table are built side by
    side, also those of its keys. `sizes` has the tables with rows of their own: foreign keys of two
    such tables are created in parallel.
    """

    def step(works: list[Work]) -> Step:
        if not _is_index(works[0]):
            return Step(works=tuple(_keys(works, sizes)), alone=False)
        indexes = list(_split(works, large))
        merged = tuple(_merged(_in_order(indexes), small))
        return Step(works=merged, alone=False, builds_indexes=True)

    def kind(work: Work) -> str:
        if _is_index(work):
            return "index"
        return "foreign key" if _tables_of_key(work, sizes) else ""

    run: list[Work] = []
    remarks: list[Work] = []
    for work in _works(found):
        if run and _REMARK.match(_text(work)):
            # Nothing depends on a comment, so it must not end a run of parallel work.
            remarks.append(work)
            continue
        if run and kind(work) != kind(run[0]):
            yield step(run)
            yield from _alone(remarks)
            run, remarks = [], []
        if kind(work):
            run.append(work)
        else:
            yield from _alone([work])
    if run:
        yield step(run)
        yield from _alone(remarks)


def _works(found: Iterable[Statement]) -> Iterator[Work]:
    # A setting between the statements of one object splits them into two works.
    made = groupby(settings_before(found), key=lambda each: (each[0].entry, each[1]))
    for number, ((_, settings), group) in enumerate(made):
        members = tuple(statement for statement, _ in group)
        yield Work(number=number, statements=members, settings=settings)


def _is_index(work: Work) -> bool:
    first, *rest = (statement.text for statement in work.statements)
    is_first = _CONSTRAINT.match(first) or _INDEX.match(first)
    return bool(is_first) and all(_OF_INDEX.match(each) for each in rest)


def _alone(works: Sequence[Work]) -> Iterator[Step]:
    if works:
        yield Step(works=tuple(works), alone=True)


def _tables_of_key(work: Work, sizes: Mapping[Relation, int]) -> frozenset[Relation]:
    """The two tables of a foreign key; empty if it is none, or locks more than two tables.

    That of a partitioned table, or to one, also locks the partitions.
    """
    found = _FOREIGN_KEY.match(_text(work)) if len(work.statements) == 1 else None
    if found is None:
        return frozenset()
    tables = {relation_of(found["table"]), relation_of(found["other"])}
    return frozenset(tables) if tables <= sizes.keys() else frozenset()


def _keys(works: Sequence[Work], sizes: Mapping[Relation, int]) -> list[Work]:
    """Foreign keys, those of the largest tables first; each locks both of its tables."""
    found = [replace(work, locks=_tables_of_key(work, sizes)) for work in works]
    return sorted(found, key=lambda work: -sum(sizes[table] for table in work.locks))


def _split(indexes: Sequence[Work], large: AbstractSet[Relation]) -> Iterator[Work]:
    """The works, with the keys of `large` tables made in two: their index, then the constraint.

    `ADD CONSTRAINT` locks the table while it builds, so that no other index of it can be built at
    the same time. `CREATE INDEX` lets others build theirs, and the constraint then takes it over.
    """
    of_table: defaultdict[str, list[Work]] = defaultdict(list)
    for work in indexes:
        of_table[_table_of(work)].append(work)
    for table, works in of_table.items():
        keys = {work.number: _KEY.match(_text(work)) for work in works if _is_constraint(work)}
        is_split = len(works) > 1 and relation_of(table) in large and all(keys.values())
        for work in works:
            key = keys.get(work.number)
            yield from _in_two(work, key) if key and is_split else (work,)


def _in_two(work: Work, key: re.Match[str]) -> tuple[Work, Work]:
    first, *rest = work.statements
    index = f"CREATE UNIQUE INDEX {key['name']} ON {key['table']} USING btree {key['columns']};"
    adopting = f"{key['add']} {key['kind']} USING INDEX {key['name']};"
    # No other work has a negative number.
    return (
        replace(work, number=-1 - work.number, statements=(replace(first, text=index),)),
        replace(work, statements=(replace(first, text=adopting), *rest)),
    )


def _in_order(indexes: Sequence[Work]) -> Iterator[Work]:
    """Order the constraints of each table one after another, because each locks the table.

    Plain indexes follow the constraints of their table, unless these take over indexes: then the
    constraints follow them. Whatever may call functions follows all constraints.
    """
    plain: defaultdict[str, set[int]] = defaultdict(set)
    for work in filter(_is_plain, indexes):
        plain[_table_of(work)].add(work.number)
    last: dict[str, int] = {}
    adopting: set[str] = set()
    for work in filter(_is_constraint, indexes):
        table = _table_of(work)
        if _ADOPTING.match(_text(work)):
            adopting.add(table)
        first = plain[table] if table in adopting else set[int]()
        yield _on_table(work, needs={last[table]} if table in last else first)
        last[table] = work.number
    # One set for all: thousands of indexes may wait for thousands of constraints.
    every = frozenset(work.number for work in indexes if _is_constraint(work))
    for work in indexes:
        table = _table_of(work)
        if _is_plain(work):
            waits = table in last and table not in adopting
            yield _on_table(work, needs={last[table]} if waits else set())
        elif not _is_constraint(work):
            yield replace(_on_table(work, needs=every), calls_functions=True)


def _text(work: Work) -> str:
    return work.statements[0].text


def _is_constraint(work: Work) -> bool:
    found = _CONSTRAINT.match(_text(work))
    return found is not None and found["kind"] != "EXCLUDE"


def _is_plain(work: Work) -> bool:
    text = _text(work)
    return bool(_INDEX.match(text) and _INDEX_ON_COLUMNS.match(_QUOTED.sub("x", text)))


def _table_of(work: Work) -> str:
    found = _CONSTRAINT.match(_text(work)) or _INDEX.match(_text(work))
    return found["table"] if found else ""


def _on_table(work: Work, *, needs: AbstractSet[int]) -> Work:
    return replace(work, needs=frozenset(needs), tables=frozenset({relation_of(_table_of(work))}))


def _merged(works: Iterable[Work], small: Mapping[Relation, str]) -> Iterator[Work]:
    """Join the work on small tables of one pack, so that one session takes it in few messages.

    Constraints are not joined with the indexes after them, nor plain indexes with those that call
    functions, and no work of a table whose constraints differ in their settings. So nothing needs
    what is behind it.
    """
    every = list(works)
    alone = _of_differing_constraints(every)
    joined = {table: pack for table, pack in small.items() if table not in alone}
    alike: dict[object, list[Work]] = {}
    for work in every:
        alike.setdefault(_kind_of(work, joined), []).append(work)
    groups = [
        members[first : first + STATEMENTS_PER_MESSAGE]
        for members in alike.values()
        for first in range(0, len(members), STATEMENTS_PER_MESSAGE)
    ]
    became = {each.number: group[0].number for group in groups for each in group}

    @cache
    def needs_of(members: frozenset[frozenset[int]]) -> frozenset[int]:
        return frozenset(became[need] for needs in members for need in needs)

    for group in sorted(groups, key=lambda group: group[0].number):
        number = group[0].number
        needs = needs_of(frozenset(each.needs for each in group))
        yield replace(
            group[0],
            statements=tuple(text for each in group for text in each.statements),
            needs=needs - {number} if number in needs else needs,
            tables=frozenset(table for each in group for table in each.tables),
        )


def _of_differing_constraints(works: Iterable[Work]) -> set[Relation]:
    """The tables that have constraints under different settings, such as tablespaces.

    If two tables had them in opposite orders, joined work would wait for each other.
    """
    of_table: dict[Relation, Settings] = {}
    return {
        table
        for work in filter(_is_constraint, works)
        for table in work.tables
        if of_table.setdefault(table, work.settings) != work.settings
    }


def _kind_of(work: Work, small: Mapping[Relation, str]) -> object:
    """What joined work has in common; the number of work that stands alone."""
    packs = {small.get(table) for table in work.tables}
    if None in packs or not packs:
        return work.number
    is_constraint = _CONSTRAINT.match(work.statements[0].text) is not None
    return packs.pop(), is_constraint, work.calls_functions, tuple(work.settings.items())
