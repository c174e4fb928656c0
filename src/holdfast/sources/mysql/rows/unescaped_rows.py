"""Rows written down without escaping: a third of the server's work, and proven afterwards.

QUOTE and CONCAT copy every value several times. Where no value holds what needs escaping, plain
arguments of GROUP_CONCAT give the very same text. Whether one did hold it shows in the text:
then there are more quotes than the rows account for, or a backslash, or a byte that is no ASCII.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.names import quoted

MOST_RANGES_SKIPPED = 64


def arguments(columns: Sequence[Column]) -> str:
    """What GROUP_CONCAT is given for a row: `'(',a,',''',b,''')'`."""
    merged: list[str] = []
    text = "("
    for piece, is_text in _pieces(columns):
        if is_text:
            text += piece
            continue
        merged += [_literal(text), piece] if text else [piece]
        text = ""
    return ",".join([*merged, _literal(text + ")")])


def counts(columns: Sequence[Column]) -> list[str]:
    """What has to be asked besides, to know how many values are quoted."""
    return [f"COUNT({quoted(column.name)})" for column in columns if _may_be_missing(column)]


def is_true(value: bytes, *, rows: int, counted: Sequence[int], columns: Sequence[Column]) -> bool:
    """Whether `value` is what escaping would have given, too."""
    always = sum(1 for column in columns if column.is_quoted and not column.nullable)
    expected = 2 * (rows * always + sum(counted))
    if value.count(b"'") != expected or b"\\" in value:
        return False
    return value.isascii() or not any(column.is_ascii for column in columns)


class Luck:
    """Whether the next range is worth a try, learnt from the last ones."""

    def __init__(self) -> None:
        self._skip = 0
        self._after_next = 1

    def try_next(self) -> bool:
        if self._skip == 0:
            return True
        self._skip -= 1
        return False

    def learn(self, *, was_true: bool) -> None:
        """A text full of quotes costs one try in `MOST_RANGES_SKIPPED`."""
        if was_true:
            self._after_next = 1
            return
        self._skip = self._after_next
        self._after_next = min(2 * self._after_next, MOST_RANGES_SKIPPED)


def _may_be_missing(column: Column) -> bool:
    return column.is_quoted and column.nullable


def _pieces(columns: Sequence[Column]) -> Iterator[tuple[str, bool]]:
    """Expressions, and the text between them."""
    for number, column in enumerate(columns):
        if number:
            yield ",", True
        bare = column.bare
        if bare is None:
            yield column.literal, False
        elif column.nullable:
            yield f"IFNULL(CONCAT('''',{bare},''''),'NULL')", False
        else:
            yield from (("'", True), (bare, False), ("'", True))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
