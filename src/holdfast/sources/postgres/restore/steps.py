"""Orders post-data statements in steps: what runs alone, and what runs in parallel.

Post-data statements run in pg_dump's order; only indexes are built in parallel. pg_dump puts each
object after those that it needs. An index on a materialized view follows the view, and the view
follows the primary key that its GROUP BY needs. So every other statement is a barrier.
Consecutive indexes do not need one another. But indexes that call functions wait for the
constraints before them, because no catalog records what a function's body needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set as AbstractSet
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The statements of one object, their settings, and the work that must come first."""

    number: int
    statements: tuple[Statement, ...]
    settings: Settings
    needs: frozenset[int] = frozenset()

    def do(self, definer: Definer) -> None:
        definer.take_on(self.settings)
        definer.run(self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Work that runs in parallel as far as `needs` allows, or in order if `alone`."""

    works: tuple[Work, ...]
    alone: bool


def steps(
    found: Iterable[Statement], *, small: AbstractSet[Relation] = frozenset()
) -> Iterator[Step]:
    """Group every statement that is no setting into steps, in the order to run them."""
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


def _run(indexes: list[Work], remarks: list[Work], small: AbstractSet[Relation]) -> Iterator[Step]:
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
        before = last.get(constraint["table"])
        yield replace(work, needs=frozenset(() if before is None else (before,)))
        last[constraint["table"]] = work.number
        every.add(work.number)
    for work in others:
        index = _INDEX.match(work.statements[0].text)
        if index and _PLAIN.match(_QUOTED.sub("x", work.statements[0].text)):
            before = last.get(index["table"])
            yield replace(work, needs=frozenset(() if before is None else (before,)))
        else:
            yield replace(work, needs=frozenset(every))


def _merged(works: Iterable[Work], small: AbstractSet[Relation]) -> Iterator[Work]:
    """Join consecutive work on `small` tables, so that one session takes it in few messages.

    Constraints are not joined with the indexes after them, so nothing needs what is behind it.
    """
    became: dict[int, int] = {}
    for (is_small, _, _), group in groupby(works, key=lambda work: _kind_of(work, small)):
        members = list(group)
        size = STATEMENTS_PER_MESSAGE if is_small else 1
        for first in range(0, len(members), size):
            joined = members[first : first + size]
            number = joined[0].number
            became |= {each.number: number for each in joined}
            needs = {became[need] for each in joined for need in each.needs}
            yield Work(
                number=number,
                statements=tuple(text for each in joined for text in each.statements),
                settings=joined[0].settings,
                needs=frozenset(needs - {number}),
            )


def _kind_of(work: Work, small: AbstractSet[Relation]) -> tuple[bool, bool, Settings]:
    """Whether the work is on a small table, whether it makes a constraint, and its settings."""
    text = work.statements[0].text
    found = _CONSTRAINT.match(text) or _INDEX.match(text)
    is_small = found is not None and relation_of(found["table"]) in small
    return is_small, _CONSTRAINT.match(text) is not None, work.settings
