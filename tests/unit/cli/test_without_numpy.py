"""A host without the extra `clusters`: what it can still do, and when it is told what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing

# A process in which the library cannot be found, as on a host that never had it.
WITHOUT = """
import importlib.machinery, sys
class Hidden(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "numpy" else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Hidden
"""
PROGRAM = f"{WITHOUT}\nfrom holdfast.cli.main import main\nmain()"
HINT = "install holdfast with its extra: pip install 'holdfast[clusters]', or deploy again"
TEXT = """\
state_directory: {folder}/state
repositories:
  main: {{kind: local, path: {folder}/backups}}
jobs:
  shop:
    source: {{kind: postgres, {method}dsn: "host={folder} dbname=shop"}}
    repository: main
"""


def run(folder: Path, *words: str, method: str) -> subprocess.CompletedProcess[str]:
    config = folder / "holdfast.yaml"
    config.write_text(TEXT.format(folder=folder, method=method))
    line = [word.replace("FILE", str(config)) for word in words]
    argv = [sys.executable, "-c", PROGRAM, "--config", str(config), *line]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.parametrize("engine", ["", "engine: tools, "])
def test_config_check_names_the_job_that_needs_the_extra(tmp_path: Path, engine: str) -> None:
    done = run(tmp_path, "config", "check", "FILE", method=f"{engine}method: physical, ")
    assert done.returncode == 10
    assert (
        "line 6: jobs.shop.source.method: 'physical' needs the library numpy, which is not"
        " installed here" in done.stderr
    )
    assert HINT in done.stderr


@pytest.mark.parametrize("command", ["check", "backup"])
def test_a_job_that_needs_the_extra_ends_before_it_begins(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, "shop", method="method: physical, ")
    said = done.stdout + done.stderr
    assert done.returncode == 14, said
    assert "cannot check pages of PostgreSQL clusters: No module named 'numpy'" in said
    assert "holdfast[clusters]" in said
    assert not (tmp_path / "backups").exists()


def test_a_job_without_physical_backups_needs_no_extra(tmp_path: Path) -> None:
    assert run(tmp_path, "config", "check", "FILE", method="").returncode == 0
    (tmp_path / "backups").mkdir()
    # There is no server: the job was built, and asked for one.
    assert run(tmp_path, "check", "shop", method="").returncode == 20


@pytest.mark.parametrize(
    "module",
    [
        *("files.target", "files.source", "files.stream", "files.session_holder"),
        *("files.wal_receiver", "drill.physical"),
    ],
)
def test_all_but_the_check_of_pages_does_without_numpy(module: str) -> None:
    """A drill host restores clusters that another host has backed up."""
    program = f"{WITHOUT}\nimport holdfast.sources.postgres.{module}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_library_that_is_found_and_cannot_be_loaded_is_told_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('libgomp.so.1: no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    checks = "holdfast.sources.postgres.files.page_checksums"
    for name in [*(each for each in sys.modules if each.split(".")[0] == "numpy"), checks]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ToolMissing, match=r"pages of PostgreSQL clusters: .*libgomp") as raised:
        import_module(checks)
    assert "holdfast[clusters]" in raised.value.hint
