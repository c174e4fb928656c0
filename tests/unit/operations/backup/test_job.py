"""A backup is complete, or not listed at all."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from datetime import timedelta

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Buffer, Consistency, Manifest
from holdfast.model.errors import (
    BackupFailed,
    BackupNotFound,
    ConfigInvalid,
    DatabaseUnreachable,
    DeadlineExceeded,
    HoldfastError,
    Interrupted,
    LeaseLost,
    RepositoryFull,
    RepositoryUnreachable,
    RunInFlight,
    SessionCorrupt,
    SnapshotLost,
)
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.job import backup
from holdfast.ports.host_state import RunRecord
from holdfast.ports.repository import Stored
from holdfast.ports.sessions import RUN_LABEL, HeldKind
from tests.fakes.gauges import MemoryGauges
from tests.fakes.holder import FakeHolder
from tests.fakes.repository import MemoryRepository
from tests.fakes.run_history import MemoryRunHistory
from tests.fakes.source import ClosingFakeSnapshot, FakeSource, table
from tests.support.memory_job import MemoryJob


def test_every_part_is_kept_and_the_manifest_accounts_for_each() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    assert job.stored_names() == [
        "manifest.json",
        "parts/data/public.empty.copy.zst",
        "parts/data/public.items.copy.zst",
        "parts/data/public.orders.copy.zst",
    ]
    assert [(str(part.relation), part.rows, part.plain_bytes) for part in manifest.parts] == [
        ("public.orders", 3, 18),
        ("public.items", 1, 4),
        ("public.empty", 0, 0),
    ]
    assert manifest.consistency is Consistency.SNAPSHOT
    assert Catalog(job.repository).find("shop/latest") == manifest
    assert job.progress.done_bytes == manifest.plain_bytes == 22


def test_what_comes_last_is_kept_after_everything_else_is() -> None:
    job = MemoryJob(table("orders", "1,ann"), table("items", "1,9"))
    job.source.last = (table("label", "it ended here"),)
    manifest = backup(job.context).manifest
    (snapshot,) = job.source.snapshots
    assert isinstance(snapshot, ClosingFakeSnapshot)
    assert snapshot.stored_before == ["data/public.orders.copy", "data/public.items.copy"]
    assert [part.name for part in manifest.parts][-1] == "data/public.label.copy"


def test_a_snapshot_that_cannot_be_closed_is_no_backup() -> None:
    job = MemoryJob()
    job.source.last = (table("label", "it ended here"),)
    job.source.closing_fails_with = SessionCorrupt("cannot use the session: it was restarted")
    with pytest.raises(SessionCorrupt):
        backup(job.context)
    assert job.stored_names() == ["failed.json"]


def test_the_ledger_remembers_a_good_run() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    (run,) = job.history.records
    assert (run.outcome, run.backup, run.exit_code) == ("ok", manifest.backup_id, 0)
    assert run.run_id == manifest.run_id


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (SnapshotLost("cannot read table 'public.items': the session is gone"), SnapshotLost),
        (OSError("the disk of the server is gone"), BackupFailed),
    ],
)
def test_a_table_that_fails_fails_the_backup_and_leaves_the_previous_one(
    error: Exception, raised: type[HoldfastError]
) -> None:
    job = MemoryJob()
    previous = backup(job.context).manifest
    kept = dict(job.repository.objects)
    job.source.tables = (
        table("orders", "1", "2"),
        table("items", "1", "2", fails_with=error),
    )
    with pytest.raises(raised, match=r"public\.items"):
        backup(job.context)
    failure = job.forget_failure()
    assert (failure.relation, failure.part) == ("public.items", "data/public.items.copy")
    assert job.repository.objects == kept
    assert Catalog(job.repository).find("shop/latest") == previous
    run = job.history.last("shop", count=1)[0]
    assert (run.outcome, run.backup, run.exit_code) == ("failed", "", raised.exit_code)
    assert "public.items" in run.error
    assert job.source.opened == job.source.closed == 2
    assert job.guard.owners == {}


def test_a_full_repository_leaves_nothing_of_the_run() -> None:
    job = MemoryJob()
    job.repository.refuse_puts_with = RepositoryFull("cannot store: no space", hint="prune")
    with pytest.raises(RepositoryFull):
        backup(job.context)
    assert job.repository.objects == {}
    assert job.history.records[0].hint == "prune"


def test_a_server_that_is_down_is_in_the_ledger_with_its_code() -> None:
    job = MemoryJob()
    job.source.refuse_with = DatabaseUnreachable("cannot reach 'db'", hint="start it")
    with pytest.raises(DatabaseUnreachable):
        backup(job.context)
    assert job.history.records[0].exit_code == DatabaseUnreachable.exit_code


def test_a_ledger_that_cannot_be_written_does_not_hide_what_went_wrong() -> None:
    class FullLedger(MemoryRunHistory):
        def record(self, run: RunRecord) -> None:
            raise ConfigInvalid("cannot write the ledger: no space")

    job = MemoryJob()
    job.history = FullLedger()
    job.source.refuse_with = DatabaseUnreachable("cannot reach 'db'")
    with pytest.raises(DatabaseUnreachable):
        backup(job.context)


def test_a_second_run_is_skipped_and_counted_but_touches_nothing() -> None:
    job = MemoryJob()
    with job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        backup(job.context)
    assert job.source.opened == 0
    assert job.history.records[0].outcome == "skipped"


def test_leftovers_of_a_killed_run_are_gone_after_the_next_one() -> None:
    job = MemoryJob()
    job.repository.put("shop/20261119T020000Z-deadbeef/parts/data/x.copy.zst", [b"half"])
    job.repository.unfinished.add("shop/20261119T020000Z-deadbeef/parts/data/y.copy.zst")
    manifest = backup(job.context).manifest
    assert {key.split("/")[1] for key in job.repository.objects} == {manifest.name}
    assert job.repository.unfinished == set()


def test_an_interrupt_leaves_nothing_of_the_run_and_is_recorded() -> None:
    job = MemoryJob(table("orders", "1", "2", fails_with=KeyboardInterrupt()))
    with pytest.raises(Interrupted):
        backup(job.context)
    job.forget_failure()
    assert job.repository.objects == {}
    assert job.history.records[0].outcome == "failed"


def test_an_interrupt_is_obeyed_where_an_error_would_be_ignored() -> None:
    class Interrupting(MemoryGauges):
        def show_backup(self, manifest: Manifest) -> None:
            super().show_backup(manifest)
            raise Interrupted("cannot continue: interrupted by SIGTERM", hint="start it again")

    job = MemoryJob()
    job.gauges = Interrupting()
    with pytest.raises(Interrupted):
        backup(job.context)
    assert len(job.gauges.backups) == 1
    (run,) = job.history.records
    assert (run.outcome, run.exit_code, run.hint) == ("failed", 130, "start it again")


def test_a_run_that_outlives_its_deadline_is_ended_and_says_so() -> None:
    stuck = dataclasses.replace(table("orders", "1"), waits_for=threading.Event())
    job = MemoryJob(stuck, timeout=timedelta(milliseconds=50))
    with pytest.raises(DeadlineExceeded, match=r"took longer than 0:00:00\.05") as caught:
        backup(job.context)
    assert caught.value.hint
    job.forget_failure()
    assert job.repository.objects == {}


def test_names_of_backups_tell_when_and_which_run() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    assert manifest.name == f"{manifest.started_at:%Y%m%dT%H%M%SZ}-{manifest.run_id[:8]}"


def test_a_read_that_brings_no_byte_for_too_long_is_ended_and_says_so() -> None:
    stuck = dataclasses.replace(table("orders", "1"), waits_for=threading.Event())
    job = MemoryJob(stuck)
    job.stall_timeout = timedelta(milliseconds=50)
    with pytest.raises(DeadlineExceeded, match=r"no data arrived for 0:00:00\.05") as caught:
        backup(job.context)
    assert "locks" in caught.value.hint


def test_a_backup_that_cannot_fit_is_refused_before_its_first_byte() -> None:
    job = MemoryJob(table("orders", *(["x" * 100] * 100)))
    job.repository = MemoryRepository(free_bytes=100)
    with pytest.raises(RepositoryFull, match="cannot store a backup of database 'shop'"):
        backup(job.context)
    assert job.source.snapshots[0].reading_peak == 0


def test_numbers_of_the_run_stand_in_the_manifest_and_are_shown() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    assert job.gauges.backups == [manifest]
    assert [run.outcome for run, _ in job.gauges.runs] == ["ok"]
    assert manifest.metrics["recoveries"] == 0
    assert manifest.metrics["compression_ratio"] == round(
        manifest.plain_bytes / manifest.stored_bytes, 3
    )


class TestSeveralDatabases:
    """A job of a whole server."""

    def job(self) -> MemoryJob:
        job = MemoryJob()
        refused = DatabaseUnreachable("cannot connect to database 'stock'", hint="start it")
        job.source.others = [
            FakeSource(table("orders", "1"), name="shop"),
            FakeSource(refuse_with=refused, name="stock"),
            FakeSource(table("pages", "1", "2"), name="wiki"),
        ]
        return job

    def test_one_that_fails_does_not_keep_the_others_and_fails_the_run(self) -> None:
        job = self.job()
        report = backup(job.context)
        assert [each.server.database for each in report.manifests] == ["shop", "wiki"]
        assert len({each.name for each in report.manifests}) == 2
        assert {each.run_id for each in report.manifests} == {report.run_id}
        assert [each.database for each in report.failures] == ["stock"]
        assert isinstance(report.error, DatabaseUnreachable)
        (run,) = job.history.records
        assert (run.outcome, run.exit_code) == ("failed", DatabaseUnreachable.exit_code)
        assert run.facts == {"databases": "3", "failed": "stock"}

    def test_two_that_fail_are_told_together(self) -> None:
        job = self.job()
        job.source.others[2].refuse_with = SnapshotLost("gone")
        report = backup(job.context)
        assert isinstance(report.error, BackupFailed)
        assert "'stock', 'wiki'" in report.error.message

    def test_the_latest_is_asked_for_by_database(self) -> None:
        job = self.job()
        backup(job.context)
        catalog = Catalog(job.repository)
        with pytest.raises(BackupNotFound, match="has several databases") as caught:
            catalog.find("shop/latest")
        assert "--database: shop, wiki" in caught.value.hint
        assert catalog.find("shop/latest", database="wiki").rows == 2
        with pytest.raises(BackupNotFound):
            catalog.find("shop/latest", database="stock")

    def test_an_interruption_ends_them_all(self) -> None:
        job = self.job()
        job.source.others[0].tables = (table("orders", "1", fails_with=KeyboardInterrupt()),)
        with pytest.raises(Interrupted):
            backup(job.context)
        assert job.source.others[2].opened == 0


def test_the_third_run_skipped_in_a_row_is_an_alarm() -> None:
    job = MemoryJob()
    codes: list[int] = []
    with job.guard.hold("shop", deadline=None):
        for _ in range(4):
            with pytest.raises(RunInFlight) as skipped:
                backup(job.context)
            codes.append(skipped.value.exit_code)
    assert codes == [40, 40, 41, 41]
    assert [run.outcome for run in job.history.records] == ["skipped"] * 4
    assert [(run.exit_code, in_a_row) for run, in_a_row in job.gauges.runs][-1] == (41, 4)
    assert "4 runs in a row were skipped" in skipped.value.message
    backup(job.context)
    with job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight) as skipped:
        backup(job.context)
    assert skipped.value.exit_code == 40


def test_a_run_that_lost_its_job_before_the_manifest_stores_none() -> None:
    job = MemoryJob()
    job.guard.hold_given.lose_at_proof = 1
    with pytest.raises(LeaseLost):
        backup(job.context)
    assert [key.rpartition("/")[2] for key in job.repository.objects] == ["failed.json"]
    assert job.history.records[-1].exit_code == 43


def test_a_run_that_lost_its_job_while_the_manifest_was_stored_takes_it_back() -> None:
    job = MemoryJob()
    hold = job.guard.hold_given

    class SlowRepository(MemoryRepository):
        def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
            if key.endswith("/manifest.json"):
                hold.lost = "the repository accepted no heartbeat for a whole lease_time"
            return super().put(key, chunks)

    job.repository = SlowRepository(free_bytes=1 << 30)
    with pytest.raises(LeaseLost, match="accepted no heartbeat"):
        backup(job.context)
    assert Catalog(job.repository).survey("shop").manifests == ()


def test_a_run_that_loses_its_job_on_the_way_ends_its_reads() -> None:
    stuck = threading.Event()
    slow = dataclasses.replace(table("orders", "1,ann"), waits_for=stuck)
    job = MemoryJob(slow)
    job.guard.hold_given.lost = "another host has taken it over"
    with pytest.raises(LeaseLost, match="cannot back up job 'shop': another host"):
        backup(job.context)
    assert stuck.is_set()
    assert job.source.closed == job.source.opened


def test_a_run_ends_the_sessions_of_dead_ones_before_it_begins_its_own() -> None:
    job = MemoryJob()
    job.sessions = holder = FakeHolder()
    holder.begin(HeldKind.SNAPSHOT, label=RUN_LABEL, fast=True).session_id = "of a dead run"
    backup(job.context)
    assert holder.left() == []


def test_a_resumed_run_ends_all_sessions_but_the_one_that_it_joins() -> None:
    job = MemoryJob(
        table("orders", "1,ann"),
        table("zz_last", "1", "2", fails_with=BackupFailed("cannot read: cut off")),
    )
    job.resumable = True
    with pytest.raises(BackupFailed):
        backup(job.context)
    (unfinished,) = job.journal.unfinished("shop")
    job.sessions = holder = FakeHolder()
    for name in (unfinished.snapshot, "of another one"):
        holder.begin(HeldKind.SNAPSHOT, label=RUN_LABEL, fast=True).session_id = name
    # Nobody can rejoin the fake source, but the reused parts show nevertheless.
    with pytest.raises(SnapshotLost):
        backup(job.context, BackupChoice(resume=True))
    assert holder.left() == [unfinished.snapshot]


def test_the_room_of_the_repository_is_shown_and_a_store_that_cannot_tell_fails_no_run() -> None:
    class Away(MemoryRepository):
        def free_bytes(self) -> int:
            # Planning asked already.
            if self.objects:
                raise RepositoryUnreachable("cannot read the free space of 'main': timed out")
            return 1 << 30

    job = MemoryJob()
    backup(job.context)
    assert job.gauges.room == {"shop": 1 << 30}
    job.repository = Away()
    job.gauges.room.clear()
    backup(job.context)
    assert job.gauges.room == {}
    assert [run.outcome for run, _ in job.gauges.runs] == ["ok", "ok"]


def test_where_nobody_gets_metrics_nothing_is_measured_for_them() -> None:
    class Counting(MemoryRepository):
        asked = 0

        def free_bytes(self) -> int:
            Counting.asked += 1
            return 1 << 30

    job = MemoryJob()
    job.repository = Counting()
    backup(job.context)
    shown = Counting.asked
    job.gauges.are_shown = False
    backup(job.context)
    assert Counting.asked == 2 * shown - 1
