"""A lease has one owner at a time, in whatever order hosts reach the store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from holdfast.locking.host_lock import Process, this_process
from holdfast.locking.lease import Lease, Terms, is_told_free
from holdfast.model.backup import Buffer
from holdfast.model.errors import LeaseLost, RepositoryReadOnly, RepositoryUnreachable
from holdfast.ports.repository import Stored
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository
from tests.support.memory_hosts import FOLDER, LEASE, MemoryHosts, Seconds, lease_of, on_host


@pytest.fixture
def hosts() -> MemoryHosts:
    return MemoryHosts()


def test_the_second_run_waits_until_the_first_releases_the_lease(hosts: MemoryHosts) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    assert not there.attempt(deadline=None)
    here.release()
    later = hosts.lease("there")
    assert later.attempt(deadline=None)


def test_a_heartbeat_keeps_it_for_ever_and_shows_that_its_owner_lives(hosts: MemoryHosts) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    for _ in range(20):
        assert not there.attempt(deadline=None)
        hosts.seconds.now += LEASE * 0.9
        here.renew()
    assert there.is_proven_alive
    assert not here.is_expired


def test_without_a_heartbeat_it_is_taken_over_after_the_lease_time_and_not_before(
    hosts: MemoryHosts,
) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    assert not there.attempt(deadline=None)
    hosts.seconds.now += LEASE - 0.1
    assert not there.attempt(deadline=None)
    assert not here.is_expired
    hosts.seconds.now += 0.1
    assert here.is_expired
    assert there.attempt(deadline=None)
    claim = there.holder()
    assert claim is not None
    assert claim.because == "no heartbeat arrived for 60 s"


def test_the_longer_lease_of_the_two_counts(hosts: MemoryHosts) -> None:
    assert hosts.lease("here").attempt(deadline=None)
    hasty = Lease(
        hosts.repository,
        FOLDER,
        Terms(
            me=on_host("there"),
            run_id="r",
            lease_seconds=1,
            clock=FakeClock(),
            seconds=hosts.seconds,
        ),
    )
    assert not hasty.attempt(deadline=None)
    hosts.seconds.now += LEASE - 1
    assert not hasty.attempt(deadline=None)


def test_an_owner_that_slept_through_it_finds_out_at_its_next_heartbeat(hosts: MemoryHosts) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    assert not there.attempt(deadline=None)
    hosts.seconds.now += LEASE
    assert there.attempt(deadline=None)
    for _ in range(3):
        there.renew()
    with pytest.raises(LeaseLost, match="another host has taken it over") as lost:
        here.renew()
    assert "lease_time" in lost.value.hint
    here.release()
    there.renew()
    with pytest.raises(LeaseLost):
        here.renew()


def test_a_process_that_is_gone_from_this_kernel_is_followed_at_once(hosts: MemoryHosts) -> None:
    dead = replace(this_process(), started="1")
    assert hosts.lease("here", process=dead).attempt(deadline=None)
    next_one = hosts.lease("here", process=this_process())
    assert next_one.attempt(deadline=None)
    claim = next_one.holder()
    assert claim is not None
    assert claim.because == f"process {dead.pid} on this host has ended"


DEAD = replace(this_process(), started="1")
ELSEWHERE = [replace(DEAD, boot_id="other"), replace(DEAD, pid_space="pid:[1]")]


@pytest.mark.parametrize("dead", ELSEWHERE, ids=["reboot", "container"])
def test_a_pid_says_nothing_after_a_reboot_or_in_another_container(
    hosts: MemoryHosts, dead: Process
) -> None:
    assert hosts.lease("here", process=dead).attempt(deadline=None)
    assert not hosts.lease("here", process=this_process()).attempt(deadline=None)


def _flip(content: bytes) -> bytes:
    return content.replace(b'"held"', b'"helf"')


@pytest.mark.parametrize("damage", [_flip, lambda _: b"", lambda _: b"[]", lambda _: b"\xff"])
def test_a_damaged_generation_is_nobody_s_death(
    hosts: MemoryHosts, damage: Callable[[bytes], bytes]
) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    assert here.attempt(deadline=None)
    (key,) = hosts.repository.objects
    hosts.repository.objects[key] = damage(hosts.repository.objects[key])
    assert not there.attempt(deadline=None)
    here.renew()
    assert not there.attempt(deadline=None)
    hosts.seconds.now += LEASE
    assert there.attempt(deadline=None)


def test_one_object_stays_whatever_the_number_of_heartbeats(hosts: MemoryHosts) -> None:
    here = hosts.lease("here")
    assert here.attempt(deadline=None)
    for _ in range(30):
        here.renew()
    here.release()
    ((key, content),) = hosts.repository.objects.items()
    assert key == f"{FOLDER}/{32:016}"
    assert json.loads(content)["held"] is False


def test_a_lease_can_tell_in_a_list_whether_it_is_free(hosts: MemoryHosts) -> None:
    def told() -> bool:
        (key,) = hosts.repository.objects
        return is_told_free(int(key.rpartition("/")[2]))

    for host in ("here", "there"):
        lease = lease_of(hosts.repository, hosts.seconds, on_host(host), tells_when_free=True)
        assert lease.attempt(deadline=None)
        assert not told()
        lease.renew()
        assert not told()
        lease.release()
        assert told()


def test_a_lease_of_an_older_version_is_read_whatever_its_number_tells(hosts: MemoryHosts) -> None:
    older = hosts.lease("here")
    later = lease_of(hosts.repository, hosts.seconds, on_host("there"), tells_when_free=True)
    assert older.attempt(deadline=None)
    older.renew()
    assert not later.attempt(deadline=None)
    older.release()
    assert not later.attempt(deadline=None)  # it has just seen the number change
    assert later.attempt(deadline=None)
    assert not hosts.lease("here").attempt(deadline=None)


def test_an_attempt_makes_one_list_and_one_read_before_it_puts(hosts: MemoryHosts) -> None:
    """It asked for the size of each object that the list had told already."""

    class Counting(MemoryRepository):
        asked: tuple[str, ...] = ()

        def stat(self, key: str) -> Stored:
            self.asked += (key,)
            return super().stat(key)

    store = Counting()
    store.objects = hosts.repository.objects
    assert hosts.lease("here").attempt(deadline=None)
    assert not lease_of(store, hosts.seconds, on_host("there")).attempt(deadline=None)
    assert store.asked == ()


def test_a_store_that_keeps_what_is_locked_does_not_stop_the_heartbeat(hosts: MemoryHosts) -> None:
    here, there = hosts.lease("here"), hosts.lease("there")
    hosts.repository.refuse_deletes_with = RepositoryReadOnly("cannot delete: locked")
    assert here.attempt(deadline=None)
    for _ in range(3):
        here.renew()
    here.release()
    assert there.attempt(deadline=None)
    with pytest.raises(LeaseLost):
        here.renew()


class OneAtATime:
    """Threads that each stop before every call of the store until it is their turn."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turn: int | None = None
        self._stopped: set[int] = set()
        self._ended: set[int] = set()

    def stop(self, actor: int) -> None:
        with self._changed:
            self._stopped.add(actor)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == actor)
            self._turn = None
            self._stopped.discard(actor)
            self._changed.notify_all()

    def end(self, actor: int) -> None:
        with self._changed:
            self._ended.add(actor)
            self._changed.notify_all()

    def go(self, actor: int) -> bool:
        """One call of `actor`; whether it is still there to make another."""
        with self._changed:
            self._settle(actor)
            if actor in self._ended:
                return False
            self._turn = actor
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn is None)
            self._settle(actor)
            return actor not in self._ended

    def _settle(self, actor: int) -> None:
        self._changed.wait_for(lambda: actor in self._stopped or actor in self._ended)


class TurnRepository(MemoryRepository):
    """What one actor sees of the shared store; some answers to its puts get lost."""

    def __init__(
        self, shared: MemoryRepository, turns: OneAtATime, actor: int, losing: set[int]
    ) -> None:
        super().__init__()
        self.objects = shared.objects
        self._turns = turns
        self._actor = actor
        self._losing = losing
        self._puts = 0

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        self._turns.stop(self._actor)
        stored = super().put(key, chunks)
        self._puts += 1
        if self._puts in self._losing:
            raise RepositoryUnreachable("cannot store: the answer was lost")
        return stored

    def list(self, prefix: str) -> Iterator[Stored]:
        self._turns.stop(self._actor)
        return iter(sorted(super().list(prefix), key=lambda stored: stored.key))

    def delete(self, key: str) -> None:
        self._turns.stop(self._actor)
        super().delete(key)


class Actor(threading.Thread):
    """A host that takes the lease, keeps it for some heartbeats, releases it and tries again."""

    def __init__(self, number: int, lease: Lease, turns: OneAtATime) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._lease = lease
        self._turns = turns
        self._holds = False

    @property
    def believes(self) -> bool:
        return self._holds and not self._lease.is_expired

    def run(self) -> None:
        try:
            self._live()
        finally:
            self._turns.end(self._number)

    def _live(self) -> None:
        for _ in range(8):
            try:
                self._holds = self._lease.attempt(deadline=None)
                for _ in range(3 if self._holds else 0):
                    self._beat()
                self._holds = False
                self._lease.release()
            except (LeaseLost, RepositoryUnreachable):
                self._holds = False

    def _beat(self) -> None:
        with suppress(RepositoryUnreachable):
            self._lease.renew()


ACTORS = 2
steps = st.lists(st.integers(0, ACTORS), min_size=40, max_size=80)
lost_answers = st.lists(st.sets(st.integers(1, 8), max_size=3), min_size=ACTORS, max_size=ACTORS)


@settings(max_examples=150, deadline=None)
@given(steps, lost_answers, st.booleans())
def test_no_order_of_calls_gives_it_to_two_at_once(
    order: list[int], losing: list[set[int]], tells_when_free: bool
) -> None:
    shared, seconds, turns = MemoryRepository(), Seconds(), OneAtATime()
    actors = [
        Actor(
            number,
            lease_of(
                TurnRepository(shared, turns, number, losing[number]),
                seconds,
                on_host(str(number)),
                tells_when_free=tells_when_free,
            ),
            turns,
        )
        for number in range(ACTORS)
    ]
    for actor in actors:
        actor.start()
    for step in order:
        if step == ACTORS:
            seconds.now += LEASE / 4
        else:
            turns.go(step)
        assert sum(actor.believes for actor in actors) <= 1
    for number, actor in enumerate(actors):
        while turns.go(number):
            assert sum(each.believes for each in actors) <= 1
        actor.join()
