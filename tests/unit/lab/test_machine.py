"""The machine below: the runtime that it needs, and packages that it lacks."""

from pathlib import Path

import pytest

from lab import machine
from tests.support.machines import A_LAPTOP, A_MIXED_MACHINE


def test_a_machine_with_old_cgroups_needs_runc() -> None:
    assert A_MIXED_MACHINE.runtime == "runc"


def test_a_machine_with_unified_cgroups_uses_crun() -> None:
    assert A_LAPTOP.runtime == "crun"


@pytest.mark.parametrize(
    ("mask", "held"),
    [("000001ffffffffff", True), ("000001fffeffffff", False), ("0000000000000000", False)],
)
def test_a_capability_is_one_bit_of_the_effective_ones(mask: str, *, held: bool) -> None:
    status = f"Name:\tpython\nCapPrm:\t000001ffffffffff\nCapEff:\t{mask}\n"
    assert machine.has_capability(status, machine.CAP_SYS_RESOURCE) is held


@pytest.mark.parametrize(
    ("limit", "ceiling", "least"),
    [(None, 32768, 32768), (96365, 32768, 32768), (1000, 32768, 1000)],
)
def test_the_limit_of_processes_stays_under_the_highest_process_number(
    limit: int | None, ceiling: int, least: int
) -> None:
    assert machine.least(limit, ceiling) == least


def test_a_package_is_missing_only_if_none_of_its_files_is_here(tmp_path: Path) -> None:
    here = tmp_path / "tool"
    here.touch()
    packages = {"old": ["/no/such/file", str(here)], "new": ["/no/such/file"]}
    assert machine.missing(packages) == ["new"]
