"""The contracts of the layers work: each wrong import in a changed copy is reported."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.project import PROJECT, modules

CHECK = "from importlinter.cli import lint_imports_command; lint_imports_command()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intruder:
    """A module that is created or extended with `line`, and the checker's report."""

    module: str
    line: str
    contract: str
    told: str


INTRUDERS = (
    Intruder(
        module="sources/mysql/dump/part_plan.py",
        line="import psycopg",
        contract="psycopg",
        told="holdfast.sources.mysql.dump.part_plan -> psycopg",
    ),
    Intruder(
        module="sources/postgres/files/checksum_results.py",
        line="import pymysql",
        contract="pymysql",
        told="holdfast.sources.postgres.files.checksum_results -> pymysql",
    ),
    Intruder(
        module="repositories/local.py",
        line="import paramiko",
        contract="paramiko",
        told="holdfast.repositories.local -> paramiko",
    ),
    Intruder(
        module="new_room.py",
        line="from holdfast.cli import main",
        contract="floors",
        told="new_room",
    ),
    Intruder(
        module="operations/new_verb.py",
        line="from holdfast.operations import context",
        contract="operations",
        told="new_verb",
    ),
    Intruder(
        module="model/retention.py",
        line="from holdfast.runtime import events",
        contract="floors",
        told="holdfast.model.retention -> holdfast.runtime.events",
    ),
    Intruder(
        module="daemon/listener.py",
        line="from holdfast.cli import context",
        contract="floors",
        told="holdfast.daemon.listener -> holdfast.cli.context",
    ),
    Intruder(
        module="operations/prune.py",
        line="from holdfast.repositories import local",
        contract="ports-only",
        told="holdfast.operations.prune -> holdfast.repositories.local",
    ),
    Intruder(
        module="model/chain.py",
        line="import os",
        contract="pure",
        told="holdfast.model.chain -> os",
    ),
)


def checked(project: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run the checker on the package in `project`, with these contracts or all of them."""
    only = [f"--contract={each}" for each in contracts]
    return subprocess.run(
        [sys.executable, "-c", CHECK, "--no-cache", "--no-logo", *only],
        cwd=project,
        env={"PYTHONPATH": str(project / "src"), "PATH": "/usr/bin:/bin", "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unchanged copy of the package in its own folder."""
    project = tmp_path_factory.mktemp("project")
    shutil.copy(PROJECT / "pyproject.toml", project)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "src/holdfast", project / "src/holdfast", ignore=ignored)
    return project


def test_the_package_keeps_all_of_its_contracts(copied: Path) -> None:
    answer = checked(copied)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("intruder", INTRUDERS, ids=lambda each: f"{each.line} in {each.module}")
def test_an_import_that_no_floor_allows_is_refused(copied: Path, intruder: Intruder) -> None:
    path = copied / "src/holdfast" / intruder.module
    before = path.read_text() if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{intruder.line}\n")
        answer = checked(copied, intruder.contract)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert answer.returncode == 1, answer.stdout
    assert intruder.told in answer.stdout


def test_every_library_has_a_home() -> None:
    """A library that no contract names could be imported anywhere."""
    written = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    contracts = written["tool"]["importlinter"]["contracts"]
    homed = {each for contract in contracts for each in contract.get("forbidden_modules", ())}
    assert libraries() <= homed


def libraries() -> set[str]:
    """The top-level packages that ours imports, without its own and the standard library."""
    found: set[str] = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).partition(".")[0])
    return found - sys.stdlib_module_names - {"holdfast"}
