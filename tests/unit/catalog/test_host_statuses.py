"""Statuses of hosts in a repository: the newest trusted one counts, and no other command minds."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.catalog.documents import wrapped
from holdfast.catalog.host_statuses import AT_ONCE, HostStatuses
from holdfast.catalog.places import HOST_STATUS, place_of, record_at
from holdfast.catalog.signed_manifests import SignedManifests, Signer
from holdfast.model.errors import RepositoryReadOnly
from holdfast.model.host_status import SCHEMA, STATUS, Day, Happened, HostStatus, after
from holdfast.model.values import MOST
from holdfast.operations.backup.job import backup
from holdfast.operations.prune import prune
from holdfast.operations.repair import repair
from holdfast.operations.usage import usage
from tests.fakes.repository import MemoryRepository
from tests.support.fleets import (
    NIGHT,
    Counted,
    act,
    due,
    good_backup,
    good_drill,
    status_of,
)
from tests.support.memory_job import MemoryJob


def later(status: HostStatus, number: int) -> HostStatus:
    return replace(status, number=number, at=NIGHT + timedelta(hours=number))


def changed(content: bytes, **changes: object) -> bytes:
    body = json.loads(content)["status"] | changes
    return wrapped(body, schema=SCHEMA, name="status")


def test_a_status_comes_back_as_it_was_left() -> None:
    whole = status_of(
        acts=(act(), act("verify", "failed", exit_code=31, error="2 parts bad", hint="look")),
        dues=(due(), due("drill", next_at=None, timer=None)),
        drilled=good_drill(),
        overdue_seconds=93600,
    )
    statuses = HostStatuses(MemoryRepository())
    statuses.commit(whole)
    assert [each.status for each in statuses.all()] == [whole]
    assert statuses.of("shop", "db1") == whole
    assert statuses.of("shop", "db") is None


def test_its_key_is_a_record_and_part_of_no_backup() -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(status_of("db1.example.org"))
    (key,) = store.objects
    assert key == "_status/shop/db1.example.org.20261130T020500Z-00000001.status.json"
    assert record_at(key) == HOST_STATUS
    assert place_of(key) is None


def test_a_host_leaves_one_object_however_often_it_tells() -> None:
    store = MemoryRepository()
    for number in range(5):
        HostStatuses(store).commit(later(status_of(), number))
        HostStatuses(store).commit(later(status_of("db2"), number))
    assert len(store.objects) == 2
    assert {each.status.number for each in HostStatuses(store).all() if each.status} == {4}


def test_where_deletes_are_refused_the_newest_counts_and_prune_removes_the_others() -> None:
    store = MemoryRepository()
    store.refuse_deletes_with = RepositoryReadOnly("cannot delete")
    for number in range(9):
        HostStatuses(store).commit(later(status_of(), number))
    assert len(store.objects) == 9
    (found,) = HostStatuses(store).all()
    assert found.status is not None
    assert found.status.number == 8
    store.refuse_deletes_with = None
    assert HostStatuses(store).drop_superseded("shop") == 8
    assert HostStatuses(store).drop_superseded("shop") == 0
    assert [each.status for each in HostStatuses(store).all()] == [found.status]


def test_a_status_of_a_wrong_clock_is_replaced_once_the_clock_is_right() -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(replace(status_of(), at=NIGHT + timedelta(days=365)))
    HostStatuses(store).commit(later(status_of(), 2))
    assert [each.status.number for each in HostStatuses(store).all() if each.status] == [2]


# Each text would be a line of its own in a table of all hosts.
FORGED = {
    "command": "backup",
    "outcome": "failed",
    "began": "2026-11-30T02:00:00+00:00",
    "ended": "2026-11-30T02:05:00+00:00",
    "error": "no server\ndb2/shop: all good",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "other"},
        {"job": "other"},
        {"number": 77},
        {"host": "../../shop"},
        {"at": "2026-11-30T02:05:00"},
        {"free_bytes": -1},
        {"days": [{"day": "yesterday", "outcome": "ok"}]},
        {"days": [{"day": "2026-11-30", "outcome": "ok"}] * 99},
        {"acts": "none"},
        {"version": "9" * 65},
        {"overdue_seconds": 1 << 62},
        {"databases": 1 << 62},
        {"job": "shop\ndb2/shop: all good"},
        {"acts": [FORGED]},
    ],
)
def test_a_damaged_status_is_told_and_hides_no_other(changes: dict[str, object]) -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(status_of())
    (key,) = store.objects
    store.objects[key] = changed(store.objects[key], **changes)
    HostStatuses(store).commit(status_of("db2"))
    bad, good = HostStatuses(store).all()
    assert bad.status is None
    assert key in bad.problem
    assert bad.problem.isprintable()
    assert good.status == status_of("db2")


def test_one_that_is_too_large_is_never_read() -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(status_of())
    (key,) = store.objects
    store.objects[key] += b" " * STATUS.most_bytes
    counted = Counted(store)
    (found,) = HostStatuses(counted).all()
    assert "is larger than" in found.problem
    assert counted.opened == 0


def test_in_a_signed_repository_only_a_trusted_status_counts() -> None:
    store, signer, intruder = MemoryRepository(), Signer.generate(), Signer.generate()
    signed = SignedManifests(store, signer=lambda: signer, trusted=[])
    HostStatuses(signed).commit(status_of())
    assert [each.status for each in HostStatuses(signed).all()] == [status_of()]
    assert b'"signature"' in next(iter(store.objects.values()))
    store.refuse_deletes_with = RepositoryReadOnly("cannot delete")
    for by in (store, SignedManifests(store, signer=lambda: intruder, trusted=[])):
        HostStatuses(by).commit(later(status_of(), 3 if by is store else 4))
    (found,) = HostStatuses(signed).all()
    assert found.status == status_of()
    assert "not a trusted key" in found.problem
    # A prune must not take the forged one for the last word of the host.
    store.refuse_deletes_with = None
    assert HostStatuses(signed).drop_superseded("shop") == 0


def test_a_signed_status_that_was_copied_to_another_host_is_not_believed() -> None:
    store, signer = MemoryRepository(), Signer.generate()
    signed = SignedManifests(store, signer=lambda: signer, trusted=[])
    HostStatuses(signed).commit(status_of())
    (key,) = store.objects
    store.objects[key.replace("db1", "db2")] = store.objects[key]
    _, moved = HostStatuses(signed).all()
    assert (moved.host, moved.status) == ("db2", None)
    assert "moved after it was signed" in moved.problem


def test_backups_prunes_repairs_and_usage_neither_touch_nor_count_statuses() -> None:
    job = MemoryJob()
    HostStatuses(job.repository).commit(status_of())
    left = {key for key in job.repository.objects if key.startswith("_status/")}
    for _ in range(3):
        backup(job.context)
    prune(job.prune_context, dry_run=False)
    repair(job.repair_context, dry_run=False)
    assert left <= job.repository.objects.keys()
    assert [each.job for each in usage(job.repository)] == ["shop"]
    (found,) = usage(job.repository)
    assert found.objects == len(job.repository.objects) - len(left)


def test_prune_and_repair_tidy_what_hosts_left() -> None:
    job = MemoryJob()
    backup(job.context)
    job.repository.refuse_deletes_with = RepositoryReadOnly("cannot delete")
    for number in range(3):
        HostStatuses(job.repository).commit(later(status_of(), number))
    job.repository.refuse_deletes_with = None
    job.repository.unfinished = {"_status/shop/.unfinished"}
    prune(job.prune_context, dry_run=False)
    assert len([key for key in job.repository.objects if key.startswith("_status/")]) == 1
    assert repair(job.repair_context, dry_run=False).unfinished_puts == 1


def test_a_host_is_forgotten_only_by_its_name() -> None:
    store = MemoryRepository()
    for host in ("db1", "db1.example.org", "db11"):
        HostStatuses(store).commit(status_of(host))
        HostStatuses(store).commit(status_of(host, "crm"))
    assert HostStatuses(store).forget("db1") == 2
    assert {each.host for each in HostStatuses(store).all()} == {"db1.example.org", "db11"}


def test_a_thousand_hosts_cost_one_list_and_one_read_for_each_job() -> None:
    store = MemoryRepository()
    days = tuple(
        Day(day=f"2026-11-{number:02}", outcome="ok", runs=1, stored_bytes=1 << 30, seconds=60.5)
        for number in range(1, 31)
    )
    for host in range(1000):
        for job in ("shop", "crm", "files"):
            status = status_of(f"db{host}.example.org", job, days=days, newest=good_backup())
            HostStatuses(CommitOnly(store)).commit(status)
    counted = Counted(store)
    tracemalloc.start()
    found = HostStatuses(counted).all()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 3000
    assert {each.problem for each in found} == {""}
    assert (counted.lists, counted.opened, counted.stats) == (1, 3000, 0)
    assert counted.most_at_once <= AT_ONCE
    assert peak_bytes < 100 << 20


class CommitOnly(MemoryRepository):
    """Shares the objects of another one, and lists none: quick to fill."""

    def __init__(self, store: MemoryRepository) -> None:
        super().__init__()
        self.objects = store.objects

    def list(self, prefix: str):  # type: ignore[no-untyped-def]  # an empty iterator
        return iter(())


def test_hosts_beyond_the_most_that_are_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{HostStatuses.__module__}.MOST", 2)
    store = MemoryRepository()
    for number in range(4):
        HostStatuses(store).commit(status_of(f"db{number}"))
    *read, left = HostStatuses(store).all()
    assert [(each.host, each.problem) for each in read] == [("db0", ""), ("db1", "")]
    assert (left.host, left.status) == ("db2", None)
    assert "like all after it" in left.problem


def test_a_status_that_is_replaced_while_it_is_read_is_read_again() -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(later(status_of(), 1))

    class Racing(Counted):
        def open(self, key: str):  # type: ignore[no-untyped-def]  # as the port has it
            if not self.opened:
                HostStatuses(store).commit(later(status_of(), 2))
            return super().open(key)

    (found,) = HostStatuses(Racing(store)).all()
    assert found.status == later(status_of(), 2)


def test_a_newer_schema_says_so() -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(status_of())
    (key,) = store.objects
    store.objects[key] = store.objects[key].replace(b"host-status/1", b"host-status/9")
    (found,) = HostStatuses(store).all()
    assert "its schema is 'holdfast.host-status/9'" in found.problem


def test_the_largest_numbers_of_an_earlier_status_do_not_make_the_next_one_unreadable() -> None:
    largest = Day(day="2026-11-30", outcome="ok", plain_bytes=MOST, stored_bytes=MOST)
    before = status_of(number=MOST, days=(largest,))
    store = MemoryRepository()
    ended = Happened(act=act(), backups=[good_backup()])
    HostStatuses(store).commit(after(before, ended, now=NIGHT + timedelta(hours=1)))
    (found,) = HostStatuses(store).all()
    assert (found.problem, found.status is not None) == ("", True)
