"""Which kernel keys a profile wants on a host, with the formula and the reason of each value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .host_facts import HostFacts
from .tuning_report import Choice

PROFILES = ("recipe", "postgresql", "mariadb", "backup_throughput", "none")
MEBIBYTE = 2**20
# Above this a percent of memory is more than a disk writes in a second.
RATIOS_MEAN_LITTLE = 32 * 2**30
VM_MANUAL = "Linux: admin-guide/sysctl/vm.rst"
OVERCOMMIT_MANUAL = "PostgreSQL: 18.4.4 Linux memory overcommit"
# The margin that mode 2 must leave above Committed_AS before it is switched on.
COMMIT_MARGIN_PERCENT = 25
COMMIT_RATIO_PERCENT = 80
OVERCOMMIT = "vm.overcommit_memory"
CONFLICT = (
    "conflict: PostgreSQL's manual asks for 2, and PostgreSQL runs here; "
    "with 1 its processes may meet the out-of-memory killer"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPlan:
    """The keys to set, and those that the profile withholds on this host, with reasons."""

    choices: dict[str, Choice] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)


def kernel_plan(profile: str, facts: HostFacts) -> KernelPlan:
    """The plan of the profile for this host."""
    if profile == "recipe":
        return KernelPlan(choices=_recipe(facts))
    if profile == "postgresql":
        return _postgresql(facts)
    if profile == "mariadb":
        return KernelPlan(
            choices=_swappiness("1")
            | _dirty_bytes(facts, percent=1, floor_mib=64, ceiling_mib=512)
            | _aio_requests()
        )
    if profile == "backup_throughput":
        return KernelPlan(
            choices=_swappiness("10")
            | _dirty_bytes(facts, percent=4, floor_mib=256, ceiling_mib=2048)
        )
    return KernelPlan()


def overcommit_danger(facts: HostFacts, *, ratio_percent: int) -> str:
    """Why mode 2 must not be switched on; empty if it may, or is on already."""
    limit = facts.commit_limit(ratio_percent)
    floor = facts.committed * (100 + COMMIT_MARGIN_PERCENT) // 100
    if facts.overcommit_mode == "2" or limit >= floor:
        return ""
    return (
        f"CommitLimit would be {limit // MEBIBYTE} MiB, and Committed_AS is "
        f"{facts.committed // MEBIBYTE} MiB: less than {COMMIT_MARGIN_PERCENT} percent of margin"
    )


def with_conflicts(choices: Mapping[str, Choice], facts: HostFacts) -> dict[str, Choice]:
    """The choices, with contradictions to a server's manual noted as risks."""
    found = dict(choices)
    chosen = found.get(OVERCOMMIT)
    if chosen and chosen.value == "1" and "postgresql" in facts.servers:
        found[OVERCOMMIT] = replace(chosen, risk=CONFLICT)
    return found


def _recipe(facts: HostFacts) -> dict[str, Choice]:
    large = facts.memory > RATIOS_MEAN_LITTLE
    risk = "means little above 32 GiB of memory: use the bytes" if large else ""
    overcommit = Choice(
        value="1",
        formula="constant",
        why="a dump that forks never fails for memory it does not touch",
        reference=VM_MANUAL,
        risk="an overloaded host meets the out-of-memory killer instead of an error",
    )
    dirty = Choice(
        value="10",
        formula="constant",
        bounds="above the background ratio",
        why="writers are slowed before a burst of backup data takes seconds to flush",
        reference=VM_MANUAL,
        risk=risk,
    )
    background = replace(
        dirty,
        value="5",
        bounds="below vm.dirty_ratio",
        why="flushing begins early enough that vm.dirty_ratio is rarely met",
    )
    return {
        OVERCOMMIT: overcommit,
        **_swappiness("10"),
        "vm.dirty_ratio": dirty,
        "vm.dirty_background_ratio": background,
    }


def _postgresql(facts: HostFacts) -> KernelPlan:
    choices = _swappiness("10") | _dirty_bytes(facts, percent=1, floor_mib=64, ceiling_mib=512)
    danger = overcommit_danger(facts, ratio_percent=COMMIT_RATIO_PERCENT)
    if danger:
        return KernelPlan(choices=choices, withheld={OVERCOMMIT: f"not switched to 2: {danger}"})
    ratio = Choice(
        value=str(COMMIT_RATIO_PERCENT),
        formula="constant",
        bounds=f"CommitLimit at least {COMMIT_MARGIN_PERCENT} percent above Committed_AS",
        why="the default of 50 leaves half the memory unused where there is little swap",
        reference=OVERCOMMIT_MANUAL,
        risk="too low, and allocations fail while memory is free",
    )
    mode = replace(
        ratio,
        value="2",
        why="a backend gets an error it can handle, not the out-of-memory killer",
        risk="programs that reserve far more than they use may fail to start",
    )
    # The ratio first: mode 2 begins with the limit that was checked.
    return KernelPlan(choices={"vm.overcommit_ratio": ratio, OVERCOMMIT: mode, **choices})


def _swappiness(value: str) -> dict[str, Choice]:
    why = "a backup reads everything once; the database's pages should not be swapped for that"
    return {
        "vm.swappiness": Choice(
            value=value, formula="constant", bounds="0 to 200", why=why, reference=VM_MANUAL
        )
    }


def _dirty_bytes(
    facts: HostFacts, *, percent: int, floor_mib: int, ceiling_mib: int
) -> dict[str, Choice]:
    # On a small host the floor would be most of its memory.
    share = facts.memory * percent // 100 // MEBIBYTE
    highest = min(ceiling_mib, facts.memory // 10 // MEBIBYTE)
    background = min(max(share, floor_mib), highest) * MEBIBYTE
    told = Choice(
        value=str(background),
        formula=f"{percent} percent of memory",
        bounds=f"{floor_mib} to {ceiling_mib} MiB, at most a tenth of memory",
        why="flushing begins early, and with the same amount on every size of host",
        reference=VM_MANUAL,
    )
    foreground = replace(
        told,
        value=str(4 * background),
        formula="4 x vm.dirty_background_bytes",
        bounds="above the background bytes",
        why="a writer waits for no more than a disk writes in a few seconds",
    )
    # The larger one first: the kernel silently refuses a background value above the foreground's.
    return {"vm.dirty_bytes": foreground, "vm.dirty_background_bytes": told}


def _aio_requests() -> dict[str, Choice]:
    return {
        "fs.aio-max-nr": Choice(
            value="1048576",
            formula="constant",
            why="InnoDB takes asynchronous requests for every I/O thread of every instance",
            reference="Linux: admin-guide/sysctl/fs.rst",
        )
    }
