"""Filters that turn the rows of the tuning roles into reports for auditors and monitors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = Mapping[str, str]
# A `pending` row is written in every file, but not live yet, so it does not pass.
VERDICTS = {"ok": "PASS", "changed": "PASS", "skipped": "SKIP", "pending": "FAIL"}
HEADINGS = ("", "role", "key", "now", "wanted", "our file", "at boot", "needs")


def audit_rows(rows: Iterable[Row]) -> list[dict[str, str]]:
    """The rows, each with its verdict in front."""
    return [{"verdict": VERDICTS.get(row["state"], "FAIL"), **row} for row in rows]


def audit_counts(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows passed, failed and were skipped."""
    counts = Counter(row["verdict"] for row in audit_rows(rows))
    return {verdict: counts[verdict] for verdict in ("PASS", "FAIL", "SKIP")}


def audit_table(rows: Iterable[Row]) -> str:
    """One line per row, followed by the reasons for its wanted value."""
    told = audit_rows(rows)
    cells = [HEADINGS, *(_cells(row) for row in told)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = [_line(cells[0], widths)]
    for row, line in zip(told, cells[1:], strict=True):
        lines += [_line(line, widths), *(f"       {text}" for text in _notes(row))]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    layers = (row["live"], row["wanted"], row["file"], row["boot"])
    # Only a row that fails needs anything.
    needs = row["needs"] if row["verdict"] == "FAIL" else ""
    return (row["verdict"], row["role"], row["key"], *(value or "-" for value in layers), needs)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _notes(row: Row) -> list[str]:
    plan = [row["formula"], f"bounds: {row['bounds']}" if row["bounds"] else "", row["why"]]
    source = [f"see {row['reference']}" if row["reference"] else ""]
    notes = ["; ".join(filter(None, plan + source))]
    notes += [f"risk: {row['risk']}"] if row["risk"] else []
    notes += [f"{row['verdict']} because: {row['reason']}"] if row["reason"] else []
    return [note for note in notes if note]


class FilterModule:
    """The class in which Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names in templates."""
        return {
            "audit_rows": audit_rows,
            "audit_counts": audit_counts,
            "audit_table": audit_table,
        }
