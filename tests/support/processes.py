"""The processes of this host, seen from outside, as an operator would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as /proc shows it; `state` is Z until its parent reaps it."""

    pid: int
    name: str
    state: str
    parent: int


def processes() -> Iterator[Process]:
    for folder in PROC.iterdir():
        try:
            # pid (comm) state ppid
            pid, _, rest = (folder / "stat").read_text().partition(" ")
        except (OSError, NotADirectoryError):
            continue
        name, _, status = rest.rpartition(") ")
        state, parent, *_ = status.split()
        yield Process(pid=int(pid), name=name.removeprefix("("), state=state, parent=int(parent))


def children(of: int, *names: str) -> list[Process]:
    """The children of a process, zombies too; if `names` are given, only those."""
    return [each for each in processes() if each.parent == of and (not names or each.name in names)]


def named(*names: str) -> list[Process]:
    """Every process with one of these names, whatever started it."""
    return [each for each in processes() if each.name in names]
