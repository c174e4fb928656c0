"""The result of every tuning module: one row per key, in the same form for all roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

# `differs` exists only between probe and verify: a finished run reports one of the others. A run
# that only reports (`report`) keeps it, as nothing was changed.
State = Literal["ok", "changed", "differs", "pending", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One wanted value and its derivation, for an operator who must approve it."""

    value: str
    formula: str = "as given"
    bounds: str = ""
    why: str = "asked for by name"
    reference: str = ""
    risk: str = ""
    needs: str = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key of one role: the wanted value, the value in each layer, and why they may differ.

    `file` is the value in our file, `boot` the value after the next boot from all files, `live`
    that of the running system. A row that `differs` and has a reason is a problem that a run would
    not fix.
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
    """The row with the derivation of its wanted value."""
    known = {field.name: getattr(choice, field.name) for field in fields(choice)}
    known.pop("value")
    return replace(row, **known)


def as_dicts(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Rows as plain data for Ansible."""
    return [asdict(row) for row in rows]


def concluded(module: Any, rows: list[Row], *, before: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The final rows of a verifying module; fails the module if a row is not as wanted."""
    if module.params["report"]:
        return rows
    rows = settled(rows, before=before, check_mode=module.check_mode)
    if failed := refusals(rows):
        module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    return rows


def settled(
    rows: Iterable[Row], *, before: Iterable[Mapping[str, Any]], check_mode: bool
) -> list[Row]:
    """The rows after a run: a fixed difference becomes `changed`, with the old value.

    In check mode nothing was fixed, so a difference is shown as the change that would be made.
    """
    earlier = {str(row["key"]): row for row in before}
    return [_settle(row, earlier.get(row.key), check_mode=check_mode) for row in rows]


def refusals(rows: Iterable[Row]) -> list[str]:
    """One sentence for each row that is still not as wanted."""
    return [
        f"cannot keep '{row.key}' at '{row.wanted}': "
        + (row.reason or f"the live value is '{row.live}'{_kept(row)}")
        for row in rows
        if row.state == "differs"
    ]


def _kept(row: Row) -> str:
    # If the live value is right, one of the other layers is wrong.
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
