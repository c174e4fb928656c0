"""The steps of a tuning role in one module call: read, save the original state, apply, verify."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from .original_state import (
    FOLDER,
    Original,
    Snapshot,
    extended,
    keep,
    load,
    machine_id,
)
from .tuning_report import Row, as_dicts, concluded
from .wanted_files import WantedFile, WantedFolder

PREFLIGHT, CONFIGURE, VERIFY = STEPS = ("preflight", "configure", "verify")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "steps": {"type": "list", "elements": "str", "choices": list(STEPS), "default": list(STEPS)},
    "report": {"type": "bool", "default": False},
    "may_change": {"type": "bool", "default": True},
}


class CommandFailed(Exception):
    """A command that a change needs has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The rows of a host, its original state, and what else the answer tells about it."""

    rows: list[Row]
    originals: list[Original] = field(default_factory=list)
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a role changes on a host. A trial only notes what would change."""

    module: Any
    trial: bool
    diffs: list[dict[str, str]] = field(default_factory=list)
    made: bool = False
    acted: bool = False

    def live(self, differing: Iterable[Row], *, header: str) -> None:
        """Note a change of live values, which the role makes itself."""
        rows = list(differing)
        before = "".join(f"{row.key} = {row.live}\n" for row in rows)
        after = "".join(f"{row.key} = {row.wanted}\n" for row in rows)
        self.text(before, after, header=header)

    def text(self, before: str, after: str, *, header: str) -> None:
        """Note a change of a text, which the role writes itself."""
        self._note({"before": before, "after": after, "before_header": header})

    def bring_about(self, wanted: WantedFile | WantedFolder) -> bool:
        """Make a file or folder as wanted; returns whether it differs."""
        if (diff := wanted.difference()) is None:
            return False
        if not self.trial:
            wanted.write(self.module.atomic_move)
        self._note(diff)
        return True

    def run(self, argv: Sequence[str], *, counts: bool) -> None:
        """Run a command; `counts` says whether it changes the host. Raises `CommandFailed`."""
        self.acted, self.made = True, self.made or counts
        if self.trial:
            return
        code, output, errors = self.module.run_command(list(argv))
        if code:
            told = errors.strip() or output.strip() or f"exit status {code}"
            raise CommandFailed(f"cannot run '{' '.join(argv)}': {told}")

    def _note(self, diff: dict[str, str]) -> None:
        self.made = True
        self.diffs.append(diff)


class TuningRole(ABC):
    """What the module of one role knows; `carry_out` runs its steps. `name` is its snapshot's."""

    __slots__ = ()
    name: ClassVar[str]

    @abstractmethod
    def look(self) -> Seen:
        """Read the host; called again after a change."""

    @abstractmethod
    def apply(self, seen: Seen, changes: Changes) -> None:
        """Bring the host to the wanted state; in a trial `changes` changes nothing."""

    def final(self, rows: list[Row], before: list[dict[str, str]], *, mended: bool) -> list[Row]:
        """The rows to verify, given those before the steps; `mended`: nothing may differ now."""
        del before, mended
        return rows


def carry_out(module: Any, role: TuningRole, *, folder: Path = FOLDER) -> dict[str, Any]:
    """Run the steps that the module was asked for, and return its answer.

    Without `may_change` nothing is changed: if something would be, the original state is saved, and
    the answer is `waiting`, so that the control node can keep its copy and check the host first.
    """
    seen = role.look()
    before = as_dicts(seen.rows)
    answer: dict[str, Any] = {"changed": False, "waiting": False}
    if CONFIGURE in module.params["steps"] and not module.params["report"]:
        answer |= _configured(module, role, seen, folder=folder)
        if answer["waiting"]:
            return answer
        if answer.pop("acted") and not module.check_mode:
            seen = role.look()
    rows = seen.rows
    if VERIFY in module.params["steps"]:
        mended = not (module.check_mode or module.params["report"])
        rows = concluded(module, role.final(rows, before, mended=mended), before=before)
    return {**seen.told, **answer, "rows": as_dicts(rows)}


def _configured(module: Any, role: TuningRole, seen: Seen, *, folder: Path) -> dict[str, Any]:
    trial = Changes(module=module, trial=True)
    role.apply(seen, trial)
    kept = load(role.name, folder=folder)
    saved = _saved(kept, seen.originals, folder=None if module.check_mode else folder)
    answer = {"changed": bool(saved) or trial.made, "diff": trial.diffs, **saved}
    if module.check_mode:
        return {**answer, "waiting": False, "acted": False}
    if answer["changed"] and not module.params["may_change"]:
        # The whole snapshot, also one that an earlier run saved: its copy may have failed.
        held = load(role.name, folder=folder)
        return {**answer, **(_told(held) if held.taken else {}), "waiting": True}
    changes = Changes(module=module, trial=False)
    if trial.acted or trial.made:
        role.apply(seen, changes)
    return {**answer, "waiting": False, "acted": changes.acted or changes.made}


def _saved(old: Snapshot, found: Iterable[Original], *, folder: Path | None) -> dict[str, Any]:
    """Add originals that the snapshot does not hold yet; empty if it holds them all."""
    known = list(found)
    if not old.missing(known):
        return {}
    new = extended(old, known, now=datetime.now(UTC).isoformat(timespec="seconds"))
    if folder is not None:
        keep(new, folder=folder)
    return _told(new)


def _told(snapshot: Snapshot) -> dict[str, Any]:
    return {"snapshot": snapshot.document(), "machine": machine_id()}
