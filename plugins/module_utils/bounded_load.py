"""A short, bounded load on a file system, and how much the host stalled under it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .systemd_units import Run

MEBIBYTE = 2**20
SIZE_MIB = 128
# The free space required as a multiple: a measurement must not fill a backup's disk.
SPARE_FACTOR = 8
PRESSURE = ("cpu", "io", "memory")
SCRATCH = ".holdfast-measure"


def pressure(proc: Path = Path("/proc/pressure")) -> dict[str, int]:
    """Total microseconds in which some task stalled, by resource; empty without PSI."""
    found = {}
    for name in PRESSURE:
        try:
            text = (proc / name).read_text()
        except OSError:
            continue
        some = next(line for line in text.splitlines() if line.startswith("some"))
        found[name] = int(some.rpartition("total=")[2])
    return found


def has_room(path: Path) -> bool:
    """Whether the load is small compared with the free space."""
    return shutil.disk_usage(path).free >= SPARE_FACTOR * SIZE_MIB * MEBIBYTE


def with_fio(run: Run, folder: Path, *, seconds: int) -> dict[str, float]:
    """Sequential writes, then mixed small requests; MB/s, requests per second and milliseconds."""
    common = ["fio", "--output-format=json", f"--directory={folder}", f"--size={SIZE_MIB}M"]
    stream = ["--name=stream", "--rw=write", "--bs=1M", "--end_fsync=1", f"--runtime={seconds}"]
    mixed = ["--name=mixed", "--rw=randrw", "--rwmixread=70", "--bs=8k", "--fsync=32"]
    written = _fio(run, [*common, *stream])["write"]
    both = _fio(run, [*common, *mixed, "--time_based", f"--runtime={seconds}"])
    return {
        "write_mb_per_second": round(written["bw_bytes"] / 1e6, 1),
        "mixed_requests_per_second": round(both["read"]["iops"] + both["write"]["iops"], 1),
        "mixed_write_p99_ms": round(
            both["write"]["clat_ns"].get("percentile", {}).get("99.000000", 0) / 1e6, 2
        ),
    }


def by_ourselves(
    folder: Path, *, seconds: int, clock: Callable[[], float] = time.monotonic
) -> dict[str, float]:
    """Sequential writes up to `SIZE_MIB` or `seconds`, if fio is not installed; MB/s."""
    block, written, began = os.urandom(MEBIBYTE), 0, clock()
    with (folder / "stream").open("wb", buffering=0) as out:
        while written < SIZE_MIB and clock() - began < seconds:
            out.write(block)
            written += 1
        os.fsync(out.fileno())
    took = max(clock() - began, 1e-6)
    return {"write_mb_per_second": round(written * MEBIBYTE / 1e6 / took, 1)}


def told(measure: Mapping[str, Any]) -> str:
    """The measurement in one line."""
    numbers = [f"{name} {value}" for name, value in measure["load"].items()]
    stalls = [f"{name} stalled {value} ms" for name, value in measure["pressure_ms"].items()]
    backup = [f"{name} {value}" for name, value in measure["backup"].items()]
    line = ", ".join(numbers + stalls + backup) or "nothing was measured"
    return f"{line} ({measure['skipped']})" if measure["skipped"] else line


def _fio(run: Run, argv: list[str]) -> dict[str, Any]:
    code, output, errors = run(argv)
    if code:
        raise OSError(f"fio: {errors.strip() or f'exit status {code}'}")
    job: dict[str, Any] = json.loads(output[output.index("{") :])["jobs"][0]
    return job
