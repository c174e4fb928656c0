"""Draw the screens in docs/terminal.md: for each width, on a dark and a light background.

`python -m tests.support.terminal_pictures docs/pictures` draws them again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from pyte.screens import Char

from tests.support.screens import FREE, WIDTHS, screens

CELL_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8, 18, 13, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """The colour values of a terminal's named colours."""

    ground: str
    ink: str
    colours: dict[str, str]


GREY = "#8b949e"
THEMES = {
    "dark": Theme(
        ground="#15181e",
        ink="#d8dce2",
        colours={"green": "#7fc97f", "red": "#f4766f", "brown": "#e3b85b", "cyan": "#5fc3d6"},
    ),
    "light": Theme(
        ground="#fcfcfa",
        ink="#24292f",
        colours={"green": "#1a7f37", "red": "#c62a2f", "brown": "#8a5a00", "cyan": "#0b7285"},
    ),
}

Run = tuple[str, str, bool]
"""Characters of one colour and weight; an empty colour is that of the text."""


def lines_of(folder: Path, columns: int) -> Iterator[list[Run]]:
    """The lines of all screens, one below the other, each after its prompt."""
    for name, command, shown in screens(folder / "shop", columns):
        if name == "interrupted":
            continue
        yield [(f"$ holdfast {command}", "prompt", False)]
        for number, text in enumerate(shown.lines):
            row = shown.screen.buffer[number]
            yield list(_runs([row[column] for column in range(len(text))]))
        yield []


def _runs(cells: Sequence[Char]) -> Iterator[Run]:
    for (colour, bold), same in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        yield "".join(cell.data for cell in same), "" if colour == "default" else colour, bold


def picture(lines: Sequence[Sequence[Run]], columns: int, theme: Theme) -> str:
    """An SVG with letters on a terminal's grid, whichever font is installed."""
    width = columns * CELL_WIDTH + 2 * MARGIN
    height = len(lines) * LINE_HEIGHT + 2 * MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-size="{FONT_SIZE}" xml:space="preserve"'
        f' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" fill="{theme.ink}">'
        f'<rect width="{width}" height="{height}" rx="6" fill="{theme.ground}"/>'
    )
    body = (each for number, line in enumerate(lines) for each in _texts(number, line, theme))
    return "\n".join([head, *body, "</svg>", ""])


def _texts(number: int, line: Sequence[Run], theme: Theme) -> Iterator[str]:
    column, y = 0, MARGIN + number * LINE_HEIGHT + FONT_SIZE
    for text, colour, bold in line:
        if text.strip():
            x, long = MARGIN + column * CELL_WIDTH, len(text) * CELL_WIDTH
            fill = theme.colours.get(colour, GREY) if colour else ""
            style = f' fill="{fill}"' if fill else ""
            weight = ' font-weight="bold"' if bold else ""
            yield f'<text x="{x}" y="{y}" textLength="{long}"{style}{weight}>{escape(text)}</text>'
        column += len(text)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for columns in WIDTHS:
        with tempfile.TemporaryDirectory() as name:
            lines = list(lines_of(Path(name), columns))
        # The host's free disk space would differ in each picture.
        lines = [
            [(FREE.sub("512.0 GiB free", text), colour, bold) for text, colour, bold in line]
            for line in lines
        ]
        for name, theme in THEMES.items():
            (folder / f"terminal-{columns}-{name}.svg").write_text(picture(lines, columns, theme))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
