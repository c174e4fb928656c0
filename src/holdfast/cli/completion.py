"""Names for the shell to complete: jobs of the configuration, backups that this host knows.

A shell waits for the answer: no network is asked, and nothing that is wrong is told here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from holdfast.config.settings import Settings

COMPLETING = "_HOLDFAST_COMPLETE"
# As bash, and as zsh and fish hand the line on.
WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
Names = Callable[["Settings", str, str], Iterable[str]]


def words_so_far() -> list[str]:
    """What stands behind the program's name, where a shell asks how to go on."""
    if COMPLETING not in os.environ:
        return []
    return next((os.environ[each].split()[1:] for each in WORDS if each in os.environ), [])


def _completing(names: Names) -> Callable[[typer.Context, str], list[str]]:
    """`names` of the configuration that the line names; none where anything is wrong."""

    @wraps(names)
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from holdfast.config.load import load

        options = context.find_root().params
        try:
            settings = load(Path(options["config"]))
            found = names(settings, incomplete, options.get("repository") or "")
            return [each for each in found if each.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - in the middle of a line there is nobody to tell
            return []

    # typer looks at these to know what it calls with.
    complete.__annotations__ = {"context": typer.Context, "incomplete": str}
    del complete.__wrapped__
    return complete


@_completing
def jobs(settings: Settings, _incomplete: str, _repository: str) -> Iterable[str]:
    return settings.jobs


@_completing
def backups(settings: Settings, incomplete: str, repository: str) -> Iterable[str]:
    """Those that the last `holdfast list` saw; of a folder on this host those that are there."""
    from holdfast.wiring import reading

    wanted, slash, _ = incomplete.partition("/")
    chosen = [each for each in settings.jobs if each == wanted or not slash]
    chosen = [each for each in chosen if each.startswith(wanted)]
    found = [f"{each}/latest" for each in chosen]
    if len(chosen) == 1:
        found += reading.known_backups(settings, chosen[0], chosen=repository)
    return found
