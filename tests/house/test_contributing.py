"""What contributors get: hooks, forms and a workflow that run what `scripts/test` runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.house.project import PROJECT
from tests.runner.suites import CHECKERS

OWN = ".venv/bin/"
PROGRAMS = Path(sys.prefix) / "bin"
HOUSE = {"rules of the house": ["python", "-m", "pytest", "-q", "tests/house"]}
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")


def hooks() -> dict[str, list[str]]:
    """The command of each hook, after checking that it is in the project's own environment."""
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local", "no network, no versions of their own"
    commands: dict[str, list[str]] = {
        each["name"]: each["entry"].split() for each in local["hooks"]
    }
    assert all(command[0].startswith(".venv/bin/") for command in commands.values())
    return {
        name: [command[0].removeprefix(".venv/bin/"), *command[1:]]
        for name, command in commands.items()
    }


def test_hooks_are_the_checkers_of_the_lint_suite_and_the_rules_of_the_house() -> None:
    assert hooks() == CHECKERS | HOUSE
    assert [
        command[0] for command in hooks().values() if not (PROGRAMS / command[0]).exists()
    ] == []


def test_pre_commit_runs_a_hook_without_any_network(tmp_path: Path) -> None:
    """One quick hook stands for all: they start in the same way, and lint runs the rest."""
    # The current user may not own the clone.
    (tmp_path / ".gitconfig").write_text("[safe]\ndirectory = *\n")
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
        # Unit tests in the same run see few programs of the host.
        "PATH": os.defpath,
        "RUFF_NO_CACHE": "true",
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),
    }
    done = subprocess.run(
        [PROGRAMS / "pre-commit", "run", "ruff-format", "--files", __file__],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.fullmatch(r"ruff format\.+Passed\n", done.stdout)


def test_the_workflow_calls_what_a_developer_runs_with_pinned_actions() -> None:
    path = PROJECT / ".github/workflows/test.yml"
    workflow: dict[str, Any] = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    last = {name: job["steps"][-1]["run"] for name, job in workflow["jobs"].items()}
    assert last == {"quick": "./scripts/test lint unit", "whole": "./.ci/run"}
    used = re.findall(r"uses: (.*)", path.read_text())
    assert [each for each in used if not PINNED.fullmatch(each)] == []


def test_the_package_says_who_made_it_and_under_which_licence() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    (authors,) = project["authors"]
    assert authors["name"].lower() in (PROJECT / "LICENSE").read_text().lower()
    assert "urls" not in project, "CONTRIBUTING.md says that there is no public address yet"


def test_the_walk_through_goes_by_lines_that_are_there() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    changes = re.findall(r"^( *)```diff\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    assert len(changes) >= 5
    gone = [line for _, change in changes for line in not_there(textwrap.dedent(change))]
    assert gone == []


def not_there(change: str) -> list[str]:
    """The context lines of a change that its file does not have."""
    head, *lines = change.splitlines()
    name = head.removeprefix("--- ")
    there = (PROJECT / name).read_text().splitlines()
    beside = [line[1:] for line in lines if line.startswith(" ")]
    return [f"{name}: {line}" for line in beside if line not in there]
