"""The machine that measures: its processor, and what else it does during a measurement."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.results import Machine, Noise

# user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5).
_STEAL = 7


def describe(*, without_sha: bool) -> Machine:
    """This machine, as client programs see it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(_fact(line) for line in reversed(lines) if ":" in line)
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return Machine(
        processor=facts.get("model name", os.uname().machine),
        cores=os.cpu_count() or 1,
        memory_bytes=pages * page_bytes,
        has_sha=not without_sha and bool({"sha_ni", "sha2"} & set(flags)),
    )


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


class Watch:
    """Looks at the machine before and after a measurement."""

    noise: Noise

    def __enter__(self) -> Self:
        self._load = os.getloadavg()[0]
        self._ticks = _ticks()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        passed = [now - before for now, before in zip(_ticks(), self._ticks, strict=True)]
        stolen = passed[_STEAL] / sum(passed) if any(passed) else 0.0
        self.noise = Noise(load=round(self._load, 2), stolen=round(stolen, 4))


def _ticks() -> list[int]:
    first = Path("/proc/stat").read_text().splitlines()[0]
    return [int(each) for each in first.split()[1 : _STEAL + 2]]
