"""Several repositories in one read: good ones keep the backup, a bad one is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Buffer
from holdfast.model.errors import (
    BackupFailed,
    HoldfastError,
    LeaseLost,
    RepositoryFull,
    RepositoryUnreachable,
    RunInFlight,
    TasksRefused,
)
from holdfast.operations.backup.job import RunReport, backup
from holdfast.operations.context import BackupContext, Mirror
from holdfast.operations.parts.mirrored import CHUNKS_BEHIND, Member, Mirrored
from holdfast.operations.status import check
from holdfast.operations.verify.backup import verify
from holdfast.ports.repository import Stored
from holdfast.ports.run import Hold
from tests.fakes.guard import MemoryGuard
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob, check_context, mirrored
from tests.support.threads import refuse_threads, threads_named
from tests.support.waiting import until

FULL = RepositoryFull("cannot store it: no room left")
GONE = RepositoryUnreachable("cannot reach it: no route to host")
MANY = 50


class TwoStores:
    """A job whose backups go to `main` and to `offsite`."""

    def __init__(self) -> None:
        self.job = MemoryJob()
        self.main = self.job.repository
        self.offsite = MemoryRepository()
        self.own_guard = MemoryGuard()
        self.guard = MemoryGuard()

    @property
    def context(self) -> BackupContext:
        mirrors = (
            Mirror(name="main", repository=self.main, guard=self.own_guard),
            Mirror(name="offsite", repository=self.offsite, guard=self.guard),
        )
        return mirrored(self.job.context, *mirrors)

    def backup(self) -> RunReport:
        return backup(self.context)

    def is_good_in(self, repository: MemoryRepository) -> bool:
        if not Catalog(repository).survey("shop").manifests:
            return False
        return verify(self.job.reader_of(repository), "shop/latest", workers=2).exit_code == 0


@pytest.fixture
def two() -> TwoStores:
    return TwoStores()


def test_every_repository_gets_the_same_bytes_and_the_database_is_read_once(two: TwoStores) -> None:
    report = two.backup()
    assert report.error is None
    assert two.main.objects == two.offsite.objects
    assert two.is_good_in(two.offsite)
    assert two.job.source.opened == 1


@pytest.mark.parametrize("error", [FULL, GONE], ids=lambda error: type(error).__name__)
def test_a_mirror_that_fails_fails_the_run_with_its_name_and_the_good_one_is_kept(
    two: TwoStores, error: HoldfastError
) -> None:
    two.offsite.refuse_puts_with = error
    report = two.backup()
    assert two.is_good_in(two.main)
    assert not two.is_good_in(two.offsite)
    assert [each.name for each in report.without] == ["offsite"]
    assert report.error is not None
    assert report.error.exit_code == error.exit_code
    assert "repository 'offsite'" in report.error.message
    assert "holdfast copy shop --to offsite" in report.error.hint
    (run,) = two.job.history.last("shop", count=1)
    assert (run.outcome, run.exit_code) == ("failed", error.exit_code)


def test_the_job_s_own_repository_may_be_the_bad_one(two: TwoStores) -> None:
    two.main.refuse_puts_with = FULL
    report = two.backup()
    assert two.is_good_in(two.offsite)
    assert [each.name for each in report.without] == ["main"]


def test_a_mirror_that_fails_at_the_manifest_has_no_backup(two: TwoStores) -> None:
    two.offsite.refuse_key_with = ("manifest.json", FULL)
    assert [each.name for each in two.backup().without] == ["offsite"]
    assert two.is_good_in(two.main)
    assert Catalog(two.offsite).survey("shop").manifests == ()
    two.offsite.refuse_key_with = None
    two.backup()
    left = {key.split("/")[1] for key in two.offsite.objects}
    assert left == {each.name for each in Catalog(two.offsite).survey("shop").manifests}


def test_where_all_of_them_fail_the_run_fails_as_that_of_one_repository_does(
    two: TwoStores,
) -> None:
    two.main.refuse_puts_with, two.offsite.refuse_puts_with = FULL, GONE
    with pytest.raises(RepositoryFull):
        two.backup()
    (run,) = two.job.history.last("shop", count=1)
    assert run.outcome == "failed"


def test_a_database_that_fails_leaves_nothing_in_any_of_them(two: TwoStores) -> None:
    broken = table("orders", "1,ann", fails_with=ValueError("the disk is on fire"))
    two.job.source = FakeSource(broken)
    with pytest.raises(BackupFailed, match="on fire"):
        two.backup()
    for repository in (two.main, two.offsite):
        assert [key for key in repository.objects if "/parts/" in key] == []
        assert Catalog(repository).survey("shop").manifests == ()


@pytest.mark.parametrize("lost", ["all of it", "half of it"])
def test_a_value_that_is_kept_in_one_place_only_is_brought_to_the_other(
    two: TwoStores, lost: str
) -> None:
    two.job.source.values = {b"a large object" * 1000}
    two.backup()
    (key,) = (key for key in two.offsite.objects if "/blobs/" in key)
    half = two.offsite.objects.pop(key)[:50]
    if lost == "half of it":
        two.offsite.objects[key] = half
    assert two.backup().without == ()
    assert two.offsite.objects[key] == two.main.objects[key]
    assert two.is_good_in(two.offsite)


def test_a_mirror_that_somebody_else_works_in_is_left_alone(two: TwoStores) -> None:
    with two.guard.hold("shop", deadline=None):
        report = two.backup()
    assert isinstance(report.error, RunInFlight)
    assert two.is_good_in(two.main)
    assert two.offsite.objects == {}


def test_where_somebody_owns_the_job_in_its_own_repository_the_run_is_skipped(
    two: TwoStores,
) -> None:
    with two.own_guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        two.backup()
    assert two.offsite.objects == {}
    (run,) = two.job.history.last("shop", count=1)
    assert run.outcome == "skipped"


def test_a_job_that_is_lost_everywhere_has_no_backup(two: TwoStores) -> None:
    two.own_guard.hold_given.lose_at_proof = 1
    two.guard.hold_given.lose_at_proof = 1
    with pytest.raises(LeaseLost):
        two.backup()
    for repository in (two.main, two.offsite):
        assert Catalog(repository).survey("shop").manifests == ()


def test_a_mirror_whose_lease_is_lost_has_no_backup(two: TwoStores) -> None:
    two.guard.hold_given.lose_at_proof = 1
    report = two.backup()
    assert [each.name for each in report.without] == ["offsite"]
    assert two.is_good_in(two.main)
    assert not two.is_good_in(two.offsite)


def test_what_a_dead_run_left_in_a_mirror_is_swept_by_the_next(two: TwoStores) -> None:
    two.offsite.objects["shop/20260101T000000Z-00000000/parts/data/x"] = b"half"
    two.backup()
    assert two.main.objects == two.offsite.objects


def test_check_looks_at_every_repository(two: TwoStores) -> None:
    two.offsite.refuse_puts_with = GONE
    report = check(check_context(two.context))
    assert report.exit_code == GONE.exit_code
    assert [each.subject for each in report.findings if each.problem] == ["repository offsite"]


class SlowRepository(MemoryRepository):
    """Takes the next chunk only when `is_far_ahead`."""

    def __init__(self, is_far_ahead: Callable[[], bool]) -> None:
        super().__init__()
        self.taken = 0
        self._is_far_ahead = is_far_ahead

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        return super().put(key, self._slowly(chunks))

    def _slowly(self, chunks: Iterable[Buffer]) -> Iterator[Buffer]:
        for chunk in chunks:
            self.taken += 1
            until(self._is_far_ahead)
            yield chunk


def test_the_fast_one_is_never_far_ahead_of_the_slow_one() -> None:
    """Otherwise the whole database would be in memory before a slow store got its first byte."""
    given, ahead = 0, 0
    slow = SlowRepository(lambda: given - slow.taken >= CHUNKS_BEHIND or given == MANY)
    members = [
        Member(name="main", repository=MemoryRepository()),
        Member(name="slow", repository=slow),
    ]

    def chunks() -> Iterator[bytes]:
        nonlocal given, ahead
        for _ in range(MANY):
            given += 1
            ahead = max(ahead, given - slow.taken)
            yield b"x"

    assert Mirrored(members).put("shop/x", chunks()).size_bytes == MANY
    # The sender holds one more, and the receiver may hold another.
    assert CHUNKS_BEHIND <= ahead <= CHUNKS_BEHIND + 2
    assert slow.objects["shop/x"] == b"x" * MANY


def test_a_store_that_dies_in_the_middle_does_not_hold_up_the_other() -> None:
    class Dying(MemoryRepository):
        def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
            next(iter(chunks))
            raise GONE

    main = MemoryRepository()
    members = [Member(name="main", repository=main), Member(name="dying", repository=Dying())]
    both = Mirrored(members)
    both.put("shop/x", (b"x" for _ in range(100)))
    assert main.objects["shop/x"] == b"x" * 100
    assert [(each.name, each.error) for each in both.failures] == [("dying", GONE)]


def test_a_put_that_gets_no_thread_leaves_none_of_the_others_waiting(
    two: TwoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_threads(monkeypatch, "put-offsite")
    together = Mirrored(
        [Member(name="main", repository=two.main), Member(name="offsite", repository=two.offsite)]
    )
    with pytest.raises(TasksRefused, match="cannot start thread 'put-offsite'"):
        together.put("shop/key", [b"x"] * MANY)
    assert threads_named("put-") == []
    assert "shop/key" not in {*two.main.objects, *two.offsite.objects}
    assert together.failures == ()


class Ordered(MemoryGuard):
    """Tells in which order the repositories were locked."""

    def __init__(self, name: str, told: list[str]) -> None:
        super().__init__()
        self._name = name
        self._told = told

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        self._told.append(self._name)
        with super().hold(job, deadline=deadline) as hold:
            yield hold


@pytest.mark.parametrize("names", [("berlin", "paris"), ("paris", "berlin")])
def test_hosts_that_mirror_crosswise_lock_the_repositories_in_the_same_order(
    names: tuple[str, str],
) -> None:
    """Each held the only slot of one repository, and waited for that of the other."""
    told: list[str] = []
    stores = {each: MemoryRepository() for each in names}
    mirrors = [
        Mirror(name=each, repository=store, guard=Ordered(each, told))
        for each, store in stores.items()
    ]
    assert backup(mirrored(MemoryJob().context, *mirrors)).failures == ()
    assert told == ["berlin", "paris"]
    assert all(Catalog(each).survey("shop").manifests for each in stores.values())
