"""Merges an operator's own kernel settings into a profile, and refuses contradictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .host_facts import HostFacts
from .kernel_profiles import (
    COMMIT_RATIO_PERCENT,
    OVERCOMMIT,
    KernelPlan,
    kernel_plan,
    overcommit_danger,
    with_conflicts,
)
from .kernel_values import normalised, number
from .sysctl_files import one_name
from .tuning_report import Choice

# Writing one of a pair zeroes the other: no kernel can have both.
EXCLUSIVE = (
    ("vm.dirty_bytes", "vm.dirty_ratio"),
    ("vm.dirty_background_bytes", "vm.dirty_background_ratio"),
    ("vm.overcommit_kbytes", "vm.overcommit_ratio"),
)


def laid_over(profile: str, settings: Mapping[str, object], facts: HostFacts) -> KernelPlan:
    """The profile's plan overridden by the operator's values; a key's aliases count as the key."""
    own = {one_name(key): normalised(value) for key, value in settings.items()}
    plan = kernel_plan(profile, facts)
    shadowed = {other for pair in EXCLUSIVE for key in pair if key in own for other in pair}
    kept = {key: choice for key, choice in plan.choices.items() if key not in shadowed | set(own)}
    chosen = {key: Choice(value=value) for key, value in own.items()}
    return KernelPlan(
        choices=with_conflicts({**chosen, **kept}, facts),
        withheld={key: reason for key, reason in plan.withheld.items() if key not in own},
    )


def contradictions(choices: Mapping[str, Choice], facts: HostFacts) -> list[str]:
    """One sentence for each wanted state that no kernel should be given."""
    both = [
        f"cannot set '{one}' beside '{other}': setting one zeroes the other; choose one"
        for one, other in EXCLUSIVE
        if {one, other} <= set(choices)
    ]
    return both or _background_first(choices, facts) + _overcommit(choices, facts)


def lower_than(live: str, wanted: str) -> bool:
    """Whether no number in `live` exceeds its one in `wanted`; True if they do not compare."""
    ours, theirs = _numbers(wanted), _numbers(live)
    if not ours or len(ours) != len(theirs):
        return True
    return all(now <= then for now, then in zip(theirs, ours, strict=True))


def _background_first(choices: Mapping[str, Choice], facts: HostFacts) -> list[str]:
    foreground = _dirty(choices, facts, "vm.dirty_bytes", "vm.dirty_ratio")
    background = _dirty(choices, facts, "vm.dirty_background_bytes", "vm.dirty_background_ratio")
    if foreground is None or background is None or background[1] < foreground[1]:
        return []
    why = "writers would wait before flushing has begun"
    return [f"cannot set '{background[0]}': it must be below '{foreground[0]}', or {why}"]


def _dirty(
    choices: Mapping[str, Choice], facts: HostFacts, in_bytes: str, in_percent: str
) -> tuple[str, int] | None:
    for key, unit in ((in_bytes, 1), (in_percent, facts.memory // 100)):
        if key in choices and (count := number(choices[key].value)) is not None:
            return key, count * unit
    return None


def _overcommit(choices: Mapping[str, Choice], facts: HostFacts) -> list[str]:
    wanted = choices.get(OVERCOMMIT)
    # An absolute limit is the operator's own calculation; we check only the ratio.
    if wanted is None or number(wanted.value) != 2 or "vm.overcommit_kbytes" in choices:
        return []
    ratio = choices.get("vm.overcommit_ratio")
    given = number(ratio.value) if ratio else None
    percent = 50 if given is None else given
    danger = overcommit_danger(facts, ratio_percent=percent)
    hint = f"; vm.overcommit_ratio of {COMMIT_RATIO_PERCENT} may do" if percent == 50 else ""
    return [f"cannot set '{OVERCOMMIT}' to '2': {danger}{hint}"] if danger else []


def _numbers(value: str) -> Sequence[int]:
    found = [number(word) for word in value.split()]
    return [one for one in found if one is not None] if None not in found else []
