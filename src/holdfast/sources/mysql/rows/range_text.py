"""The text of a range of rows, which the server makes while the caller does something else."""

from __future__ import annotations

from contextlib import suppress

from holdfast.model.errors import HoldfastError
from holdfast.sources.mysql.rows import insert_text
from holdfast.sources.mysql.rows.insert_text import BareRows, Luck, RowsText, counts
from holdfast.sources.mysql.rows.key_ranges import Range
from holdfast.sources.mysql.server.answers import UncopiedRow
from holdfast.sources.mysql.server.columns import row_text
from holdfast.sources.mysql.server.connection import COLLATIONS_MIXED, StatementFailed
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import select
from holdfast.sources.mysql.server.tables import Table

Text = tuple[int, RowsText | None, int]
# The columns of an answer; after those that follow COUNTS comes the total, if there is one.
COUNT, TEXT, COUNTS = 0, 1, 2


class AskedRange:
    """A range whose rows the session was asked for; until the answer it can do nothing else.

    `total` is an expression over all of its rows, whose value the answer sets as `found`.
    """

    def __init__(
        self,
        session: Session,
        table: Table,
        keys: Range,
        *,
        where: str,
        luck: Luck,
        total: str = "",
    ) -> None:
        self.session = session
        self._table = table
        self.keys = keys
        self._luck = luck
        self._total = total
        self.where = where
        self.found: int | None = None
        self._is_bare = bool(table.columns) and luck.try_next()
        self._is_answered = False
        session.ask(self._bare() if self._is_bare else self._escaped())

    def answer(self) -> Text:
        """Row count, text and number of warnings; unescaped text where that is safe."""
        self._is_answered = True
        try:
            rows, warnings = self.session.uncopied_answer()
        except StatementFailed as error:
            if not self._is_bare or error.code not in COLLATIONS_MIXED:
                raise
            # The escaped text is all bytes, so that no collations are mixed.
            self._luck.learn(was_true=False)
            return self._again()
        return self._proven(rows[0], warnings) if self._is_bare else self._text(rows[0], warnings)

    def drop(self) -> None:
        """Read an answer that nobody wants any more: the session is free then."""
        if not self._is_answered:
            with suppress(HoldfastError):
                self.session.answer()

    def _proven(self, row: UncopiedRow, warnings: int) -> Text:
        """The unescaped text where it needs no escaping, else the escaped one."""
        rows, text, warnings = self._text(row, warnings)
        if warnings or not rows:
            return rows, text, warnings
        if text is None:
            return self._again()
        columns = self._table.columns
        text = BareRows.of(columns).whole(text)
        counted = [int(row.value(COUNTS + at) or b"0") for at in range(len(counts(columns)))]
        is_true = insert_text.is_true(text, rows=rows, counted=counted, columns=columns)
        self._luck.learn(was_true=is_true)
        return (rows, text, 0) if is_true else self._again()

    def _again(self) -> Text:
        self.session.ask(self._escaped())
        rows, warnings = self.session.uncopied_answer()
        return self._text(rows[0], warnings)

    def _text(self, row: UncopiedRow, warnings: int) -> Text:
        if self._total:
            # After a warning, a row may be missing in the sum.
            self.found = None if warnings else int(row.value(-1) or b"0")
        bounds = row.bounds[TEXT]
        text = None if bounds is None else RowsText(row.packet, *bounds)
        return int(row.value(COUNT) or b"0"), text, warnings

    def _bare(self) -> str:
        columns = self._table.columns
        text = BareRows.of(columns).expression
        return self._select(",".join(("COUNT(*)", text, *counts(columns))))

    def _escaped(self) -> str:
        text = f"GROUP_CONCAT({row_text(self._table.columns)} SEPARATOR ',\n')"
        return self._select(f"COUNT(*), {text}")

    def _select(self, what: str) -> str:
        what = f"{what},{self._total}" if self._total else what
        return select(what, self._table.relation.name, self.where)
