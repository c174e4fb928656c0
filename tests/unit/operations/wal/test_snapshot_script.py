"""A script between the beginning and the end of a base backup."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.model.errors import BackupFailed, DeadlineExceeded, SessionCorrupt, TargetNotEmpty
from holdfast.operations.wal.snapshot_script import SnapshotReport, SnapshotRequest, snapshot
from holdfast.ports.sessions import Anchor, Begun, Ended, HeldKind
from holdfast.runtime.cleanup import waiting_for

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEGUN = Begun(
    kind=HeldKind.BACKUP,
    anchor=Anchor(system_identifier="77", timeline=1, started_at=NOW, is_standby=False),
    begun_at=NOW,
    backend_pid=1,
    start_lsn="0/2000028",
    start_wal_file="000000010000000000000002",
)


@dataclass
class FakeHolding:
    """A session that a check may find corrupt."""

    begun: Begun = BEGUN
    session_id: str = "c6a8"
    ended: Ended | None = None
    corrupt: bool = False
    acts: list[str] = field(default_factory=list)

    def look(self) -> None:
        self.acts.append("look")
        if self.corrupt:
            raise SessionCorrupt("cannot use the session: the server was restarted")

    def end(self, *, keep: bool = False) -> Ended:  # there is no slot to keep
        self.acts.append("end")
        return Ended(stop_lsn="0/2000100", backup_label="START WAL LOCATION\n")

    def abort(self) -> None:
        self.acts.append("abort")


@dataclass
class FakeBracket:
    """Obeys both `ports.sessions.Bracket` and `ports.sessions.Bracketed`."""

    holding: FakeHolding = field(default_factory=FakeHolding)
    data: str = "/srv/data"

    @property
    def tablespaces(self) -> Mapping[str, str]:
        return {"16400": "/srv/space"}

    def end(self, folder: str) -> Ended:
        ended = self.holding.end()
        Path(folder, "backup_label").write_text(ended.backup_label)
        return ended

    @contextmanager
    def open(self, label: str) -> Iterator[FakeBracket]:
        self.holding.acts.append(f"begin {label}")
        try:
            yield self
        finally:
            self.holding.abort()


class Bench:
    """A script, a folder for labels, and the messages."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "script"
        self.labels = folder / "labels"
        self.bracket = FakeBracket()
        self.said = b""

    def take(
        self, *lines: str, mode: int = 0o700, timeout: timedelta | None = None
    ) -> SnapshotReport:
        self.script.write_text("\n".join(["#!/bin/sh", "set -eu", *lines, ""]))
        self.script.chmod(mode)
        request = SnapshotRequest(
            job="farm", script=self.script, labels=self.labels, label="noon", timeout=timeout
        )
        return snapshot(
            request, self.bracket, clock=lambda: NOW, told=self._hear, look_seconds=0.02
        )

    def _hear(self, chunk: bytes) -> None:
        self.said += chunk

    @property
    def acts(self) -> list[str]:
        return [act for act in self.bracket.holding.acts if act != "look"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_script_runs_between_begin_and_end_and_knows_what_it_copies(bench: Bench) -> None:
    names = "HOLDFAST_JOB HOLDFAST_SESSION HOLDFAST_LABEL HOLDFAST_START_LSN HOLDFAST_START_WAL"
    report = bench.take(
        f'for name in {names} HOLDFAST_TIMELINE PGDATA; do eval echo "\\$$name"; done',
        'echo "$HOLDFAST_TABLESPACES"; touch "$HOLDFAST_LABEL_DIR/mine"',
    )
    assert bench.said.decode().splitlines() == [
        "farm",
        "c6a8",
        "noon",
        "0/2000028",
        "000000010000000000000002",
        "1",
        "/srv/data",
        '{"16400": "/srv/space"}',
    ]
    assert bench.acts == ["begin noon", "end", "abort"]
    assert {path.name for path in bench.labels.iterdir()} == {"mine", "backup_label"}
    assert (report.begun.start_lsn, report.ended.stop_lsn) == ("0/2000028", "0/2000100")


def test_a_script_that_fails_ends_the_backup_and_is_told_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(BackupFailed, match=r"status 3: lvcreate: no space \| in the group") as told:
        bench.take("echo 'lvcreate: no space' >&2", "echo 'in the group' >&2", "exit 3")
    assert bench.acts == ["begin noon", "abort"]
    assert "ended on the server" in told.value.hint
    assert not bench.labels.exists()


def test_what_a_failed_script_has_left_stays(bench: Bench) -> None:
    with pytest.raises(BackupFailed):
        bench.take('touch "$HOLDFAST_LABEL_DIR/half"', "exit 1")
    assert [path.name for path in bench.labels.iterdir()] == ["half"]


def test_a_server_that_was_restarted_ends_the_script_at_once(bench: Bench) -> None:
    bench.bracket.holding.corrupt = True
    with pytest.raises(SessionCorrupt, match="restarted"):
        bench.take("exec sleep 600")
    assert bench.acts == ["begin noon", "abort"]


def test_a_script_that_takes_too_long_is_ended(bench: Bench) -> None:
    with pytest.raises(DeadlineExceeded, match="longer than"):
        bench.take("exec sleep 600", timeout=timedelta(seconds=0.05))
    assert bench.acts == ["begin noon", "abort"]


def test_labels_are_never_mixed_with_those_of_another_snapshot(bench: Bench) -> None:
    bench.take("true")
    with pytest.raises(TargetNotEmpty, match="contains files"):
        bench.take("true")
    assert bench.acts == ["begin noon", "end", "abort"]


def test_what_cannot_be_run_is_told_with_the_remedy(bench: Bench) -> None:
    with pytest.raises(BackupFailed, match="Permission denied") as told:
        bench.take("true", mode=0o600)
    assert "chmod +x" in told.value.hint
    assert bench.acts == ["begin noon", "abort"]


class Stuck(FakeBracket):
    """A server whose checkpoint takes its time."""

    @contextmanager
    def open(self, label: str) -> Iterator[FakeBracket]:
        waiting_for("waiting for the checkpoint that a base backup begins with")
        threading.Event().wait(60)
        with super().open(label) as opened:
            yield opened


def test_a_backup_that_is_not_begun_in_time_is_given_up_and_runs_no_script(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.bracket = Stuck()
    with pytest.raises(DeadlineExceeded, match="not started yet: waiting for the checkpoint"):
        bench.take(f"touch {tmp_path}/ran", timeout=timedelta(milliseconds=100))
    assert not (tmp_path / "ran").exists()
    assert not bench.labels.exists()
