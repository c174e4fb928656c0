"""Hooks of a job: programs of the operator that run before and after its runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from holdfast.config.values import Duration, Strict, Text, shown
from holdfast.model.checked import After, Before, Length, Mistake

TIMEOUT = timedelta(minutes=1)


def _program_first(run: tuple[str, ...]) -> tuple[str, ...]:
    # The PATH of a timer is not that of the operator's shell.
    if not run[0].startswith("/"):
        raise Mistake(f"{shown(run[0])} is not an absolute path", hint="begin it with /")
    if any("\0" in each for each in run):
        raise Mistake("an argument holds no null byte", hint="write it as the shell shows it")
    return run


def _as_mapping(value: Any) -> Any:
    """A list of arguments stands for a hook without further settings."""
    if isinstance(value, str):
        raise Mistake(
            f"{shown(value)} is not a list of arguments",
            hint="no shell reads a hook: write [/PROGRAM, ARGUMENT, ...]",
        )
    return {"run": value} if isinstance(value, list) else value


class HookSettings(Strict):
    """One program with its arguments, and how long it may run."""

    run: Annotated[
        tuple[Text, ...],
        Length(at_least=1, at_most=100),
        After(_program_first),
    ]
    timeout: Duration = TIMEOUT


Hooks = Annotated[
    tuple[Annotated[HookSettings, Before(_as_mapping)], ...],
    Length(at_most=20),
]


class HooksSettings(Strict):
    """`before` runs before a run begins, `after` after a good one, `failed` after a failed one."""

    before: Hooks = ()
    after: Hooks = ()
    failed: Hooks = ()
