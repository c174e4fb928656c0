"""The one formula for slots."""

from __future__ import annotations

import pytest

from holdfast.limits.budget import (
    Budget,
    Ceiling,
    MemoryBudget,
    TaskLimits,
    process_budget,
    slots_now,
    tasks_beside,
    tasks_for,
)
from holdfast.model.backup import Compressor
from holdfast.model.errors import MemoryShort


def limits(*, cpus: int = 64, pids_max: int | None = None, used: int = 0) -> TaskLimits:
    ceilings = (
        (Ceiling(name="pids.max of /job", most=pids_max, used=used),)
        if pids_max is not None
        else ()
    )
    return TaskLimits(cpus=cpus, ceilings=ceilings, pids_max=pids_max)


def budget(
    given: TaskLimits, *, asked: int | None = None, connections_free: int | None = None
) -> Budget:
    return process_budget(given, asked=asked, connections_free=connections_free)


@pytest.mark.parametrize(
    ("given", "slots", "decided_by"),
    [
        (limits(), 10, "auto"),
        (limits(cpus=2), 4, "cpus"),
        (limits(pids_max=4096), 10, "auto"),
        (limits(pids_max=112), 4, "pids.max of /job"),
        (limits(pids_max=4096, used=3981), 5, "pids.max of /job"),
        (limits(pids_max=40), 1, "pids.max of /job"),
    ],
)
def test_auto_is_the_least_of_what_each_input_allows(
    given: TaskLimits, slots: int, decided_by: str
) -> None:
    result = budget(given)
    assert (result.slots, result.decided_by) == (slots, decided_by)


@pytest.mark.parametrize(
    ("pids_max", "band"),
    [(500, (5, 133)), (1000, (10, 300)), (2000, (20, 633)), (4000, (50, 1300))],
)
def test_the_upper_bound_covers_the_bands_that_operators_know(
    pids_max: int, band: tuple[int, int]
) -> None:
    low, bound = band
    result = budget(limits(pids_max=pids_max), asked=100_000)
    assert low <= result.slots == bound


def test_a_number_that_was_asked_for_is_not_held_to_the_cpus() -> None:
    assert budget(limits(cpus=2), asked=30).slots == 30


def test_a_number_that_was_asked_for_is_lowered_to_what_the_limits_leave() -> None:
    result = budget(limits(pids_max=130), asked=30)
    assert (result.slots, result.decided_by) == (10, "pids.max of /job")


def test_the_server_gives_no_more_sessions_than_it_has() -> None:
    result = budget(limits(), asked=30, connections_free=5)
    assert (result.slots, result.decided_by) == (3, "connections")


def test_there_is_always_one_slot() -> None:
    assert budget(limits(pids_max=10, used=10), connections_free=0).slots == 1


def test_every_input_is_shown() -> None:
    result = budget(limits(cpus=8, pids_max=4096, used=96), connections_free=90)
    assert result.allowed == {
        "auto": 10,
        "cpus": 16,
        "pids.max of /job": 1300,
        "upper_bound": 1332,
        "connections": 88,
    }
    assert result.headline == "Initialized process semaphore with max 10 concurrent processes"


def test_tasks_for_is_the_formula_read_backwards() -> None:
    assert budget(limits(pids_max=tasks_for(7)), asked=100).slots == 7


MIB = 1 << 20


@pytest.mark.parametrize(
    ("limit_mb", "slots", "decided_by"), [(200, 10, "asked"), (150, 7, "memory"), (98, 1, "memory")]
)
def test_as_many_slots_as_fit_into_the_memory(limit_mb: int, slots: int, decided_by: str) -> None:
    memory = MemoryBudget(limit_bytes=limit_mb * MIB, compressor_bytes=2 * MIB)
    found = process_budget(limits(), asked=10, connections_free=None, memory=memory)
    assert (found.slots, found.decided_by) == (slots, decided_by)


def test_where_not_even_one_slot_fits_it_is_refused_with_the_number_that_would_do() -> None:
    memory = MemoryBudget(limit_bytes=50 * MIB, compressor_bytes=2 * MIB)
    with pytest.raises(MemoryShort, match=r"cannot run in 50 MiB .* needs 90 MiB"):
        process_budget(limits(), asked=None, connections_free=None, memory=memory)


def test_our_own_tasks_are_not_counted_against_us() -> None:
    def limits(used: int) -> TaskLimits:
        return TaskLimits(cpus=2, ceilings=(Ceiling(name="pids.max", most=200, used=used),))

    # 112 were free before four threads were there, two of which have two children each.
    assert slots_now(limits(88 + 4 + 4), working=2, threads=4) == 4
    assert slots_now(limits(88 + 4 + 4 + 30), working=2, threads=4) == 1
    assert slots_now(TaskLimits(cpus=2), working=1, threads=4) > 100
    # Three slots with three more children each are 12 of the 100 tasks that are ours to use.
    assert slots_now(limits(88 + 4 + 8), working=2, threads=4, tasks_per_slot=5) == 2


@pytest.mark.parametrize(
    ("compressor", "tasks", "slots"),
    [(None, 3, 33), (Compressor.PIGZ, 5, 20), (Compressor.ZSTD, 7, 14)],
)
def test_a_slot_with_a_program_beside_its_dump_costs_more_tasks(
    compressor: Compressor | None, tasks: int, slots: int
) -> None:
    assert tasks_beside(compressor) == tasks
    given = process_budget(
        limits(pids_max=200), asked=50, connections_free=None, tasks_per_slot=tasks
    )
    assert given.slots == slots


def test_every_compressor_has_its_tasks_counted() -> None:
    assert all(tasks_beside(each) > tasks_beside(None) for each in Compressor)
