"""The rules of the house about tests: the same run everywhere, whatever a host has or has set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TESTS = sorted(path for path in (PROJECT / "tests").rglob("*.py") if path != Path(__file__))
UNIT = [path for path in TESTS if path.is_relative_to(PROJECT / "tests/unit")]


def name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_how_deep_tests_go_is_asked_in_one_place(path: Path) -> None:
    found = re.findall(
        r"""(?:environ|getenv)\W+["'](CI|HOLDFAST_TEST_DEPTH)["']""", path.read_text()
    )
    assert found == [], "ask tests/engine/depth.py"


@pytest.mark.parametrize("path", UNIT, ids=name)
def test_no_unit_test_lets_programs_of_the_host_into_path(path: Path) -> None:
    found = re.findall(r"""setenv\(\s*["']PATH["'],.*?\)""", path.read_text(), re.DOTALL)
    assert [each for each in found if re.search(r"/s?bin\b", each)] == [], "see programs.py"


@pytest.mark.parametrize("path", UNIT, ids=name)
def test_no_unit_test_fails_for_who_is_not_root(path: Path) -> None:
    found = re.findall(r"assert os\.gete?uid\(\) == 0", path.read_text())
    assert found == [], "mark the test with pytest.mark.root"


def test_continuous_integration_runs_what_a_newcomer_runs() -> None:
    script = (PROJECT / ".ci/run").read_text()
    assert script.rstrip().endswith("exec ./scripts/test")
    assert "exec </dev/null" in (PROJECT / "scripts/test").read_text()
