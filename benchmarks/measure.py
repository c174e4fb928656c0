"""Run one command and print what it cost, as JSON: used inside the host that is measured."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SAMPLE_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK")
KIB = 1024


def main(argv: list[str]) -> int:
    """Wall and CPU seconds of the command and of the server, memory and tasks of its whole tree.

    Memory is proportional (PSS): what processes share counts once. It is sampled, so a peak
    shorter than the pause between two looks may be missed.
    """
    server_before = server_cpu_seconds()
    began = time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        peak = Peak(child.pid)
        output, _ = child.communicate()
        peak.end()
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode != 0:
        sys.stderr.buffer.write(output)
        return child.returncode
    cost = {
        "seconds": seconds,
        "client_cpu_seconds": used.ru_utime + used.ru_stime,
        "server_cpu_seconds": server_cpu_seconds() - server_before,
        "peak_bytes": max(peak.bytes, used.ru_maxrss * KIB if not peak.bytes else 0),
        "peak_tasks": peak.tasks,
    }
    print(json.dumps(cost))
    return 0


class Peak:
    """Looks at a process and everything below it, again and again."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._over = threading.Event()
        self.bytes = 0
        self.tasks = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            tree = list(below(self._root))
            self.bytes = max(self.bytes, sum(memory_of(pid) for pid in tree))
            self.tasks = max(self.tasks, sum(tasks_of(pid) for pid in tree))
            if self._over.wait(SAMPLE_SECONDS):
                return


def below(root: int) -> Iterator[int]:
    """`root` and all its descendants that live now."""
    parents = {pid: int(fields[1]) for pid, fields in processes().items()}
    known = {root}
    while found := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= found
    yield from known


def processes() -> dict[int, list[str]]:
    """Of each process what follows its name in /proc/PID/stat (proc(5))."""
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
    return found


def memory_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:"))


def tasks_of(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def server_cpu_seconds(servers: Callable[[], dict[int, int]] | None = None) -> float:
    """CPU seconds of all server processes; a process that has ended counts in its parent.

    A process that ends during a look is in neither: its parent was read before it. So a look counts
    only if the same processes were there before and after it.
    """
    look = servers or ticks_of_servers
    before = look()
    while True:
        found, after = look(), look()
        if before.keys() == found.keys() == after.keys():
            return sum(found.values()) / TICKS
        before = after


def ticks_of_servers() -> dict[int, int]:
    """The CPU time of each server process and of its children that have ended."""
    found: dict[int, int] = {}
    for pid, fields in processes().items():
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name in ("postgres", "mariadbd", "mysqld"):
            # utime, stime, cutime, cstime: fields 14 to 17, of which two are before the name.
            found[pid] = sum(int(each) for each in fields[11:15])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
