"""The drills of a job: which, in which order, within which limits, and what they leave."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.drill_records import DrillRecords
from holdfast.model.backup import Manifest
from holdfast.model.drill import (
    Answer,
    Check,
    DrillFinding,
    DrillRecord,
    Outcome,
    ProofRow,
    compared,
)
from holdfast.model.errors import (
    BackupNotFound,
    CheckRefused,
    ConfigInvalid,
    DeadlineExceeded,
    DrillFailed,
    HoldfastError,
    IdentityNeeded,
    RepositoryFull,
    RestoreFailed,
    RunInFlight,
    TargetOutOfReach,
    ToolMissing,
    VerifyFailed,
)
from holdfast.operations.backup.job import backup
from holdfast.operations.drill import database, rooms as rooms_module
from holdfast.operations.drill.database import DrillContext, DrillHost, DrillRequest
from holdfast.operations.drill.job import DrillReport, drill
from holdfast.operations.drill.measured import DrillWatch
from holdfast.operations.drill.room_folders import this_host
from holdfast.operations.drill.rooms import KEPT, Rooms
from holdfast.operations.verify.backup import BackupReader
from tests.fakes.drill import FakeDrillServer
from tests.fakes.gauges import MemoryGauges
from tests.fakes.guard import MemoryGuard
from tests.fakes.progress import FakeProgress
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob

ALL_CALLS = ["problems", "prepare", "target", "verify_files", "recover", "prove", "close"]


class Drilling:
    """Job `shop` with one backup, and everything that its drills need, in memory."""

    def __init__(self, folder: Path) -> None:
        self.job = MemoryJob()
        self.server = FakeDrillServer()
        self.guard = MemoryGuard()
        self.gauges = MemoryGauges()
        self.rooms = Rooms(folder=folder / "rooms", job="shop")
        backup(self.job.context)

    @property
    def context(self) -> DrillContext:
        return DrillContext(
            job="shop",
            reader=BackupReader(
                repository=self.job.repository,
                verification_log=self.job.verification_log,
                clock=self.job.clock,
                progress=FakeProgress(),
            ),
            guard=self.guard,
            open_server=self.server.opened,
            host=DrillHost(name="drills1", version="0.1.0", rooms=self.rooms),
            gauges=self.gauges,
        )

    def run(
        self, request: DrillRequest | None = None, *, seconds: Callable[[], float] | None = None
    ) -> DrillReport:
        asked = request or DrillRequest()
        if seconds is None:
            return drill(self.context, asked)
        return drill(self.context, asked, seconds=seconds)

    @property
    def records(self) -> tuple[DrillRecord, ...]:
        return DrillRecords(self.job.repository, "shop").all().records

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        return Catalog(self.job.repository).survey("shop").manifests

    @property
    def left(self) -> list[Path]:
        return list(self.rooms.folder.glob("shop/*"))


@pytest.fixture
def drilling(tmp_path: Path) -> Drilling:
    return Drilling(tmp_path)


def bad(record: DrillRecord) -> list[str]:
    return [row.name for row in record.rows if row.is_bad]


def test_a_backup_is_restored_proven_and_recorded(drilling: Drilling) -> None:
    report = drilling.run(DrillRequest(checks=[Check(sql="SELECT 1", equals="7")]))
    (record,) = drilling.records
    assert [each.record for each in report.drilled] == [record]
    assert bad(record) == ["check: SELECT 1"]
    assert report.exit_code == DrillFailed.exit_code
    assert drilling.gauges.drills == [(record, DrillFailed.exit_code)]
    assert drilling.server.calls == [*ALL_CALLS[:-1], "ask", "close"]
    names = [row.name for row in record.rows]
    assert names[:4] == [
        "rows of public.orders",
        "rows of public.items",
        "rows of public.empty",
        "fingerprints",
    ]
    assert record.reached == drilling.manifests[0].snapshot_at
    assert (record.host, record.database, record.server) == ("drills1", "shop", "1.0")
    assert drilling.left == []


def test_a_good_drill_counts_as_a_restore_of_the_backup(drilling: Drilling) -> None:
    drilling.server.answers = {"SELECT 1": Answer(rows=1, value="1")}
    report = drilling.run(DrillRequest(checks=[Check(sql="SELECT 1")]))
    (record,) = drilling.records
    assert (report.exit_code, record.outcome, bad(record)) == (0, Outcome.PASSED, [])
    assert drilling.job.verification_log.restored_at == {record.backup: record.ended}
    options = drilling.server.restored.requests[0].options
    assert (options.globals, options.tablespaces) == (True, False)


def test_what_the_host_lacks_ends_the_drill_before_the_load(drilling: Drilling) -> None:
    minor = DrillFinding(subject="network", problem="is there", blocks=False)
    drilling.server.lacks = [
        minor,
        DrillFinding(subject="extension 'x'", problem="is missing", hint="apt install x"),
    ]
    report = drilling.run()
    assert drilling.server.calls == ["problems", "close"]
    (record,) = drilling.records
    assert record.problem == "extension 'x': is missing"
    assert (record.hint, report.exit_code) == ("apt install x", DrillFailed.exit_code)
    drilling.server.lacks = [minor]
    assert drilling.run().exit_code == 0


@pytest.mark.parametrize(
    ("at", "error", "row", "code"),
    [
        ("prepare", DrillFailed("no server"), [], DrillFailed.exit_code),
        ("prepare", ToolMissing("no initdb"), [], ToolMissing.exit_code),
        ("target", RestoreFailed("no table"), ["restore"], DrillFailed.exit_code),
        ("target", VerifyFailed("no part"), ["fingerprints"], DrillFailed.exit_code),
        ("problems", TargetOutOfReach("a gap"), ["recovery"], DrillFailed.exit_code),
        ("recover", DrillFailed("no WAL"), [], DrillFailed.exit_code),
        ("prove", DrillFailed("gone"), [], DrillFailed.exit_code),
    ],
)
def test_every_failure_is_recorded_and_leaves_nothing(
    drilling: Drilling, at: str, error: HoldfastError, row: list[str], code: int
) -> None:
    drilling.server.fails_at, drilling.server.fails_with = at, error
    report = drilling.run()
    (record,) = drilling.records
    assert (record.outcome, bad(record), report.exit_code) == (Outcome.FAILED, row, code)
    assert error.message in record.problem
    assert drilling.server.calls[-1] == "close"
    assert drilling.left == []


def test_what_the_disk_refuses_is_recorded_too(drilling: Drilling) -> None:
    drilling.server.fails_at = "recover"
    for number, code in ((errno.ENOSPC, RepositoryFull), (errno.ENOTDIR, DrillFailed)):
        drilling.server.fails_with = OSError(number, os.strerror(number), "data")
        assert drilling.run().exit_code == code.exit_code
        assert os.strerror(number) in drilling.records[0].problem
        drilling.job.clock.advance(timedelta(seconds=1))
    assert drilling.left == []


def test_one_failed_check_does_not_keep_the_others_from_being_asked(drilling: Drilling) -> None:
    drilling.server.fails_at, drilling.server.fails_with = "ask", DrillFailed("no such table")
    drilling.run(DrillRequest(checks=[Check(sql="SELECT 1"), Check(sql="SELECT 2")]))
    assert bad(drilling.records[0]) == ["check: SELECT 1", "check: SELECT 2"]


def test_a_bad_row_of_the_server_fails_the_drill(drilling: Drilling) -> None:
    drilling.server.proves = [compared("amcheck", expected="no damage", found="1 damaged one")]
    assert drilling.run().exit_code == DrillFailed.exit_code
    assert bad(drilling.records[0]) == ["amcheck"]


def test_a_record_with_many_rows_and_long_answers_can_be_read_back(drilling: Drilling) -> None:
    good = ProofRow(name="CHECK TABLE shop.t", outcome=Outcome.PASSED, expected="OK", found="OK")
    late = ProofRow(name="CHECK TABLE \udcff", outcome=Outcome.FAILED, found="x" * (2 << 20))
    drilling.server.proves = [good] * 12_000 + [late]
    drilling.run()
    (record,) = drilling.records
    assert bad(record) == ["CHECK TABLE ?"]
    assert record.rows[-1].name.endswith("other proofs")
    assert not record.rows[-1].is_bad


def test_long_texts_alone_fill_a_record_to_its_limit_only(drilling: Drilling) -> None:
    row = ProofRow(name="\u20ac", outcome=Outcome.FAILED, found="\u20ac" * 9000, detail="\1" * 9000)
    drilling.server.proves = [row] * 3000
    drilling.run()
    (record,) = drilling.records
    assert record.rows[-1].is_bad
    assert record.rows[-1].name.endswith("other proofs")


def test_files_are_verified_before_their_server_starts(drilling: Drilling) -> None:
    drilling.server.verifies = [compared("pg_verifybackup", expected="whole", found="a hole")]
    assert drilling.run().exit_code == DrillFailed.exit_code
    assert bad(drilling.records[0]) == ["pg_verifybackup"]
    assert drilling.server.calls == ALL_CALLS


def test_the_server_is_told_the_moment_to_recover_to(drilling: Drilling) -> None:
    wanted = datetime(2030, 1, 1, tzinfo=UTC)
    drilling.run(DrillRequest(not_after=wanted))
    assert drilling.server.until == wanted
    drilling.run()
    assert drilling.server.until is None


def test_a_check_of_another_database_is_not_asked(drilling: Drilling) -> None:
    checks = [Check(sql="SELECT 1", database="other"), Check(sql="SELECT 2", database="shop")]
    drilling.run(DrillRequest(checks=checks))
    names = [row.name for row in drilling.records[0].rows]
    assert [name for name in names if name.startswith("check: ")] == ["check: SELECT 2"]


def test_a_check_that_is_no_select_is_refused_first(drilling: Drilling) -> None:
    with pytest.raises(CheckRefused, match="no SELECT"):
        drilling.run(DrillRequest(checks=[Check(sql="-- a SELECT\nDELETE FROM orders")]))
    assert (drilling.server.calls, drilling.records) == ([], ())


def with_databases(drilling: Drilling, *names: str) -> None:
    """One more run of the job, with a backup of each database."""
    drilling.job.source.others = [FakeSource(table("orders", "1"), name=name) for name in names]
    backup(drilling.job.context)


def test_the_database_that_was_not_drilled_for_longest_comes_first(drilling: Drilling) -> None:
    with_databases(drilling, "a", "b")
    drilling.run(DrillRequest(database="a"))
    report = drilling.run()
    assert [each.record.database for each in report.drilled] == ["b", "shop", "a"]


def test_only_as_many_databases_are_drilled_as_fit_the_budget(drilling: Drilling) -> None:
    with_databases(drilling, "a", "b")
    drilling.run()
    # One second passes with each look at the clock, and each drill took some.
    now = iter(range(1000))
    report = drilling.run(
        DrillRequest(budget=timedelta(seconds=1)), seconds=lambda: float(next(now))
    )
    assert [each.record.database for each in report.drilled] == ["a"]
    assert report.left == ("b", "shop")


def test_a_second_drill_is_skipped_with_the_code_of_overlaps(drilling: Drilling) -> None:
    with drilling.guard.hold("shop", deadline=None), pytest.raises(RunInFlight) as raised:
        drilling.run()
    assert raised.value.message.startswith("cannot drill job 'shop': ")
    assert drilling.server.calls == []


def test_the_chosen_backup_or_the_newest_before_a_time_is_drilled(drilling: Drilling) -> None:
    (old,) = drilling.manifests
    backup(drilling.job.context)
    new = drilling.manifests[0]
    assert drilling.run().drilled[0].record.backup == new.backup_id
    by_id = DrillRequest(backup_id=old.backup_id)
    assert drilling.run(by_id).drilled[0].record.backup == old.backup_id
    # The fake's snapshots show one moment: the newest of them is not newer than that.
    by_time = DrillRequest(not_after=old.snapshot_at - timedelta(seconds=1))
    with pytest.raises(BackupNotFound, match="taken by 2026"):
        drilling.run(by_time)
    with pytest.raises(BackupNotFound, match="database 'none'"):
        drilling.run(DrillRequest(database="none"))


def test_what_a_dead_drill_left_is_removed_and_what_was_kept_stays(drilling: Drilling) -> None:
    dead, kept = f"{this_host()}-0000dead", f"{this_host()}-00000abc"
    for name in (dead, kept):
        (drilling.rooms.folder / "shop" / name / "data").mkdir(parents=True)
    (drilling.rooms.folder / "shop" / kept / KEPT).touch()
    assert drilling.run().swept == 1
    assert [path.name for path in drilling.left] == [kept]


def test_a_kept_server_keeps_its_room(drilling: Drilling) -> None:
    (drilled,) = drilling.run(DrillRequest(keep=True)).drilled
    (room,) = drilling.left
    assert drilling.server.kept
    assert str(room) in drilled.kept
    # The sockets of a room with a long path lie elsewhere.
    made = drilling.server.room
    assert made is not None
    shutil.rmtree(made.sockets)


def test_a_kept_server_names_the_folder_of_its_socket_too(
    drilling: Drilling, tmp_path: Path
) -> None:
    drilling.rooms = replace(drilling.rooms, folder=tmp_path / ("x" * 90))
    (drilled,) = drilling.run(DrillRequest(keep=True)).drilled
    sockets = drilling.server.room.sockets if drilling.server.room else ""
    assert sockets.startswith(f"{rooms_module.SOCKETS_BELOW}/")
    assert sockets in drilled.kept
    shutil.rmtree(sockets)


def test_a_drill_needs_room_on_the_disk(
    drilling: Drilling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "ROOM_BYTES", 1 << 60)
    assert drilling.run().exit_code == RepositoryFull.exit_code
    assert "are needed" in drilling.records[0].problem
    assert drilling.server.calls == []


@pytest.mark.parametrize("name", ["PG_VERSION", "ibdata1", "postmaster.pid"])
def test_no_room_is_made_in_the_data_of_a_server(
    drilling: Drilling, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    assert drilling.run().exit_code == ConfigInvalid.exit_code
    assert "is the data directory of a server" in drilling.records[0].problem
    assert (drilling.server.calls, drilling.left) == ([], [])


def test_a_drill_over_its_budget_ends_with_the_reason(
    drilling: Drilling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget is over when the drill begins: the first byte that is read ends it."""
    monkeypatch.setattr(DrillWatch, "_found", lambda _: DeadlineExceeded("too long"))
    monkeypatch.setattr("holdfast.operations.drill.measured.LOOK_SECONDS", 0)
    report = drilling.run(DrillRequest(budget=timedelta(seconds=1)))
    assert report.exit_code == DeadlineExceeded.exit_code
    assert drilling.records[0].problem == "too long"
    assert "abort" in drilling.server.calls
    assert drilling.left == []


def test_the_record_of_a_sealed_backup_without_an_identity_says_so(drilling: Drilling) -> None:
    manifest = drilling.manifests[0]
    parts = tuple(replace(part, encryption="age") for part in manifest.parts)
    sealed = replace(manifest, parts=parts, recipients=("age1x",))
    drilled = database.drill_backup(drilling.context, DrillRequest(), sealed, ends=1e18)
    assert drilled.exit_code == IdentityNeeded.exit_code
    assert drilling.records[0].began > datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "memory", "problem"),
    [
        (9.0, 1 << 30, ""),
        (10.0, 0, "it took longer than its budget of 1m"),
        (9.0, (1 << 30) + 1, "it uses 1.0 GiB of memory, and 1.0 GiB are allowed"),
    ],
)
def test_a_drill_is_ended_for_its_time_and_for_its_memory(
    now: float, memory: int, problem: str
) -> None:
    watch = DrillWatch(
        budget=timedelta(minutes=1),
        ends=10.0,
        memory_bytes=1 << 30,
        memory=lambda: memory,
        seconds=lambda: now,
    )
    assert watch.look() is bool(problem)
    assert problem in (watch.reason.message if watch.reason else "")
