"""A status is left in every repository of its job, and nothing that fails there costs a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.host_statuses import HostStatuses
from holdfast.host_state.runs import FileLastStatus
from holdfast.model.backup import Buffer
from holdfast.model.errors import RepositoryFull, RepositoryReadOnly, RepositoryUnreachable
from holdfast.model.host_status import Due, Happened, HostStatus
from holdfast.operations.fleet import LeavingContext, fleet
from holdfast.ports.repository import ForwardingRepository, Repository, Stored
from tests.fakes.repository import MemoryRepository
from tests.support.events import capture_logs
from tests.support.fleets import NIGHT, NOW, act, due, good_backup, status_of

ALL = Happened(act=act(at=NOW), backups=[good_backup(at=NOW)])


def context(
    folder: Path, stores: Mapping[str, Callable[[], Repository]], *, now: datetime = NOW
) -> LeavingContext:
    def dues(_before: HostStatus, began: object) -> tuple[Due, ...]:
        return (due(),)

    begun = status_of(number=0, acts=(), dues=(), newest=None, days=())
    return LeavingContext(
        begun=begun,
        dues=dues,
        last=FileLastStatus(folder / "status"),
        repositories=stores,
        clock=lambda: now,
    )


def left_in(store: Repository) -> list[HostStatus]:
    return [each.status for each in HostStatuses(store).all() if each.status is not None]


def test_each_repository_gets_the_status_with_its_own_room(tmp_path: Path) -> None:
    main, offsite = MemoryRepository(free_bytes=5), MemoryRepository(free_bytes=7)
    stores = {"main": lambda: main, "offsite": lambda: offsite}
    assert context(tmp_path, stores).leave(ALL, seconds=60)
    (one,), (other,) = left_in(main), left_in(offsite)
    assert (one.free_bytes, other.free_bytes) == (5, 7)
    assert one.newest == good_backup(at=NOW)
    assert one.dues == (due(),)


def test_one_status_follows_the_other(tmp_path: Path) -> None:
    store = MemoryRepository()
    for hour in range(3):
        at = NIGHT + timedelta(hours=hour)
        happened = Happened(act=act("verify" if hour else "backup", at=at))
        context(tmp_path, {"main": lambda: store}, now=at).leave(happened, seconds=60)
    (found,) = left_in(store)
    assert (found.number, [each.command for each in found.acts]) == (3, ["backup", "verify"])


def test_a_host_that_lost_its_memory_reads_what_it_told(tmp_path: Path) -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(status_of())
    context(tmp_path, {"main": lambda: store}).leave(Happened(act=act("verify")), seconds=60)
    (found,) = left_in(store)
    assert found.newest == status_of().newest
    assert {each.command for each in found.acts} == {"backup", "verify"}


@pytest.mark.parametrize(
    "error",
    [
        RepositoryReadOnly("cannot store"),
        RepositoryUnreachable("cannot store"),
        RepositoryFull("cannot store"),
        ValueError("a bug"),
    ],
)
def test_a_store_that_refuses_is_told_in_the_log_and_spares_the_others(
    tmp_path: Path, error: Exception
) -> None:
    bad, good = MemoryRepository(), MemoryRepository()
    bad.refuse_puts_with = error  # type: ignore[assignment]  # a bug is no error of ours
    with capture_logs() as events:
        stores = {"bad": lambda: bad, "good": lambda: good}
        assert context(tmp_path, stores).leave(ALL, seconds=60)
    assert [each["repository"] for each in named(events)] == ["bad"]
    assert len(left_in(good)) == 1


def test_a_store_that_cannot_be_opened_spares_the_others(tmp_path: Path) -> None:
    def refused() -> Repository:
        raise RepositoryUnreachable("cannot log in")

    good = MemoryRepository()
    with capture_logs() as events:
        context(tmp_path, {"bad": refused, "good": lambda: good}).leave(ALL, seconds=60)
    assert [each["error"] for each in named(events)] == ["cannot log in"]
    assert len(left_in(good)) == 1


class Hanging(ForwardingRepository):
    """Never answers a put until `go` is set."""

    def __init__(self, go: threading.Event) -> None:
        super().__init__(MemoryRepository())
        self.go = go

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        self.go.wait()
        return super().put(key, chunks)


def test_a_store_that_hangs_delays_nobody_for_longer_than_allowed(tmp_path: Path) -> None:
    go, good = threading.Event(), MemoryRepository()
    stores: dict[str, Callable[[], Repository]] = {
        "bad": lambda: Hanging(go),
        "good": lambda: good,
    }
    with capture_logs() as events:
        assert not context(tmp_path, stores).leave(ALL, seconds=0.5)
    go.set()
    (told,) = named(events)
    assert told["error"] == "no answer within 0.5 seconds"
    assert len(left_in(good)) == 1


def test_a_full_disk_of_the_host_does_not_keep_its_status_from_leaving(tmp_path: Path) -> None:
    store = MemoryRepository()
    # A file in the place of the folder, as root may write into any folder.
    (tmp_path / "status").write_text("")
    with capture_logs() as events:
        context(tmp_path, {"main": lambda: store}).leave(ALL, seconds=60)
    assert [each["event"] for each in events if "kept" in str(each["event"])] == [
        "host_status_not_kept"
    ]
    assert len(left_in(store)) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"job": "crm"}\n', b"x" * (1 << 20)])
def test_a_damaged_memory_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "shop.json").write_bytes(content)
    store = MemoryRepository()
    context(tmp_path, {"main": lambda: store}).leave(ALL, seconds=60)
    assert [each.number for each in left_in(store)] == [1]


def test_a_repository_that_cannot_be_read_hides_no_other_and_makes_nobody_missing() -> None:
    store = MemoryRepository()
    HostStatuses(store).commit(status_of())

    def refused() -> Repository:
        raise RepositoryUnreachable("cannot log in")

    found = fleet({"main": lambda: store, "bad": refused}, [("db9", "")], now=NOW)
    assert [row.host for row in found.rows] == ["db1"]
    assert [*found.unseen] == ["bad"]
    assert not found.needs_attention


def named(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in events if each["event"] == "host_status_not_left"]
