"""A run compares its backups with those before them once, and never fails by that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import RepositoryUnreachable
from holdfast.model.suspicion import Sized, Suspicion
from holdfast.operations.backup.job import backup
from holdfast.operations.context import BackupContext
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob


def context(job: MemoryJob, known: Callable[[], Sequence[Sized]]) -> BackupContext:
    made = job.context
    rules = replace(made.job.rules, suspicion=Suspicion(smallest_bytes=1))
    return replace(
        made,
        job=replace(made.job, rules=rules),
        state=replace(made.state, known_backups=known),
    )


def test_several_databases_share_one_look_and_each_is_compared_with_its_own() -> None:
    job = MemoryJob()
    looks: list[int] = []

    def known() -> Sequence[Sized]:
        looks.append(1)
        return Catalog(job.repository).survey("shop").manifests

    def run(*rows: str) -> list[str]:
        job.source.others = [
            FakeSource(table("orders", *rows), name="shop"),
            FakeSource(table("pages", "1", "2", "3"), name="wiki"),
        ]
        report = backup(context(job, known))
        assert report.error is None
        return list(report.warnings)

    for _ in range(3):
        assert run("1", "2", "3") == []
    (warning,) = run("1")
    assert "it has 1 row, and the median of the 3 backups before it is 3" in warning
    assert len(looks) == 4
    assert job.history.last("shop", count=1)[0].outcome == "ok"
    assert "suspicious" in job.history.last("shop", count=1)[0].facts


def test_a_run_is_good_although_nothing_is_known_of_earlier_backups() -> None:
    def unreachable() -> Sequence[Sized]:
        raise RepositoryUnreachable("cannot list 'shop': timed out")

    report = backup(context(MemoryJob(), unreachable))
    assert (report.error, report.warnings, len(report.manifests)) == (None, (), 1)
