"""Finds long runs of definitions of tables, and divides them among sessions that create them.

pg_dump writes each object after those that it needs. In a run of tables, their sequences, defaults
and comments, one object may need another one only if it names it. So a run falls into groups that
name none of each other. What that misses shows as an error: see `Definer.attempt`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.restore.definitions import (
    STATEMENTS_PER_MESSAGE,
    Settings,
    settings_before,
)
from holdfast.sources.postgres.server.sql_text import NAME, Statement

_KINDS = frozenset({"table", "sequence", "sequence owned by", "default"})
_REMARK = re.compile(r"COMMENT ON (?:TABLE|COLUMN|SEQUENCE) ")
_CREATES = re.compile(rf"CREATE (?:UNLOGGED )?(?:TABLE|SEQUENCE) (?P<name>{NAME}\.{NAME})")
_NAMED = re.compile(rf"{NAME}\.{NAME}")
# A shorter run is created by one session before others have logged in.
LEAST_STATEMENTS = 4 * STATEMENTS_PER_MESSAGE
# A run is held in memory as a whole.
MOST_STATEMENTS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Consecutive statements under the same settings; `is_run` if they are a run of tables."""

    statements: tuple[Statement, ...]
    settings: Settings
    is_run: bool


def stretches(found: Iterable[Statement]) -> Iterator[Stretch]:
    """All statements that are no settings, in their order."""
    for (is_run, _), group in groupby(settings_before(found), key=_kind_of):
        while members := list(islice(group, MOST_STATEMENTS)):
            yield Stretch(
                statements=tuple(statement for statement, _ in members),
                settings=members[0][1],
                is_run=is_run and len(members) >= LEAST_STATEMENTS,
            )


def _kind_of(found: tuple[Statement, Settings]) -> tuple[bool, Settings]:
    statement, settings = found
    kind = statement.heading.kind if statement.heading else ""
    return kind in _KINDS or _REMARK.match(statement.text) is not None, settings


def groups(run: Sequence[Statement]) -> list[list[Statement]]:
    """Divide a run into groups of about one message each, which name no object of another group."""
    entries = [list(members) for _, members in groupby(run, key=lambda each: each.entry)]
    made: list[list[Statement]] = []
    for bound in _bound(entries):
        statements = [statement for number in bound for statement in entries[number]]
        if made and len(made[-1]) + len(statements) <= STATEMENTS_PER_MESSAGE:
            made[-1] += statements
        else:
            made.append(statements)
    return made


def _bound(entries: Sequence[Sequence[Statement]]) -> Iterator[list[int]]:
    """The numbers of entries that name the same object of the run, directly or by way of others."""
    made = (_CREATES.match(entry[0].text) for entry in entries)
    created = {found["name"] for found in made if found is not None}
    roots = _Roots(len(entries))
    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        for name in created & _names(entry):
            roots.join(number, first.setdefault(name, number))
    bound: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(len(entries)):
        bound[roots.of(number)].append(number)
    yield from bound.values()


def _names(entry: Iterable[Statement]) -> set[str]:
    # Within a literal, such as nextval('a."it''s"'), quotes are doubled.
    return {
        name
        for statement in entry
        for name in _NAMED.findall(statement.text.replace("''", "'").replace("\\\\", "\\"))
    }


class _Roots:
    """Sets of numbers that are joined one by one; each is known by its smallest number."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def of(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, number: int, other: int) -> None:
        low, high = sorted((self.of(number), self.of(other)))
        self._parents[high] = low
