"""The rules of the house about Python code and its dependencies."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.house.project import PROJECT, functions_in, modules, name_of, python_files

SOURCES = python_files("src", "lab", "tests", "plugins", "benchmarks", "release")
MODULE_LINES = 400
FUNCTION_LINES = 50
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_modules_and_functions_stay_readable() -> None:
    assert [found for path in SOURCES for found in too_long(path)] == []


def too_long(path: Path) -> Iterator[str]:
    text = path.read_text()
    if (lines := len(text.splitlines())) > MODULE_LINES:
        yield f"{name_of(path)}: {lines} lines"
    for function in functions_in(ast.parse(text)):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{name_of(path)}: {function.name} has {lines} lines"


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES}
    assert not names & FORBIDDEN_NAMES


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_the_runner_locks_what_the_package_declares() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = {"runner": project["dependencies"], **project["optional-dependencies"]}
    assert {name: listed(name) for name in declared} == declared


def listed(name: str) -> list[str]:
    """The requirements of a list, without its comments."""
    lines = (PROJECT / f"requirements/{name}.in").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_locks_carry_versions_and_hashes_and_no_address() -> None:
    locks = sorted((PROJECT / "requirements").glob("*.txt"))
    assert [found for lock in locks for found in unlocked(lock)] == []


def unlocked(lock: Path) -> Iterator[str]:
    """The lines that do not pin a version by its hash, and any address."""
    text = lock.read_text()
    if "://" in text:
        yield f"{name_of(lock)}: an address"
    for line in text.replace("\\\n", "").splitlines():
        if line[:1].isalnum() and not ("==" in line and "--hash=sha256:" in line):
            yield f"{name_of(lock)}: {line}"


def test_versions_of_a_package_agree_between_locks() -> None:
    versions: dict[str, set[str]] = {}
    for lock in (PROJECT / "requirements").glob("*.txt"):
        for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
