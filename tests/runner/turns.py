"""The servers of a run: one of each kind, chosen by the commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lab import command
from lab.errors import CommandFailed
from lab.project import GIT

POSTGRES = ("pg12", "pg13", "pg18")
MYSQL = ("maria12", "maria13", "mysql9")
# The site is deployed to stable releases only.
SITE = (("pg12", "maria13"), ("pg13", "maria12"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The hosts of engine tests, and those that molecule deploys to."""

    engine: tuple[str, ...]
    site: tuple[str, ...]


EVERY = Servers(engine=(*POSTGRES, *MYSQL), site=tuple(name for pair in SITE for name in pair))


def of_turn(turn: int) -> Servers:
    """A server of each kind, on different releases."""
    return Servers(
        engine=(POSTGRES[turn % 3], MYSQL[(turn + 1) % 3]),
        site=SITE[turn % 2],
    )


def chosen(names: Sequence[str]) -> Servers:
    """The named servers; all hosts of the site if none of them is named."""
    return Servers(
        engine=tuple(names), site=tuple(name for name in names if name in EVERY.site) or EVERY.site
    )


def turn_of_this_run() -> int:
    """A number from the commit, which thus always gets the same servers; else from the date."""
    try:
        commit = command.run([*GIT, "rev-parse", "HEAD"]).strip()
    except CommandFailed:
        return datetime.now(UTC).toordinal()
    return int(commit[:8], 16)
