"""What every tuning module answers with: one row per key, in the same shape for all roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

# `differs` lives only between probe and verify: a finished report of a run holds the other four.
# A run that only looks (`report`) keeps it: nobody has mended anything.
State = Literal["ok", "changed", "differs", "pending", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One wanted value and how it came about: what an operator asks before saying yes."""

    value: str
    formula: str = "as given"
    bounds: str = ""
    why: str = "asked for by name"
    reference: str = ""
    risk: str = ""
    needs: str = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key of one role: what is wanted, what is so in each layer, and why they may differ.

    The layers: `file` is what our file says, `boot` what the next boot would make of all files,
    `live` what the running system does. A row that `differs` and has a reason is trouble that a
    run would not mend.
    """

    role: str
    key: str
    wanted: str
    live: str
    state: State
    reason: str = ""
    file: str = ""
    boot: str = ""
    formula: str = ""
    bounds: str = ""
    why: str = ""
    reference: str = ""
    risk: str = ""
    needs: str = ""


def explained(row: Row, choice: Choice) -> Row:
    """The row with all that is known about its wanted value."""
    known = {field.name: getattr(choice, field.name) for field in fields(choice)}
    known.pop("value")
    return replace(row, **known)


def as_dicts(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Rows as Ansible can carry them."""
    return [asdict(row) for row in rows]


def concluded(module: Any, rows: list[Row]) -> list[Row]:
    """What a verifying module answers with; ends the module where a row is not what it must be."""
    if module.params["report"]:
        return rows
    rows = settled(rows, before=module.params["before"], check_mode=module.check_mode)
    if failed := refusals(rows):
        module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    return rows


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
        + (row.reason or f"the live value is '{row.live}'{_kept(row)}")
        for row in rows
        if row.state == "differs"
    ]


def _kept(row: Row) -> str:
    # Where the live value is right, it is one of the other layers that is wrong.
    if row.live != row.wanted:
        return ""
    return f", but our file says '{row.file}' and the next boot '{row.boot}'"


def _settle(row: Row, earlier: Mapping[str, Any] | None, *, check_mode: bool) -> Row:
    if row.state == "differs" and check_mode and not row.reason:
        return replace(row, state="changed", reason=f"would change from '{_told(row)}'")
    if row.state == "ok" and earlier is not None and earlier["state"] == "differs":
        was = (
            earlier["live"]
            if earlier["live"] != row.wanted
            else earlier.get("boot") or "kept nowhere"
        )
        told = [f"was '{was}'", row.reason]
        return replace(row, state="changed", reason="; ".join(filter(None, told)))
    return row


def _told(row: Row) -> str:
    return row.live if row.live != row.wanted else row.boot or "kept nowhere"
