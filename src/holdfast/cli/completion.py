"""Shell completion: names of configured jobs, and of backups that this host knows.

The shell waits for the answer, so no network is used and errors are not reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.config.settings import Settings

COMPLETING = "_HOLDFAST_COMPLETE"
# Set by bash; and by typer's scripts for zsh and fish.
WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
Names = Callable[["Settings", str, str], Iterable[str]]


def words_so_far() -> list[str]:
    """The words after the program's name, when a shell asks for completions."""
    if COMPLETING not in os.environ:
        return []
    return next((os.environ[each].split()[1:] for each in WORDS if each in os.environ), [])


def _completing(names: Names) -> Callable[[Any, str], list[str]]:
    """Call `names` with the configuration of the command line; no names on any error."""

    @wraps(names)
    def complete(ctx: Any, incomplete: str) -> list[str]:
        from holdfast.config.load import load
        from holdfast.runtime.events import set_up_nothing

        set_up_nothing()
        options = ctx.find_root().params
        try:
            settings = load(Path(options["config"]))
            found = names(settings, incomplete, options.get("repository") or "")
            return [each for each in found if each.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - in the middle of a line there is nobody to tell
            return []

    # typer reads these. It passes the context to `ctx`, whose own type would have to load typer.
    complete.__annotations__ = {"ctx": Any, "incomplete": str}
    del complete.__wrapped__
    return complete


@_completing
def jobs(settings: Settings, _incomplete: str, _repository: str) -> Iterable[str]:
    return settings.jobs


@_completing
def backups(settings: Settings, incomplete: str, repository: str) -> Iterable[str]:
    """The backups that the last `holdfast list` saw.

    For a folder on this host, the backups that exist.
    """
    from holdfast.wiring import reading

    wanted, slash, _ = incomplete.partition("/")
    chosen = [each for each in settings.jobs if each == wanted or not slash]
    chosen = [each for each in chosen if each.startswith(wanted)]
    found = [f"{each}/latest" for each in chosen]
    if len(chosen) == 1:
        found += reading.known_backups(settings, chosen[0], chosen=repository)
    return found
