"""A server whose sessions live in memory, and die when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from holdfast.model.errors import HoldfastError, SessionLost, SessionNotFound
from holdfast.ports.sessions import Anchor, Begun, Ended, HeldKind

EPOCH = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


@dataclass
class FakeHolding:
    """Obeys `ports.sessions.Holding`; `look` raises `problem`."""

    begun: Begun
    problem: HoldfastError | None = None
    is_open: bool = True
    looks: int = 0
    session_id: str = ""
    ended: Ended | None = None

    def look(self) -> None:
        self.looks += 1
        if not self.is_open:
            raise SessionLost("cannot use the session on 'x': the connection is closed")
        if self.problem is not None:
            raise self.problem

    def end(self) -> Ended:
        self.look()
        return Ended(stop_lsn="0/3000100", backup_label="START WAL LOCATION: 0/3000028\n")

    def abort(self) -> None:
        self.is_open = False


@dataclass
class FakeHolder:
    """Obeys `ports.sessions.Holder`; it records every session, and a begin waits for `gate`."""

    server: str = "/run/postgresql"
    holdings: list[FakeHolding] = field(default_factory=list)
    problem: HoldfastError | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def begin(self, kind: HeldKind, *, label: str, fast: bool, database: str = "") -> FakeHolding:
        self.gate.wait()
        if self.problem is not None:
            raise self.problem
        is_backup = kind is HeldKind.BACKUP
        holding = FakeHolding(
            Begun(
                kind=kind,
                anchor=Anchor(
                    system_identifier="7300000000000000001",
                    timeline=1,
                    started_at=EPOCH,
                    is_standby=False,
                ),
                begun_at=EPOCH,
                backend_pid=4000 + len(self.holdings),
                start_lsn="0/3000028" if is_backup else "",
                start_wal_file="000000010000000000000003" if is_backup else "",
                snapshot="" if is_backup else f"00000003-0000001B-{len(self.holdings)}",
            )
        )
        self.holdings.append(holding)
        return holding

    def join(self, session_id: str) -> FakeHolding:
        raise SessionNotFound(f"cannot find session '{session_id}': no session has this id")

    def left(self) -> Sequence[str]:
        return [each.session_id for each in self.holdings if each.is_open and each.session_id]

    def forget(self, session_id: str) -> None:
        for each in self.holdings:
            if each.session_id == session_id:
                each.abort()

    @property
    def open_sessions(self) -> int:
        return sum(holding.is_open for holding in self.holdings)
