"""Recovery to a point in time: the target, the action, and the port to a server that recovers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from holdfast.model.lazy_dataclass import dataclass

# A restored server must not archive under the same names while the original may still run.
ASIDE = {"archive_mode": "off"}
# Settings of the original server for its own surroundings: its archive and its primary.
NOT_OURS = {
    "recovery_end_command": "",
    "archive_cleanup_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
}
# A server refuses two of these, and even an empty one after one that is set. So the targets of an
# earlier recovery in the configuration are emptied before ours is set.
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
    """What the server does once it has reached the target."""

    PAUSE = "pause"
    PROMOTE = "promote"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The recovery that an operator requests: `value` is the goal's time, LSN or name.

    `timeline` is a number, `current` (that of the backup) or `latest`. `restore_command` fetches
    archived WAL for the server.
    """

    goal: RecoveryTarget
    restore_command: str
    value: str = ""
    timeline: str = "latest"
    action: Action = Action.PAUSE

    @property
    def told(self) -> str:
        """The target in words."""
        return self.goal.value if not self.value else f"{self.goal.value} {self.value}"

    @property
    def ends_open(self) -> bool:
        """Whether the server accepts writes at the end, as it always does at the end of all WAL."""
        return self.goal is RecoveryTarget.LATEST or self.action is Action.PROMOTE

    @property
    def settings(self) -> dict[str, str]:
        """The server's settings in order: other targets are emptied before ours is set."""
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
    """A time with its offset, as UTC; raises `ValueError` saying what is wrong."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"'{text}' is not a time") from error
    if found.tzinfo is None:
        raise ValueError(f"'{text}' has no time zone")
    return found.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Where a recovery ended: `state` is `open`, `paused` or `shut down`."""

    state: str
    lsn: str = ""
    log: str = ""


class ServerStarter(Protocol):
    """Starts a server on a restored data directory."""

    def check(self, version: str) -> None:
        """Raise what would prevent a server of that version from starting, before a restore begins.

        Raises `ToolMissing`, `RestoreFailed`.
        """
        ...

    def start(
        self,
        recovery: Recovery | None,
        *,
        cluster: str,
        within: timedelta,
        tell: Callable[[str], None],
    ) -> Reached:
        """Start the server and wait for the recovery target, or without one, for consistency.

        It starts only on a restored directory whose system identifier is `cluster`. `tell` receives
        the events that are awaited. Raises `ToolMissing`; `RestoreFailed` with the server's last
        log lines if the server ended; `DeadlineExceeded` if it is not ready in time: it then keeps
        running.
        """
        ...
