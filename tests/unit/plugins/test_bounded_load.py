"""A load that stays small, and its report."""

import json
from collections.abc import Sequence
from pathlib import Path

from plugins.module_utils.bounded_load import SIZE_MIB, by_ourselves, pressure, told, with_fio


def test_stalls_are_read_where_the_kernel_counts_them(tmp_path: Path) -> None:
    text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=4321\nfull avg10=0.00 total=7\n"
    (tmp_path / "io").write_text(text)
    assert pressure(tmp_path) == {"io": 4321}
    assert pressure(tmp_path / "absent") == {}


def test_the_load_ends_when_its_time_is_up(tmp_path: Path) -> None:
    ticks = iter([0.0, 0.5, 6.0, 6.0])
    by_ourselves(tmp_path, seconds=5, clock=lambda: next(ticks))
    assert (tmp_path / "stream").stat().st_size == 2**20


def test_the_load_never_grows_beyond_its_size(tmp_path: Path) -> None:
    by_ourselves(tmp_path, seconds=10**6)
    assert (tmp_path / "stream").stat().st_size == SIZE_MIB * 2**20


def test_fio_is_bounded_in_time_and_its_figures_are_read(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []
    job = {
        "write": {"bw_bytes": 5e6, "iops": 3, "clat_ns": {"percentile": {"99.000000": 2e6}}},
        "read": {"iops": 7},
    }

    def fio(argv: Sequence[str]) -> tuple[int, str, str]:
        asked.append(argv)
        return 0, "fio: a warning\n" + json.dumps({"jobs": [job]}), ""

    assert with_fio(fio, tmp_path, seconds=3) == {
        "write_mb_per_second": 5.0,
        "mixed_requests_per_second": 10,
        "mixed_write_p99_ms": 2.0,
    }
    assert all("--runtime=3" in argv for argv in asked)


def test_one_line_tells_all_of_it() -> None:
    measure = {
        "load": {"write_mb_per_second": 5.0},
        "pressure_ms": {"io": 12},
        "backup": {},
        "skipped": "fio is not installed",
    }
    assert told(measure) == "write_mb_per_second 5.0, io stalled 12 ms (fio is not installed)"
