"""The rules of the house about tests: the same run everywhere, whatever a host has or sets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.house.project import PROJECT, name_of, python_files

TESTS = [path for path in python_files("tests") if path != Path(__file__)]
UNIT = [path for path in TESTS if path.is_relative_to(PROJECT / "tests/unit")]
DEPTH = re.compile(r"""(?:environ(?:\.get)?|getenv)\W+["'](CI|HOLDFAST_TEST_DEPTH)["']""")
# A PATH that contains a folder of the host.
HOSTS_PATH = re.compile(r"""setenv\(\s*["']PATH["'],[^)]*/s?bin\b""")
ROOT_ONLY = re.compile(r"assert os\.gete?uid\(\) == 0")


def with_it(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    """The files in which `pattern` occurs."""
    found = [path for path in paths if pattern.search(path.read_text())]
    return [name_of(path) for path in found]


def test_how_deep_tests_go_is_asked_in_one_place() -> None:
    assert with_it(DEPTH, TESTS) == [], "ask tests/support/depth.py"


def test_no_unit_test_lets_programs_of_the_host_into_path() -> None:
    assert with_it(HOSTS_PATH, UNIT) == [], "see tests/support/programs.py"


def test_no_unit_test_fails_for_who_is_not_root() -> None:
    assert with_it(ROOT_ONLY, UNIT) == [], "mark the test with pytest.mark.root"


def test_continuous_integration_runs_what_a_newcomer_runs() -> None:
    script = (PROJECT / ".ci/run").read_text()
    assert script.rstrip().endswith("exec ./scripts/test")
    assert "exec </dev/null" in (PROJECT / "scripts/test").read_text()
