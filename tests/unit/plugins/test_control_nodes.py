"""Files for other control nodes: the execution environment, AWX and Semaphore, as far as no server
is needed to check them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
EXAMPLES = PROJECT / "docs/examples"
# The tests run once more in an environment without collections, as they are half of it.
NEEDS_AWX = pytest.mark.skipif(
    importlib.util.find_spec("ansible_collections") is None,
    reason="the collection awx.awx is not installed",
)


def run(program: str, *arguments: object, home: Path) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *map(str, arguments)],
        cwd=PROJECT,
        env=os.environ | {"HOME": str(home), "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ansible_builder_accepts_the_execution_environment(tmp_path: Path) -> None:
    definition, context = PROJECT / "execution-environment.yml", tmp_path / "context"
    where = ("--context", context, "--output-filename", "Containerfile")
    run("ansible-builder", "create", "--file", definition, *where, home=tmp_path)
    made = (context / "Containerfile").read_text()
    stages = made.split("\nFROM ")
    assert "--require-hashes" in stages[1]
    locked = (context / "_build/configs/execution.txt").read_text()
    assert locked == (PROJECT / "requirements/execution.txt").read_text()
    # ansible-builder looks for both in the last stage, and installs none itself.
    for package in ("ansible-core==", "ansible-runner=="):
        assert package in locked


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each.name, marks=NEEDS_AWX if each.name == "awx.yml" else ())
        for each in sorted(EXAMPLES.glob("*.yml"))
    ],
)
def test_an_example_has_the_syntax_of_a_playbook(name: str, tmp_path: Path) -> None:
    run("ansible-playbook", "--syntax-check", EXAMPLES / name, home=tmp_path)


@NEEDS_AWX
def test_modules_of_awx_know_all_options_of_the_example(tmp_path: Path) -> None:
    (play,) = yaml.safe_load((EXAMPLES / "awx.yml").read_text())
    asked = [(name, set(task[name])) for task in play["tasks"] for name in task if name != "name"]
    names = sorted({name for name, _ in asked})
    known = json.loads(run("ansible-doc", "--json", *names, home=tmp_path))
    for name, options in asked:
        assert options <= set(known[name]["doc"]["options"]), name


def test_the_playbooks_of_the_examples_exist() -> None:
    text = "".join(path.read_text() for path in EXAMPLES.glob("*.yml"))
    named = {word for word in text.split() if word.startswith("playbooks/")}
    assert named == {"playbooks/site.yml"}
    assert (PROJECT / "playbooks/site.yml").exists()
