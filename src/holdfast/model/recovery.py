"""Recovery to a point in time: where to, what then, and the port to a server that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

# What comes back is not yet the server that it was taken from: it must not archive under the
# same names while that one may live.
ASIDE = {"archive_mode": "off"}
# What a configuration says for another place: commands on another archive, and another primary.
NOT_OURS = {
    "recovery_end_command": "",
    "archive_cleanup_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
}
# A server refuses to have two of these, and even an empty one behind another that is not. What a
# configuration holds of an earlier recovery is overruled by empty ones before ours.
NO_TARGET = {
    "recovery_target": "",
    "recovery_target_lsn": "",
    "recovery_target_name": "",
    "recovery_target_time": "",
    "recovery_target_xid": "",
}


class RecoveryTarget(StrEnum):
    """How far WAL is replayed."""

    LATEST = "latest"
    IMMEDIATE = "immediate"
    TIME = "time"
    LSN = "lsn"
    NAME = "name"


class Action(StrEnum):
    """What the server does once it is there."""

    PAUSE = "pause"
    PROMOTE = "promote"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What an operator asks for: `value` is the goal's time, LSN or name.

    `timeline` is a number, `current` (that of the backup) or `latest`. `restore_command` brings
    WAL back as the server wants it.
    """

    goal: RecoveryTarget
    restore_command: str
    value: str = ""
    timeline: str = "latest"
    action: Action = Action.PAUSE

    @property
    def told(self) -> str:
        """For people."""
        return self.goal.value if not self.value else f"{self.goal.value} {self.value}"

    @property
    def ends_open(self) -> bool:
        """Whether the server takes writes at the end; the end of all WAL always ends so."""
        return self.goal is RecoveryTarget.LATEST or self.action is Action.PROMOTE

    @property
    def settings(self) -> dict[str, str]:
        """The server's own settings, in their order: other targets are overruled before ours."""
        target: dict[str, str] = {}
        if self.goal is RecoveryTarget.IMMEDIATE:
            target = {"recovery_target": self.goal.value}
        elif self.goal is not RecoveryTarget.LATEST:
            target = {f"recovery_target_{self.goal.value}": self.value}
        return {
            **NOT_OURS,
            "restore_command": self.restore_command,
            **{name: none for name, none in NO_TARGET.items() if name not in target},
            **target,
            "recovery_target_inclusive": "on",
            "recovery_target_timeline": self.timeline,
            "recovery_target_action": self.action.value,
            "recovery_min_apply_delay": "0",
            **ASIDE,
        }


def moment_of(text: str) -> datetime:
    """A time with its offset, as UTC; raises `ValueError` with what is wrong."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"'{text}' is not a time") from error
    if found.tzinfo is None:
        raise ValueError(f"'{text}' does not say its time zone")
    return found.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Where a recovery has ended: `state` is `open`, `paused` or `shut down`."""

    state: str
    lsn: str = ""
    log: str = ""


class ServerStarter(Protocol):
    """Somebody who starts a server on a folder that was restored."""

    def check(self, version: str) -> None:
        """Raise what would keep a server of that version from being started there, before
        anything is restored: `ToolMissing`, `RestoreFailed`."""
        ...

    def start(
        self,
        recovery: Recovery | None,
        *,
        cluster: str,
        within: timedelta,
        tell: Callable[[str], None],
    ) -> Reached:
        """Start it, and wait until it is where the recovery leads, or else consistent.

        Only on what was restored, which must be `cluster` by its system identifier. `tell` hears
        what is waited for. Raises `ToolMissing`, `RestoreFailed` with the server's last words
        where it ended, `DeadlineExceeded` where it is not there in time: it then runs.
        """
        ...
