"""Compares kernel keys in three layers: our file, the next boot, and the live kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .kernel_keys import Kernel, KeyRefused, state_of
from .kernel_profiles import KernelPlan
from .kernel_settings import lower_than
from .kernel_values import same_value
from .original_state import Original, original_file
from .sysctl_files import (
    COUNTERPARTS,
    boot_assignments,
    boot_value,
    key_name,
    key_path,
    outvoted,
    own_values,
)
from .tuning_report import Choice, Row, explained

NO_LONGER_WANTED = "no longer wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """The kernel, the files read at boot, and the keys that the operator excluded."""

    kernel: Kernel
    file: Path
    root: Path = Path("/")
    skip: tuple[str, ...] = ()
    raise_only: tuple[str, ...] = ()

    def rows(self, plan: KernelPlan) -> list[Row]:
        """Every key of the plan in its three layers, followed by the withheld keys."""
        rows = [self._row(key, choice) for key, choice in plan.choices.items()]
        rows += [_withheld(key, reason) for key, reason in plan.withheld.items()]
        return self._at_boot(rows)

    def purged(self, plan: KernelPlan, originals: Iterable[Original]) -> list[Row]:
        """Keys that our file still sets but the plan does not, with the values to restore."""
        before = _writes(originals)
        wanted = {key_path(key) for key in plan.choices}
        # Restoring a ratio would zero the bytes that are wanted instead.
        wanted |= {COUNTERPARTS[path] for path in wanted if path in COUNTERPARTS}
        return [
            self._purge(path, before.get(_one_of_pair(key_name(path))))
            for path in own_values(self._own_path())
            if path not in wanted and not self.kernel.not_ours(key_name(path))
        ]

    def _row(self, key: str, choice: Choice) -> Row:
        row = explained(
            Row(role="sysctl", key=key, wanted=choice.value, live="", state="skipped"), choice
        )
        reason = self.kernel.not_ours(key) if key not in self.skip else "named in sysctl_skip"
        if reason:
            return replace(row, live=_shown(self.kernel, key), reason=reason)
        live = self.kernel.read(key)
        if key in self.raise_only and not lower_than(live, choice.value):
            return replace(row, live=live, reason="raise only: the live value is higher already")
        return replace(row, live=live, state="ok" if same_value(choice.value, live) else "differs")

    def _at_boot(self, rows: list[Row]) -> list[Row]:
        ours = {row.key: row.wanted for row in rows if row.state != "skipped"}
        said, now = own_values(self._own_path()), boot_assignments(self.file, root=self.root)
        then = boot_assignments(self.file, own=ours, root=self.root)
        told = []
        for row in rows:
            is_now, will_be = boot_value(row.key, now), boot_value(row.key, then)
            row = replace(
                row, file=said.get(key_path(row.key), ""), boot=(is_now and is_now.value) or ""
            )
            reason = outvoted(will_be, file=self.file, wanted=row.wanted)
            if row.state != "skipped" and reason:
                row = replace(row, state="differs", reason=reason)
            elif row.state == "ok" and not _kept(row):
                row = replace(row, state="differs")
            told.append(row)
        return told

    def _purge(self, path: str, before: tuple[str, str] | None) -> Row:
        key = key_name(path)
        live = self.kernel.read(key)
        wanted = live if before is None else before[1] if key_path(before[0]) == path else "0"
        choice = Choice(
            value=wanted, formula=NO_LONGER_WANTED, why="our file set it, and the plan does not"
        )
        row = Row(role="sysctl", key=key, wanted=wanted, live=live, state="differs")
        said = own_values(self._own_path())[path]
        return explained(replace(row, file=said, boot=said), choice)

    def _own_path(self) -> Path:
        return self.root / str(self.file).lstrip("/")


def lines_for(rows: Iterable[Row]) -> list[str]:
    """The lines of our file: the settings, and why others are left alone."""
    return [
        f"# {row.key}: left alone, {row.reason}"
        if row.state == "skipped"
        else f"{row.key} = {row.wanted}"
        for row in rows
    ]


def originals_of(kernel: Kernel, rows: Iterable[Row], file: Path) -> list[Original]:
    """The current state of the keys and of our file, for an undo; keys left alone are not included.

    A key and its counterpart are one state: the one that is not zero is to be written.
    """
    keys = {_one_of_pair(row.key): row.key for row in rows if row.state != "skipped"}
    found = [
        Original(kind="kernel_key", name=name, before={"write": list(state_of(kernel, key))})
        for name, key in keys.items()
    ]
    return [*found, *original_file(file)]


def purged_since(before: Iterable[Mapping[str, Any]], now: list[Row]) -> list[Row]:
    """The keys that this run removed from our file, as changed rows."""
    # A key that has left our file is in no plan any more: only the probe's rows know of it.
    known = {row.key for row in now}
    return [
        Row(**{**row, "state": "changed", "live": row["wanted"], "reason": f"was '{row['live']}'"})
        for row in before
        if row["formula"] == NO_LONGER_WANTED and row["key"] not in known
    ]


def values_to_write(rows: Iterable[Row], originals: Iterable[Original]) -> dict[str, str]:
    """The key and value to write for each row; a removed key is restored as it was found."""
    before = _writes(originals)
    pairs = []
    for row in rows:
        back = before.get(_one_of_pair(row.key)) if row.formula == NO_LONGER_WANTED else None
        pairs.append(back or (row.key, row.wanted))
    return dict(pairs)


def _writes(originals: Iterable[Original]) -> dict[str, tuple[str, str]]:
    return {
        original.name: (original.before["write"][0], original.before["write"][1])
        for original in originals
        if original.kind == "kernel_key"
    }


def _one_of_pair(key: str) -> str:
    # One name for both keys of a pair, whichever of them is wanted.
    path = key_path(key)
    return str(key_name(min(path, COUNTERPARTS.get(path, path))))


def _kept(row: Row) -> bool:
    return all(bool(same_value(row.wanted, said)) for said in (row.file, row.boot))


def _withheld(key: str, reason: str) -> Row:
    return Row(role="sysctl", key=key, wanted="", live="", state="skipped", reason=reason)


def _shown(kernel: Kernel, key: str) -> str:
    # A skipped key may be absent: then there is nothing to show.
    try:
        return str(kernel.read(key))
    except KeyRefused:
        return ""
