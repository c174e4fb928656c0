"""Tables and facts for people: as wide as the terminal, coloured only where colour has a meaning.

rich is loaded when something is shown, not before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from holdfast.model.backup import Summary
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import ago, size, span
from holdfast.runtime.streams import has_colours, printable, wrapped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

# Rich would fold everything at 80 columns on a pipe, which breaks grep.
PIPE_COLUMNS = 200

GAP = 2
KEY_WIDTH = 13
# A longer key moves its own value only.
LONGEST_KEY = 40
GOOD, BAD, WARN, DIM, HEAD = "green", "red", "yellow", "dim", "bold"


@dataclass(frozen=True, slots=True)
class Coloured:
    """A cell with a colour that repeats its words: colour alone never carries information."""

    text: str
    style: str

    def __str__(self) -> str:
        return self.text


Cell = str | Coloured


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """A column of a table.

    A `whole` one is never folded, because people copy its values. On a narrow terminal the column
    with the highest `drop` is hidden first; one with 0 stays.
    """

    title: str
    right: bool = False
    whole: bool = False
    drop: int = 0


def words(title: str, *, drop: int = 0) -> Column:
    return Column(title=title, drop=drop)


def number(title: str, *, drop: int = 0) -> Column:
    return Column(title=title, right=True, drop=drop)


def key(title: str) -> Column:
    """A column whose values people copy into the next command."""
    return Column(title=title, whole=True)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below the columns' titles."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def fitted(self, width: int) -> tuple[Table, list[str]]:
        """The table without empty columns and those that do not fit, and the latter's titles."""
        needs = [_width(each.title, [row[at] for row in self.rows]) for at, each in self._numbered]
        full = [
            at
            for at, _ in self._numbered
            if not self.rows or any(str(row[at]) for row in self.rows)
        ]
        kept = list(full)
        while sum(needs[at] + GAP for at in kept) - GAP > width:
            goes = max(kept, key=lambda at: self.columns[at].drop)
            if not self.columns[goes].drop:
                break
            kept.remove(goes)
        hidden = [self.columns[at].title for at in full if at not in kept]
        rows = [[row[at] for at in kept] for row in self.rows]
        return Table([self.columns[at] for at in kept], rows), hidden

    @property
    def _numbered(self) -> list[tuple[int, Column]]:
        return list(enumerate(self.columns))

    def as_lines(self, width: int) -> list[str] | None:
        """The table as text without colours; None if it needs folding, or a font's widths."""
        rows = [[each.title for each in self.columns]]
        rows += [[printable(str(each)) for each in row] for row in self.rows]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        is_plain = all(cell.isascii() and "\n" not in cell for row in rows for cell in row)
        if not is_plain or sum(widths) + GAP * (len(widths) - 1) > width:
            return None
        lines = []
        for row in rows:
            cells = zip(row, widths, self.columns, strict=True)
            told = [
                text.rjust(size) if each.right else text.ljust(size) for text, size, each in cells
            ]
            lines.append((" " * GAP).join(told))
        return lines

    def as_rich(self, width: int) -> RichTable:
        from rich.table import Table as Rich
        from rich.text import Text

        # Values wider than the whole terminal must be folded nevertheless.
        whole = sum(
            _width(each.title, [row[at] for row in self.rows]) + GAP
            for at, each in self._numbered
            if each.whole
        )
        drawn = Rich(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style=HEAD)
        for column in self.columns:
            drawn.add_column(
                column.title,
                justify="right" if column.right else "left",
                overflow="fold",
                no_wrap=column.whole and whole <= width,
            )
        for row in self.rows:
            drawn.add_row(*(Text(printable(str(each)), style=style_of(each)) for each in row))
        return drawn


def _width(title: str, cells: Sequence[Cell]) -> int:
    lines = [line for each in cells for line in printable(str(each)).split("\n")]
    return max(map(_cells_of, [title, *lines]))


def _cells_of(line: str) -> int:
    if line.isascii():
        return len(line)
    from rich.cells import cell_len

    return cell_len(line)


def style_of(cell: Cell) -> str:
    return cell.style if isinstance(cell, Coloured) else ""


def facts_in(facts: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """One line per fact, `key   value`; on a terminal a long value continues below its start."""
    lines: list[str] = []
    # Keys of measurements and programs come from a manifest: they may be long and hold anything.
    named = [(printable(key).replace("\n", "\\n"), printable(value)) for key, value in facts]
    indent = max([KEY_WIDTH, *(len(key) + GAP for key, _ in named if len(key) <= LONGEST_KEY)])
    for key, text in named:
        head = f"{key:{indent - GAP}}{' ' * GAP}"
        pieces = [text]
        if width is not None and indent + len(text) > width:
            pieces = wrapped(text, max(width - indent, KEY_WIDTH))
        lines += [f"{head if not at else ' ' * indent}{each}" for at, each in enumerate(pieces)]
    return lines


def ratio(manifest: Summary) -> float:
    """Plain bytes per stored byte; 1 if nothing is stored."""
    return manifest.plain_bytes / manifest.stored_bytes if manifest.stored_bytes else 1.0


BACKUP_COLUMNS = {
    each.title: each
    for each in (
        key("BACKUP"),
        words("DATABASE", drop=3),
        number("ROWS", drop=7),
        number("SIZE", drop=2),
        number("STORED", drop=6),
        number("RATIO", drop=5),
        number("TOOK", drop=8),
    )
}
"""The columns of every list of backups, by title."""


def backup_cells(manifest: Summary) -> dict[str, Cell]:
    """The cells of one backup, by the titles of `BACKUP_COLUMNS`."""
    return {
        "BACKUP": manifest.backup_id,
        "DATABASE": manifest.server.database,
        "ROWS": str(manifest.rows),
        "SIZE": size(manifest.plain_bytes),
        "STORED": size(manifest.stored_bytes),
        "RATIO": f"{ratio(manifest):.2f}",
        "TOOK": span(timedelta(seconds=manifest.seconds)),
    }


def backup_table(manifests: Sequence[Summary]) -> Table:
    """The table of the backups that one run made."""
    rows = [list(backup_cells(each).values()) for each in manifests]
    return Table(tuple(BACKUP_COLUMNS.values()), rows)


def last_done(when: datetime | None, at: datetime) -> Cell:
    """How long before `at` it was, or "never"."""
    return Coloured("never", WARN) if when is None else Coloured(ago(at - when), GOOD)


def time_of(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def encryption_line(recipients: Sequence[str]) -> str:
    return f"age, for {', '.join(recipients)}" if recipients else "none"


def is_plain(stream: TextIO) -> bool:
    """Whether text goes there as it is: rich takes some pipes for terminals, if it is told to."""
    return not stream.isatty() and not {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys()


def console_on(stream: TextIO) -> Console:
    """Names come from databases, so they are never parsed as markup."""
    from rich.console import Console

    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        width=None if stream.isatty() else PIPE_COLUMNS,
        color_system="auto" if has_colours(stream) else None,
    )
