"""Orders post-data statements in steps: what runs alone, and what runs in parallel.

Post-data statements run in pg_dump's order; only indexes are built in parallel. pg_dump puts each
object after those that it needs. An index on a materialized view follows the view, and the view
follows the primary key that its GROUP BY needs. So every other statement is a barrier.
Consecutive indexes do not need one another. But indexes that call functions wait for the
constraints before them, because no catalog records what a function's body needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from dataclasses import replace
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
_PLAIN = re.compile(
    rf"[^(]* USING {NAME} \([^()]*\)(?: INCLUDE \([^()]*\))?(?: NULLS NOT DISTINCT)?"
    r"(?: WITH \([^()]*\))?;$"
)
# The statements about an index that pg_dump writes right after it.
_OF_INDEX = re.compile(
    rf"ALTER INDEX {NAME}\.{NAME} ALTER COLUMN \d+ SET STATISTICS"
    rf"|ALTER TABLE (?:ONLY )?{NAME}\.{NAME} (?:CLUSTER ON|REPLICA IDENTITY USING INDEX)\b"
)
_REMARK = re.compile(r"COMMENT ON |SECURITY LABEL ")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


NONE: Mapping[Relation, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The statements of one object, their settings, and the work that must come first.

    `tables` are those that it reads and locks. If it `calls_functions`, it may read any table.
    """

    number: int
    statements: tuple[Statement, ...]
    settings: Settings
    needs: frozenset[int] = frozenset()
    tables: frozenset[Relation] = frozenset()
    calls_functions: bool = False

    def do(self, definer: Definer) -> None:
        definer.take_on(self.settings)
        definer.run(self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Work that runs in parallel as far as `needs` allows, or in order if `alone`."""

    works: tuple[Work, ...]
    alone: bool


def steps(found: Iterable[Statement], *, small: Mapping[Relation, str] = NONE) -> Iterator[Step]:
    """Group every statement that is no setting into steps, in the order to run them.

    `small` names the pack of each small table.
    """
    indexes: list[Work] = []
    remarks: list[Work] = []
    for work in _works(found):
        if _is_index(work):
            indexes.append(work)
        elif indexes and _REMARK.match(work.statements[0].text):
            # Nothing depends on a comment, so it must not end a run of parallel indexes.
            remarks.append(work)
        else:
            yield from _run(indexes, remarks, small)
            indexes, remarks = [], []
            yield Step(works=(work,), alone=True)
    yield from _run(indexes, remarks, small)


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


def _run(indexes: list[Work], remarks: list[Work], small: Mapping[Relation, str]) -> Iterator[Step]:
    if indexes:
        yield Step(works=tuple(_merged(_in_order(indexes), small)), alone=False)
    if remarks:
        yield Step(works=tuple(remarks), alone=True)


def _in_order(indexes: list[Work]) -> Iterator[Work]:
    """Order the constraints of each table one after another, because each locks the table.

    Plain indexes follow the constraints of their table; whatever may call functions follows all
    constraints.
    """
    last: dict[str, int] = {}
    every: set[int] = set()
    others: list[Work] = []
    for work in indexes:
        constraint = _CONSTRAINT.match(work.statements[0].text)
        if constraint is None or constraint["kind"] == "EXCLUDE":
            others.append(work)
            continue
        table = constraint["table"]
        yield _on(table, work, needs={last[table]} if table in last else set())
        last[table] = work.number
        every.add(work.number)
    for work in others:
        text = work.statements[0].text
        index = _INDEX.match(text)
        found = index or _CONSTRAINT.match(text)
        table = found["table"] if found else ""
        if index and _PLAIN.match(_QUOTED.sub("x", text)):
            yield _on(table, work, needs={last[table]} if table in last else set())
        else:
            yield replace(_on(table, work, needs=every), calls_functions=True)


def _on(table: str, work: Work, *, needs: AbstractSet[int]) -> Work:
    return replace(work, needs=frozenset(needs), tables=frozenset({relation_of(table)}))


def _merged(works: Iterable[Work], small: Mapping[Relation, str]) -> Iterator[Work]:
    """Join the work on small tables of one pack, so that one session takes it in few messages.

    Constraints are not joined with the indexes after them, nor plain indexes with those that call
    functions. So nothing needs what is behind it.
    """
    alike: dict[object, list[Work]] = {}
    for work in works:
        alike.setdefault(_kind_of(work, small), []).append(work)
    groups = [
        members[first : first + STATEMENTS_PER_MESSAGE]
        for members in alike.values()
        for first in range(0, len(members), STATEMENTS_PER_MESSAGE)
    ]
    became = {each.number: group[0].number for group in groups for each in group}
    for group in sorted(groups, key=lambda group: group[0].number):
        number = group[0].number
        needs = {became[need] for each in group for need in each.needs}
        yield replace(
            group[0],
            statements=tuple(text for each in group for text in each.statements),
            needs=frozenset(needs - {number}),
            tables=frozenset(table for each in group for table in each.tables),
        )


def _kind_of(work: Work, small: Mapping[Relation, str]) -> object:
    """What joined work has in common; the number of work that stands alone."""
    packs = {small.get(table) for table in work.tables}
    if None in packs or not packs:
        return work.number
    is_constraint = _CONSTRAINT.match(work.statements[0].text) is not None
    return packs.pop(), is_constraint, work.calls_functions, tuple(work.settings.items())
