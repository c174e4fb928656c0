"""A foreign or damaged lease is reported by name and blocks no job for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest

from holdfast.locking.lease import Terms
from holdfast.locking.slots import Writers
from holdfast.model.backup import Buffer
from holdfast.model.errors import AlreadyStored, RepositoryRefused
from holdfast.ports.repository import Stored
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository
from tests.support.memory_hosts import FOLDER, LEASE, MemoryHosts, on_host


@pytest.fixture
def hosts() -> MemoryHosts:
    return MemoryHosts()


def _with(**changes: object) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(json.loads(content) | changes).encode()


def _owner(**changes: object) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        found = json.loads(content)
        return json.dumps(found | {"owner": found["owner"] | changes}).encode()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _with(lease_seconds=1e300),
        _with(lease_seconds=-1),
        _with(lease_seconds="nan"),
        _with(held=1),
        _with(started_at="yesterday"),
        _with(started_at="0001-01-01T00:00:00+14:00"),
        _with(deadline="2026-11-20T02:00:00"),
        _with(token=["x"]),
        _with(because="x" * 100_000),
        _owner(pid=1 << 70),
        _owner(pid=0),
        _owner(pid=-1),
        _owner(host=None),
        lambda _: b"[" * 50_000,
        lambda content: content.replace(b'"because": "', b'"because": "\\ud800'),
        lambda content: content.replace(b": 60.0", b": NaN"),
        lambda content: content.replace(b": 60.0", b": " + b"9" * 6000),
        lambda content: content + b" " * (1 << 20),
    ],
)
def test_a_lease_that_says_what_no_owner_says_holds_nobody_up_for_longer_than_ours(
    hosts: MemoryHosts, damage: Callable[[bytes], bytes]
) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    (key,) = hosts.repository.objects
    hosts.repository.objects[key] = damage(hosts.repository.objects[key])
    assert there.holder() is None
    assert not there.attempt(deadline=None)
    hosts.seconds.now += LEASE
    assert there.attempt(deadline=None)


@pytest.mark.parametrize(
    "number", ["9" * 16, f"{10**15}", "9" * 17, "\u0661" * 16, "-000000000000001"]
)
@pytest.mark.parametrize("taken", [False, True])
def test_a_number_that_nobody_comes_to_is_none_of_a_lease(
    hosts: MemoryHosts, number: str, taken: bool
) -> None:
    """The next number had 17 digits: it was written again and again, and never listed."""
    here, there = hosts.lease("here"), hosts.lease("there")
    if taken:
        assert here.attempt(deadline=None)
    hosts.repository.objects[f"{FOLDER}/{number}"] = b"{}"
    assert there.attempt(deadline=None) is not taken
    owner = here if taken else there
    owner.renew()
    owner.release()
    assert f"{FOLDER}/{number}" in hosts.repository.objects


def test_the_last_number_that_can_be_is_told_by_name(hosts: MemoryHosts) -> None:
    last = f"{FOLDER}/{10**15 - 1:016}"
    hosts.repository.objects[last] = b"{}"
    there = hosts.lease("there")
    assert not there.attempt(deadline=None)
    hosts.seconds.now += LEASE
    with pytest.raises(RepositoryRefused, match=f"'{last}' has the last number"):
        there.attempt(deadline=None)


class Obstructed(MemoryRepository):
    """Has names that are taken by what no list shows, such as folders."""

    taken: frozenset[str] = frozenset()

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        if key in self.taken:
            raise AlreadyStored(f"cannot store '{key}' in memory: File exists")
        return super().put(key, chunks)


def test_what_has_the_name_of_a_lease_and_is_none_is_stepped_over() -> None:
    """Its number was retried for ever."""
    store = Obstructed()
    store.taken = frozenset(f"{FOLDER}/{number:016}" for number in (1, 2, 4, 5))
    hosts = MemoryHosts(repository=store)
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    here.renew()
    assert not there.attempt(deadline=None)
    here.release()
    assert hosts.lease("there").attempt(deadline=None)


def test_where_all_names_are_taken_by_what_is_no_lease_that_is_told() -> None:
    store = Obstructed()
    store.taken = frozenset(f"{FOLDER}/{number:016}" for number in range(1, 1000))
    with pytest.raises(RepositoryRefused, match="and the objects before it are not leases"):
        MemoryHosts(repository=store).lease("here").attempt(deadline=None)


@pytest.mark.parametrize("spoilt", [1, 2])
def test_a_slot_that_is_spoilt_for_good_leaves_the_others(spoilt: int) -> None:
    store = Obstructed()
    store.taken = frozenset(
        f"_slots/{slot}/{number:016}" for slot in range(1, spoilt + 1) for number in range(1, 200)
    )
    hosts = MemoryHosts(repository=store)
    terms = Terms(
        me=on_host("here"),
        run_id="r",
        lease_seconds=LEASE,
        clock=FakeClock(),
        seconds=hosts.seconds,
    )
    writers = Writers(
        store,
        2,
        terms,
        at_most=timedelta(0),
        sleep=lambda _: None,
        jitter=lambda: 0.0,
    )
    if spoilt == 1:
        with writers.slot("shop", deadline=None):
            assert any(key.startswith("_slots/2/") for key in store.objects)
        return
    with pytest.raises(RepositoryRefused, match="are not leases"):
        writers.slot("shop", deadline=None).__enter__()
