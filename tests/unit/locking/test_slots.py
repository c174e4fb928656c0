"""Slots of a repository: never too many hosts at once, in the order in which they came, with few
requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from benchmarks.simulated_hosts import Log, Night, SimulatedHost, simulated
from benchmarks.virtual_time import VirtualTime
from holdfast.locking.lease import Lease, Terms
from holdfast.locking.slots import MOST_TICKETS, Writers
from holdfast.model.backup import Buffer
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    RepositoryReadOnly,
    RepositoryUnreachable,
    RunInFlight,
)
from holdfast.ports.repository import Stored
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository
from tests.support.memory_hosts import Seconds, on_host

DEAD_TICKET = "_slots/line/20261130T000000{:06}Z-20261202T000000Z-0123456789abcdef"
# Of one backup: its data and manifest, lease and slot from claim to release, and its statuses.
FIXED_REQUESTS = 40


def night(hosts: int, slots: int, **changes: object) -> Night:
    settings: dict[str, object] = {"backup_seconds": 60.0, "delay_seconds": 60.0, **changes}
    return Night(hosts=hosts, slots=slots, **settings)  # type: ignore[arg-type]


def outcomes(log: Log) -> set[str]:
    return {each.outcome for each in log.runs}


def test_hosts_that_come_together_write_in_the_order_in_which_they_came() -> None:
    log = simulated(night(40, 3), MemoryRepository())
    assert outcomes(log) == {"ok"}
    assert log.most_at_once == 3
    # Less than the time between two looks of a host in front.
    assert log.overtaken_seconds < 10


def test_a_host_that_waits_makes_few_requests_however_many_slots_there_are() -> None:
    """It asked for each slot at each look, and sent heartbeats of its job."""
    alone = simulated(night(1, 8), MemoryRepository())
    log = simulated(night(64, 8), MemoryRepository())
    minutes = sum(log.waits) / 60
    assert minutes > 64
    extra = len(log.requests) - 64 * len(alone.requests)
    assert len(alone.requests) < FIXED_REQUESTS
    assert extra < 64 * 10 + 6 * minutes


def test_the_further_back_a_host_stands_the_more_seldom_it_looks() -> None:
    log = simulated(night(150, 3), MemoryRepository())
    last = max(log.runs, key=lambda each: each.began or 0)
    assert last.began is not None
    first_half = last.came + (last.began - last.came) / 2
    lists = [at for at, kind, host in log.requests if kind == "list" and host == last.host]
    waiting = [at for at in lists if last.came < at < first_half]
    assert len(waiting) <= 2 + (first_half - last.came) / 45


def test_slots_of_hosts_that_died_are_used_again_after_the_lease_time() -> None:
    dying = frozenset({1, 2, 3})
    log = simulated(night(12, 3, dying=dying), MemoryRepository())
    assert sum(each.outcome == "ok" for each in log.runs) == 9
    assert log.most_at_once <= 3


def test_all_slots_of_dead_hosts_cost_one_lease_time() -> None:
    store = MemoryRepository()
    simulated(night(2, 2, dying=frozenset({0, 1})), store)
    (late,) = simulated(night(1, 2, seed=2), store).runs
    assert late.outcome == "ok"
    assert late.began is not None
    assert 90 <= late.began - late.came < 90 + 30


class Refusing(MemoryRepository):
    """Counts the puts of two hosts that wanted the same slot."""

    refused = 0

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        try:
            return super().put(key, chunks)
        except AlreadyStored:
            self.refused += 1
            raise


def test_hosts_that_see_the_same_free_slots_rarely_want_the_same_one() -> None:
    """A slow store: many have looked before the first has taken a slot."""
    store = Refusing()
    log = simulated(night(20, 10, answer_seconds=3.0, delay_seconds=10.0), store)
    assert outcomes(log) == {"ok"}
    assert store.refused <= 20


@pytest.mark.parametrize("dead", [1, 30, 500])
def test_tickets_of_dead_hosts_are_passed_and_removed(dead: int) -> None:
    store = MemoryRepository()
    for number in range(dead):
        store.objects[DEAD_TICKET.format(number)] = b"dead 0\n"
    log = simulated(night(8, 2), store)
    assert outcomes(log) == {"ok"}
    # Twice as many hosts may pass after each two heartbeats: nine times for 500 tickets.
    assert min(log.waits) < 45 * (dead.bit_length() + 1) + 60
    assert len([key for key in store.objects if "/line/" in key]) <= max(0, dead - 100)


def test_a_flood_of_tickets_bounds_what_a_look_reads_and_keeps_nobody_out() -> None:
    store = MemoryRepository()
    for number in range(MOST_TICKETS + 1_000):
        store.objects[DEAD_TICKET.format(number)] = b""
    log = simulated(night(1, 2), store)
    assert outcomes(log) == {"ok"}


def test_tickets_that_their_hosts_cannot_remove_hold_up_nobody() -> None:
    store = MemoryRepository()
    store.refuse_deletes_with = RepositoryReadOnly("cannot delete: append-only")
    log = simulated(night(20, 2), store)
    assert outcomes(log) == {"ok"}
    assert log.most_at_once == 2
    assert log.overtaken_seconds < 10
    assert tickets_in(store)
    store.refuse_deletes_with = None
    store.objects = {key: told for key, told in store.objects.items() if key.startswith("_slots/")}
    assert outcomes(simulated(night(1, 2, seed=2), store)) == {"ok"}
    assert tickets_in(store) == []


def tickets_in(store: MemoryRepository) -> list[str]:
    return [key for key in store.objects if "/line/" in key]


def test_a_ticket_whose_host_no_longer_waits_by_its_own_word_counts_for_nothing() -> None:
    store = MemoryRepository()
    for number in range(30):
        store.objects[DEAD_TICKET.replace("20261202", "20261201").format(number)] = b""
    (run,) = simulated(night(1, 2), store).runs
    assert run.began is not None
    assert run.began - run.came < 1
    assert tickets_in(store) == []


def test_a_ticket_that_somebody_removed_is_put_again() -> None:
    class Thief(MemoryRepository):
        stolen = 0

        def delete(self, key: str) -> None:
            super().delete(key)
            for each in [each for each in self.objects if "/line/" in each]:
                self.stolen += 1
                del self.objects[each]

    store = Thief()
    log = simulated(night(12, 1), store)
    assert outcomes(log) == {"ok"}
    assert store.stolen > 12


def test_a_host_that_may_not_wait_any_longer_says_so_and_leaves_the_line() -> None:
    store = MemoryRepository()
    waits = night(6, 1, backup_seconds=600.0, wait_at_most=timedelta(minutes=5))
    log = simulated(waits, store)
    assert sum(each.outcome == "busy" for each in log.runs) >= 4
    assert [key for key in store.objects if "/line/" in key] == []


def test_while_a_host_stands_in_line_it_sends_no_heartbeat() -> None:
    log = simulated(night(2, 1, backup_seconds=600.0, delay_seconds=1.0), MemoryRepository())
    second = max(log.runs, key=lambda each: each.began or 0)
    assert second.began is not None
    puts = [
        at
        for at, kind, host in log.requests
        if kind == "put" and host == second.host and second.came <= at < second.began - 5
    ]
    assert len(puts) == 1  # its ticket


class TwoHostsOfOneJob(SimulatedHost):
    @property
    def name(self) -> str:
        return "shop"


def test_a_job_that_another_host_ran_while_this_one_waited_is_skipped() -> None:
    time, log, store = VirtualTime(), Log(), MemoryRepository()
    # Somebody else holds the only slot.
    others = night(3, 1, backup_seconds=300.0, delay_seconds=0.0)
    SimulatedHost(0, others, time=time, repository=store, log=log).begin()
    for number in (1, 2):
        TwoHostsOfOneJob(number, others, time=time, repository=store, log=log).begin()
    with pytest.raises(RunInFlight, match="cannot run job 'shop'"):
        time.run()


def test_a_dead_host_with_a_long_lease_time_keeps_its_own_slot_and_no_other() -> None:
    """The host in front wanted this slot at each look, whatever others were free."""
    store = MemoryRepository()
    dead = Terms(
        run_id="dead", lease_seconds=7 * 24 * 3600.0, clock=FakeClock(), me=on_host("dead")
    )
    lease = Lease(store, "_slots/1", dead, tells_when_free=True)
    assert lease.attempt(deadline=None)
    log = simulated(night(12, 2, wait_at_most=timedelta(hours=1)), store)
    assert outcomes(log) == {"ok"}
    assert log.most_at_once == 1


def test_objects_beside_the_generations_of_a_slot_block_nobody() -> None:
    """The list and the lease took different ones for the highest generation, again and again."""
    store = MemoryRepository()
    for slot in (1, 2):
        store.objects[f"_slots/0{slot}/0000000000000999"] = b"no lease"
        store.objects[f"_slots/{slot}/below/0000000000000998"] = b"no lease"
    log = simulated(night(8, 2, wait_at_most=timedelta(hours=1)), store)
    assert outcomes(log) == {"ok"}
    assert log.most_at_once == 2


class Outage(MemoryRepository):
    """Cannot be listed for some seconds once somebody stands in line."""

    def __init__(self, seconds: Callable[[], float], *, lasts: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._lasts = lasts
        self._began: float | None = None

    def list(self, prefix: str) -> Iterator[Stored]:
        if self._began is None and tickets_in(self):
            self._began = self._seconds()
        if self._began is not None and self._seconds() - self._began < self._lasts:
            raise RepositoryUnreachable("cannot list '_slots': the store is away")
        return super().list(prefix)


def waiting(store: MemoryRepository, seconds: Seconds) -> Writers:
    """One slot, which another host holds and releases after five minutes."""
    owner = Lease(store, "_slots/1", terms_of("other", seconds), tells_when_free=True)
    assert owner.attempt(deadline=None)
    began, beaten = seconds(), seconds()

    def sleep(pause: float) -> None:
        nonlocal beaten
        seconds.now += pause
        with suppress(HoldfastError):
            if seconds() - began > 300:
                owner.release()
            elif seconds() - beaten > 15:
                beaten = seconds()
                owner.renew()

    return Writers(
        store,
        1,
        terms_of("me", seconds),
        at_most=timedelta(hours=1),
        sleep=sleep,
        jitter=lambda: 0.5,
    )


def terms_of(host: str, seconds: Seconds) -> Terms:
    return Terms(
        run_id=host, lease_seconds=90.0, clock=FakeClock(), me=on_host(host), seconds=seconds
    )


def test_who_stands_in_line_bears_an_outage_as_long_as_a_host_that_writes_does() -> None:
    seconds = Seconds()
    store = Outage(seconds, lasts=60)
    with waiting(store, seconds).slot("shop", deadline=None):
        assert seconds() > 1300
    assert tickets_in(store) == []


def test_an_outage_of_a_lease_time_ends_the_wait() -> None:
    seconds = Seconds()
    store = Outage(seconds, lasts=10_000)
    with (
        pytest.raises(RepositoryUnreachable, match="the store is away"),
        waiting(store, seconds).slot("shop", deadline=None),
    ):
        pass
    assert 90 <= seconds() - 1000 < 120


def test_a_store_that_cannot_be_listed_at_all_is_told_at_once() -> None:
    seconds, store = Seconds(), MemoryRepository()
    writers = Writers(store, 1, terms_of("me", seconds), at_most=timedelta(hours=1))
    store.refuse_all_with = RepositoryUnreachable("cannot list '_slots': the store is away")
    with pytest.raises(RepositoryUnreachable), writers.slot("shop", deadline=None):
        pass


def test_a_slow_removal_of_our_ticket_does_not_cost_us_the_slot() -> None:
    """No heartbeat was sent until the store had answered."""
    seconds, told = Seconds(), list[str]()

    class Slow(MemoryRepository):
        def delete(self, key: str) -> None:
            if "/line/" in key:
                told.append("ticket removed")
            super().delete(key)

    @contextmanager
    def beating(*_: object, **__: object) -> Iterator[None]:
        told.append("heartbeats")
        yield

    store = Slow()
    writers = waiting(store, seconds)
    writers._terms = replace(writers._terms, beating=beating)
    with writers.slot("shop", deadline=None):
        assert told == ["heartbeats", "ticket removed"]
