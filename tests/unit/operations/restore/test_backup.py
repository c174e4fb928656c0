"""Only verified bytes are restored, and the operator's names are understood."""

from __future__ import annotations

import dataclasses

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Relation
from holdfast.model.errors import (
    BackupNotFound,
    ConfigInvalid,
    RestoredWithFailures,
    TargetNotEmpty,
    VerifyFailed,
)
from holdfast.model.restore import FailedObject, FailedStatements
from holdfast.operations.backup.job import backup
from holdfast.operations.restore.backup import RestoreReport, restore
from holdfast.ports.target import RestoreOptions
from tests.fakes.progress import FakeProgress
from tests.fakes.source import FakeTarget, table
from tests.support.memory_job import MemoryJob


def restored(job: MemoryJob, target: FakeTarget, *tables: str) -> RestoreReport:
    options = RestoreOptions(tables=tables)
    return restore(
        job.repository, target, "shop/latest", progress=job.progress, options=options, workers=2
    )


def test_everything_comes_back_and_is_counted() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    job.progress = FakeProgress()
    target = FakeTarget()
    report = restored(job, target)
    assert target.tables == {
        "public.orders": b"1,ann\n2,bob\n3,eve\n",
        "public.items": b"1,9\n",
        "public.empty": b"",
    }
    assert (report.rows, report.plain_bytes) == (4, manifest.plain_bytes)
    assert job.progress.done_bytes == job.progress.total_bytes == 22


@pytest.mark.parametrize("name", ["public.items", "items"])
def test_one_table_may_be_named_with_or_without_its_schema(name: str) -> None:
    job = MemoryJob()
    backup(job.context)
    target = FakeTarget()
    restored(job, target, name)
    assert list(target.tables) == ["public.items"]


def test_a_partitioned_table_may_be_named_though_only_its_partitions_have_rows() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    root = Relation(schema="public", name="sales")
    job.repository.delete(f"{manifest.backup_id}/manifest.json")
    parts = tuple(dataclasses.replace(part, ancestors=(root,)) for part in manifest.parts)
    Catalog(job.repository).commit(dataclasses.replace(manifest, parts=parts))
    target = FakeTarget()
    restored(job, target, "sales")
    assert target.requests[0].tables == (root,)
    assert len(target.tables) == 3


def test_a_table_that_the_backup_does_not_hold_is_named() -> None:
    job = MemoryJob()
    backup(job.context)
    with pytest.raises(BackupNotFound, match=r"'public\.nothing'.*holds no such table"):
        restored(job, FakeTarget(), "public.nothing")


def test_a_damaged_part_is_not_loaded_to_its_end() -> None:
    job = MemoryJob(table("orders", *[f"{number},row" for number in range(1000)]))
    manifest = backup(job.context).manifest
    job.repository.flip_bit(manifest.parts[0].key, at=manifest.parts[0].stored_bytes - 1)
    target = FakeTarget()
    with pytest.raises(VerifyFailed, match=r"public\.orders"):
        restored(job, target)
    assert target.tables == {}


def test_a_target_that_holds_something_is_refused() -> None:
    job = MemoryJob()
    backup(job.context)
    target = FakeTarget(existing=["public.orders"])
    with pytest.raises(TargetNotEmpty):
        restored(job, target)


class Drawer:
    """Obeys `model.restore.FailedStatements`: the last script that was kept."""

    script = ""

    def keep(self, backup_id: str, script: str) -> str:
        self.script = f"{backup_id}: {script}"
        return "/somewhere/script.sql"


class FullDrawer:
    """Obeys `model.restore.FailedStatements`, and has no room."""

    def keep(self, backup_id: str, script: str) -> str:
        raise ConfigInvalid(f"cannot keep '{backup_id}': {len(script)} bytes are too many")


def half_restored(statements: FailedStatements) -> RestoreReport:
    job, target = MemoryJob(), FakeTarget()
    backup(job.context)
    target.preamble = "SET a = 1;\n"
    target.failed = (
        FailedObject(kind="index", name="public.i", statement="CREATE INDEX i;\n", cause="no\nway"),
        FailedObject(kind="rows", name="public.t\n; DROP TABLE x;", statement="", cause="bad"),
    )
    options = RestoreOptions(keep_going=True)
    report = restore(
        job.repository,
        target,
        "shop/latest",
        progress=job.progress,
        options=options,
        statements=statements,
    )
    assert target.requests[0].options is options
    return report


def test_what_failed_is_reported_and_its_statements_are_kept_as_a_script() -> None:
    drawer = Drawer()
    report = half_restored(drawer)
    assert report.exit_code == RestoredWithFailures.exit_code
    assert report.script == "/somewhere/script.sql"
    assert drawer.script.splitlines()[1:] == [
        "-- Keep their order, and run each of them after you have removed its cause.",
        "SET a = 1;",
        "",
        "-- index public.i: no way",
        "CREATE INDEX i;",
        "",
        "-- rows public.t ; DROP TABLE x;: bad",
        "-- (no statement creates it)",
    ]


def test_a_script_that_cannot_be_kept_hides_nothing_of_what_was_restored() -> None:
    report = half_restored(FullDrawer())
    assert (report.script, len(report.failed), report.rows) == ("", 2, 4)


def test_a_whole_restore_has_nothing_to_report_and_keeps_no_script() -> None:
    job = MemoryJob()
    backup(job.context)
    report = restored(job, FakeTarget())
    assert (report.exit_code, report.failed, report.script) == (0, (), "")
