"""The results of the demo, as one table."""

from dataclasses import dataclass, field
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lab.demo.equality import Comparison

COLUMNS = (
    "host",
    "tuned keys (live)",
    "backup",
    "size",
    "ratio",
    "seconds",
    "peak memory",
    "verified",
    "drilled",
    "restored equal",
)
MB = 1_000_000
TABLE_WIDTH = 180
FOOTNOTE = (
    "Kernel keys are live in a private copy of each container; what belongs to the machine is "
    "skipped with its reason. ./scripts/test vm proves all of them on a kernel of its own."
)


@dataclass(slots=True, kw_only=True)
class Row:
    """One backup of one host; filled stage by stage."""

    host: str
    job: str
    tuned: str = "-"
    manifest: dict[str, Any] = field(default_factory=dict)
    verified: bool | None = None
    drill: dict[str, Any] = field(default_factory=dict)
    compared: Comparison | None = None

    def cells(self) -> list[str]:
        plain, stored = self.manifest["plain_bytes"], self.manifest["stored_bytes"]
        return [
            self.host,
            self.tuned,
            self.manifest["backup"],
            f"{stored / MB:.1f} MB",
            f"{plain / stored:.1f}",
            f"{self.manifest['seconds']:.1f}",
            f"{self.manifest['peak_memory_bytes'] / MB:.0f} MB",
            "-" if self.verified is None else "yes" if self.verified else "NO",
            self._drilled(),
            self._equality(),
        ]

    def _drilled(self) -> str:
        """Whether a drill brought it back, in which time, and the moment that its data shows."""
        if not self.drill:
            return "-"
        if self.drill["outcome"] != "passed":
            return "NO"
        reached = self.drill["reached"].partition("T")[2][:8]
        return f"yes, {self.drill['restore_seconds']:.1f} s, as of {reached} UTC"

    def _equality(self) -> str:
        if self.compared is None:
            return "-"
        if not self.compared.equal:
            return "NO"
        return f"yes, {self.compared.rows} rows"


def tuned_keys(report: list[dict[str, str]]) -> str:
    """How many keys are live as planned, skipped, or pending."""
    live = sum(row["state"] in ("ok", "changed") for row in report)
    skipped = sum(row["state"] == "skipped" for row in report)
    pending = sum(row["state"] == "pending" for row in report)
    others = [
        f"{count} {word}" for count, word in ((skipped, "skipped"), (pending, "pending")) if count
    ]
    return ", ".join([f"{live} live", *others])


def show(rows: list[Row], console: Console) -> None:
    """Print the table of results."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS:
        justify: Literal["left", "right"] = "right" if column in COLUMNS[3:7] else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*row.cells())
    # A narrow terminal folds whole lines; truncated cells would hide their contents.
    Console(width=max(console.width, TABLE_WIDTH)).print(table)
    console.print(FOOTNOTE, soft_wrap=True)
