"""Documents with many rows, printed one row at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.cli.context import print_document, print_rows

HEAD: dict[str, Any] = {"states": {}, "unseen": [1, 2]}
ROWS: list[dict[str, Any]] = [{"host": "db1", "why": ["\u2028 \n\x1b", "é"]}, {"host": None}, {}]


@pytest.mark.parametrize("count", range(len(ROWS) + 1))
def test_it_is_the_same_document(capsys: pytest.CaptureFixture[str], count: int) -> None:
    print_document("fleet", {**HEAD, "jobs": ROWS[:count]})
    whole = capsys.readouterr().out
    print_rows("fleet", HEAD, jobs=iter(ROWS[:count]))
    assert capsys.readouterr().out == whole


def test_a_row_is_printed_before_the_next_one_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    """A fleet of 10,000 jobs took 788 MB: its document and its text were in memory as a whole."""

    def made() -> Iterator[dict[str, Any]]:
        for number in range(3):
            yield {"host": f"db{number}"}
            assert f"db{number}" in capsys.readouterr().out

    print_rows("fleet", HEAD, jobs=made())
    assert capsys.readouterr().out == "\n  ]\n}\n"
