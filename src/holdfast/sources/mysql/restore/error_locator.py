"""Of several things that were sent to one client, the one that its error is about."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Generic, TypeVar

# As the clients say it, of the line on which the failed statement begins.
_AT_LINE = re.compile(r"\bat line (\d+)")

Thing = TypeVar("Thing")


class ErrorLocator(Generic[Thing]):
    """Counts the lines on their way to a client."""

    def __init__(self) -> None:
        self._line = 1
        self._begins: list[int] = []
        self._things: list[Thing] = []

    def begins(self, thing: Thing) -> None:
        """What passes from here on is of `thing`."""
        self._begins.append(self._line)
        self._things.append(thing)

    def passes(self, sql: bytes) -> bytes:
        """`sql`, counted."""
        self._line += sql.count(b"\n")
        return sql

    def at(self, cause: str) -> Thing | None:
        """The thing whose lines hold the one that `cause` names; None before the first."""
        number = self.number_at(cause)
        return None if number is None else self._things[number]

    def number_at(self, cause: str) -> int | None:
        """How many things came before it."""
        found = _AT_LINE.search(cause)
        number = bisect_right(self._begins, int(found[1])) if found else 0
        return number - 1 if number else None
