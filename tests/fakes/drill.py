"""A throw-away server in memory: what it lacks, proves and answers is set by the test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from holdfast.model.backup import Manifest
from holdfast.model.drill import Answer, DrillFinding, ProofRow
from holdfast.model.restore import StoredParts
from holdfast.ports.drill import DrillRoom, DrillServer, OpenServer
from holdfast.ports.target import RestoreOptions
from tests.fakes.source import FakeTarget


class FakeDrillServer(DrillServer):
    """Records its calls in order; `fails_at` names the call that raises `fails_with`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.restored = FakeTarget()
        self.lacks: Sequence[DrillFinding] = ()
        self.proves: Sequence[ProofRow] = ()
        self.verifies: Sequence[ProofRow] = ()
        self.answers: Mapping[str, Answer] = {}
        self.fails_at = ""
        self.fails_with: Exception | None = None
        self.recovered_to: datetime | None = None
        self.manifest: Manifest | None = None
        self.room: DrillRoom | None = None
        self.until: datetime | None = None
        self.kept = False
        self.opened: OpenServer = self._opened

    def problems(self, stored: StoredParts) -> Sequence[DrillFinding]:
        self._called("problems")
        return self.lacks

    def prepare(self) -> None:
        self._called("prepare")

    def target(self, database: str) -> FakeTarget:
        self._called("target")
        return self.restored

    @property
    def options(self) -> RestoreOptions:
        return RestoreOptions(globals=True, tablespaces=False)

    def verify_files(self) -> Iterable[ProofRow]:
        self._called("verify_files")
        return self.verifies

    def recover(self) -> None:
        self._called("recover")

    def prove(self) -> Iterable[ProofRow]:
        self._called("prove")
        return self.proves

    def ask(self, sql: str, *, database: str, timeout_seconds: float) -> Answer:
        self._called("ask")
        return self.answers.get(sql, Answer(rows=1, value="t"))

    @property
    def version(self) -> str:
        return "1.0" if "prepare" in self.calls else ""

    def reached(self) -> datetime | None:
        return self.recovered_to

    def abort(self) -> None:
        self.calls.append("abort")

    def close(self, *, keep: bool = False) -> None:
        self.calls.append("close")
        self.kept = keep

    def _opened(self, manifest: Manifest, room: DrillRoom, until: datetime | None) -> DrillServer:
        self.manifest, self.room, self.until = manifest, room, until
        self.restored = FakeTarget()
        return self

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_at and self.fails_with is not None:
            raise self.fails_with
