"""The rules of the house about Python code and its dependencies."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("src", "lab", "tests", "plugins", "benchmarks")
    for path in (PROJECT / folder).rglob("*.py")
)
MODULE_LINES = 400
FUNCTION_LINES = 50
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES}
    assert not names & FORBIDDEN_NAMES


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.is_relative_to(PROJECT / "src")],
    ids=lambda path: str(path.relative_to(PROJECT)),
)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_runner_locks_what_the_package_declares() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    listed = (PROJECT / "requirements/runner.in").read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == declared


@pytest.mark.parametrize("lock", sorted((PROJECT / "requirements").glob("*.txt")), ids=str)
def test_locks_carry_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    for requirement in re.findall(r"^[A-Za-z0-9._-]+(?:\[[a-z,]+\])?.*", text, re.MULTILINE):
        assert "==" in requirement, requirement
    assert text.count("--hash=sha256:") >= text.count("==")


def test_versions_of_a_package_agree_between_locks() -> None:
    versions: dict[str, set[str]] = {}
    for lock in (PROJECT / "requirements").glob("*.txt"):
        for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
