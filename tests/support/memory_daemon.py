"""The session daemon in memory, with a fixed clock; only its store is on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from holdfast.daemon.peer_auth import Peer, PeerAuthority
from holdfast.daemon.session_manager import SessionManager
from holdfast.daemon.session_store import JobSessions, SessionLimits, SessionStore
from holdfast.ports.sessions import HeldKind
from holdfast.sessions.protocol import Request, Verb
from tests.fakes.clock import FakeClock
from tests.fakes.holder import EPOCH, FakeHolder

ANNE = Peer(pid=100, uid=5001, groups=frozenset({900}))
BERT = Peer(pid=200, uid=5002, groups=frozenset({900}))
ADMIN = Peer(pid=300, uid=5003, groups=frozenset({901}))
STRANGER = Peer(pid=400, uid=5004, groups=frozenset({5004}))


@dataclass
class MemoryDaemon:
    """The components of one daemon, and a way to start another one on the same store."""

    folder: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(EPOCH))
    holder: FakeHolder = field(default_factory=FakeHolder)
    per_server: int = 4
    ids: int = 0

    def __post_init__(self) -> None:
        self.authority = PeerAuthority(own_uid=os.geteuid(), group=900, admin_group=901)
        self.start()

    def start(self) -> None:
        """Start a daemon, as after an earlier one has ended."""
        self.store = SessionStore(self.folder / "sessions.sqlite")
        self.manager = SessionManager(
            store=self.store,
            authority=self.authority,
            sessions_of=lambda _job: JobSessions(holder=self.holder, kind=HeldKind.BACKUP),
            limits=SessionLimits(per_server=self.per_server, longest=timedelta(hours=24)),
            clock=self.clock,
            new_id=self._new_id,
        )
        self.manager.recover()

    def begin(self, peer: Peer = ANNE, *, ttl_seconds: int = 3600, kind: str = "") -> str:
        request = Request(verb=Verb.BEGIN, job="shop", ttl_seconds=ttl_seconds, kind=kind)
        return self.manager.begin(request, peer).session_id

    def round(self) -> None:
        for thread in self.manager.round():
            thread.join()

    def told(self, session_id: str) -> tuple[str, str]:
        """State and reason in the store."""
        record = self.store.find(session_id)
        assert record is not None
        return record.state.value, record.reason

    def _new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032x}"
