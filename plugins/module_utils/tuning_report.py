"""What every tuning module answers with: one row per key, in the same shape for all roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

# `differs` lives only between probe and verify: a finished report holds the other four.
State = Literal["ok", "changed", "differs", "pending", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key of one role: what is wanted, what is live, and why the two may differ.

    A row that `differs` and has a reason is trouble that a run would not mend.
    """

    role: str
    key: str
    wanted: str
    live: str
    state: State
    reason: str = ""


def as_dicts(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Rows as Ansible can carry them."""
    return [asdict(row) for row in rows]


def settled(
    rows: Iterable[Row], *, before: Iterable[Mapping[str, Any]], check_mode: bool
) -> list[Row]:
    """Rows as an operator reads them after a run: what was mended is `changed`, and says from what.

    In check mode nothing was mended, so a difference is told as the change it would be.
    """
    earlier = {str(row["key"]): row for row in before}
    return [_settle(row, earlier.get(row.key), check_mode=check_mode) for row in rows]


def refusals(rows: Iterable[Row]) -> list[str]:
    """One sentence for each row that is still not what was asked for."""
    return [
        f"cannot keep '{row.key}' at '{row.wanted}': "
        + (row.reason or f"the live value is '{row.live}'")
        for row in rows
        if row.state == "differs"
    ]


def _settle(row: Row, earlier: Mapping[str, Any] | None, *, check_mode: bool) -> Row:
    if row.state == "differs" and check_mode and not row.reason:
        return replace(row, state="changed", reason=f"would change from '{row.live}'")
    if row.state == "ok" and earlier is not None and earlier["state"] == "differs":
        told = [f"was '{earlier['live']}'", row.reason]
        return replace(row, state="changed", reason="; ".join(filter(None, told)))
    return row
