"""A dozen simulated hosts and a real S3 server: who is admitted when, and what the server sees."""

from __future__ import annotations

from benchmarks import fleet_store
from benchmarks.simulated_hosts import Night, simulated
from holdfast.model.host_status import AHEAD
from holdfast.operations.fleet import fleet
from tests.support.stores import now


def test_a_night_of_a_dozen_hosts_with_two_slots() -> None:
    night = Night(
        hosts=12,
        slots=2,
        backup_seconds=60.0,
        delay_seconds=30.0,
        dying=frozenset({3}),
        dying_in_line=frozenset({5}),
    )
    with fleet_store.a_store() as store:
        log = simulated(night, store.repository)
        fleet_store.require_sound(night, log)
        seen = store.requests()
        fleet_store.require_counted(seen, log)
        rows = fleet({"main": lambda: store.repository}, now=now() + AHEAD).rows
    assert log.most_at_once == 2
    outcomes = {each.host: each.outcome for each in log.runs}
    assert {host for host, outcome in outcomes.items() if outcome == "died"} == {3, 5}
    assert log.overtaken_seconds < 10
    # Beside its backup, its statuses and its heartbeats, a host waits for minutes.
    assert seen.total() < 12 * 75
    assert log.busiest_second <= 30
    # Those that died left none.
    assert {row.host for row in rows} == {
        f"db{host:04}" for host, outcome in outcomes.items() if outcome == "ok"
    }
