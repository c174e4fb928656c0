"""What comes after the rows, in pg_dump's own order; only indexes are built side by side.

pg_dump puts what needs something behind it: an index on a materialized view comes after the view,
and that after the primary key that its GROUP BY rests on. So whatever is no index is a barrier.
Of indexes that follow one another none needs another, and yet those that call functions need
the constraints before them: what a function's body rests on no catalog knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import psycopg

from holdfast.sources.postgres.restore.definitions import Definer, Settings, settings_before
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import NAME, Statement

_CONSTRAINT = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}\.{NAME})\s+ADD CONSTRAINT {NAME} "
    r"(?P<kind>PRIMARY KEY|UNIQUE|EXCLUDE)\b"
)
_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX {NAME} ON (?:ONLY )?(?P<table>{NAME}\.{NAME}) ")
# Nothing but columns: no function is called.
_PLAIN = re.compile(
    rf"[^(]* USING {NAME} \([^()]*\)(?: INCLUDE \([^()]*\))?(?: NULLS NOT DISTINCT)?"
    r"(?: WITH \([^()]*\))?;$"
)
# What pg_dump says of an index right after it.
_OF_INDEX = re.compile(
    rf"ALTER INDEX {NAME}\.{NAME} ALTER COLUMN \d+ SET STATISTICS"
    rf"|ALTER TABLE (?:ONLY )?{NAME}\.{NAME} (?:CLUSTER ON|REPLICA IDENTITY USING INDEX)\b"
)
_REMARK = re.compile(r"COMMENT ON |SECURITY LABEL ")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The statements of one object, what is set for them, and which other work comes first."""

    number: int
    statements: tuple[Statement, ...]
    settings: Settings
    needs: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Work of which several may be done at once, as far as `needs` allows; `alone` in its order."""

    works: tuple[Work, ...]
    alone: bool


def carry_out(
    found: Iterable[Statement],
    login: Login,
    *,
    definer: Callable[[psycopg.Connection], Definer],
    workers: int,
) -> None:
    """Definitions in their order, indexes side by side; each session has a `definer` of its own."""
    with login.session() as session:
        serial = definer(session)
        for step in steps(found):
            if step.alone:
                for work in step.works:
                    _do(serial, work)
            else:
                _side_by_side(step, login, definer=definer, workers=workers)


def _side_by_side(
    step: Step,
    login: Login,
    *,
    definer: Callable[[psycopg.Connection], Definer],
    workers: int,
) -> None:
    definers: dict[int, Definer] = {}

    def prepare(session: psycopg.Connection) -> None:
        definers[id(session)] = definer(session)

    def make(session: psycopg.Connection, work: Work) -> None:
        _do(definers[id(session)], work)

    crew = SessionPool(
        login,
        make,
        prepare=prepare,
        known_by=lambda work: work.number,
        needs=lambda work: work.needs,
    )
    crew.run(step.works, workers=workers)


def _do(definer: Definer, work: Work) -> None:
    definer.take_on(work.settings)
    definer.run(work.statements)


def steps(found: Iterable[Statement]) -> Iterator[Step]:
    """Every statement but settings, in the order in which it may be carried out."""
    indexes: list[Work] = []
    remarks: list[Work] = []
    for work in _works(found):
        if _is_index(work):
            indexes.append(work)
        elif indexes and _REMARK.match(work.statements[0].text):
            # Nothing needs a comment, so one must not keep the next index waiting.
            remarks.append(work)
        else:
            yield from _run(indexes, remarks)
            indexes, remarks = [], []
            yield Step(works=(work,), alone=True)
    yield from _run(indexes, remarks)


def _works(found: Iterable[Statement]) -> Iterator[Work]:
    # What is set in the middle of an object's statements parts them.
    made = groupby(settings_before(found), key=lambda each: (each[0].entry, each[1]))
    for number, ((_, settings), group) in enumerate(made):
        members = tuple(statement for statement, _ in group)
        yield Work(number=number, statements=members, settings=settings)


def _is_index(work: Work) -> bool:
    first, *rest = (statement.text for statement in work.statements)
    is_first = _CONSTRAINT.match(first) or _INDEX.match(first)
    return bool(is_first) and all(_OF_INDEX.match(each) for each in rest)


def _run(indexes: list[Work], remarks: list[Work]) -> Iterator[Step]:
    if indexes:
        yield Step(works=tuple(_in_order(indexes)), alone=False)
    if remarks:
        yield Step(works=tuple(remarks), alone=True)


def _in_order(indexes: list[Work]) -> Iterator[Work]:
    """Constraints one after another on each table, which they lock; then its plain indexes; and
    behind all constraints what may call functions."""
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
