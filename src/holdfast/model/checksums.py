"""Checksums: a number that a server computes over the rows of each table.

A checksum is `METHOD:NUMBER`. The number is a sum over the rows, so it does not depend on their
order, and the checksums of a table's parts add up. The method names the expression and its version:
only checksums of the same method can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from holdfast.model.backup import Member, Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import RestoredTable

Policy = Literal["all", "auto", "none"]
"""Which tables get a checksum; `auto` chooses those that cost little."""

# Below this size a backup takes as long as its program takes to start: docs/benchmarks.md.
SMALL_DATABASE_BYTES = 16 << 20
# A checksum costs no more than reading its rows, so this share costs at most a tenth.
SHARE = 10
# How many bytes of text a stored byte of a row becomes.
TEXT_PER_STORED_BYTE = 2
TABLES_NAMED = 8
_FORM = re.compile(r"(?P<method>[a-z0-9-]+/[0-9]+):(?P<number>[0-9]{1,80})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The tables that get a checksum, out of `of` tables, by the sizes that the server estimates.

    A table gets none if its rows turn out to be larger than `most_bytes`.
    """

    tables: frozenset[Relation]
    of: int
    policy: Policy
    most_bytes: int

    def covers(self, table: Relation, *, size_bytes: int) -> bool:
        if table not in self.tables:
            return False
        return self.policy == "all" or size_bytes <= self.most_bytes

    def __str__(self) -> str:
        words = f"checksums of {len(self.tables)} of {self.of} tables"
        if self.policy == "auto" and len(self.tables) < self.of:
            return f"{words}, the smallest ones (checksums: true covers all tables)"
        return words


def chosen(sizes: Mapping[Relation, int], policy: Policy) -> Chosen:
    """Choose tables by `policy`.

    `auto` takes the smallest tables of a large database, up to a tenth of its size together.
    """
    most = max(SMALL_DATABASE_BYTES, sum(sizes.values()) // SHARE)
    found, left = [], most
    for table, size_bytes in sorted(sizes.items(), key=lambda each: each[1]):
        left -= size_bytes
        if policy == "all" or (policy == "auto" and left >= 0):
            found.append(table)
    return Chosen(
        tables=frozenset(found),
        of=len(sizes),
        policy=policy,
        most_bytes=most * TEXT_PER_STORED_BYTE,
    )


def added(checksums: Iterable[str]) -> str:
    """Add up the checksums of a table's parts; empty unless all have one of the same method."""
    found = [_FORM.fullmatch(each) for each in checksums]
    methods = {each["method"] if each else "" for each in found}
    if len(methods) != 1 or methods == {""}:
        return ""
    total = sum(int(each["number"]) for each in found if each)
    return f"{methods.pop()}:{total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a table must hold after a restore; without a checksum only the row count is compared."""

    rows: int
    checksum: str


def expected(parts: Iterable[Part]) -> dict[Relation, Expected]:
    """The expected rows and checksum of every table whose rows were counted."""
    pieces: dict[Relation, list[Part | Member]] = {}
    for part in parts:
        if part.kind is not PartKind.DATA:
            continue
        if part.relation is not None and part.rows is not None:
            pieces.setdefault(part.relation, []).append(part)
        for member in part.members:
            pieces.setdefault(member.relation, []).append(member)
    return {
        relation: Expected(
            rows=sum(each.rows or 0 for each in found),
            checksum=added(each.checksum for each in found),
        )
        for relation, found in pieces.items()
    }


def require_equal(target: str, tables: Iterable[RestoredTable]) -> None:
    """Raise `RestoreFailed` naming the tables that do not hold what was backed up."""
    wrong = [table for table in tables if table.problem]
    if wrong:
        shown = ", ".join(f"'{each.relation}' {each.problem}" for each in wrong[:TABLES_NAMED])
        more = len(wrong) - TABLES_NAMED
        raise RestoreFailed(
            f"cannot restore into '{target}': {shown}" + (f" and {more} more" if more > 0 else "")
        )
