"""What each command loads before it does anything: a server starts it for every segment of WAL.

Modules are counted, not seconds, and texts that are compiled: methods of dataclasses, and
annotations that are read. The counts may only fall.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.memory_cluster import DataDirectory

SEGMENT = "000000010000000000000001"
PROGRAM = """
import atexit, sys
texts = []
sys.addaudithook(
    lambda event, found: texts.append(1)
    if event == "compile" and found[1] in ("<string>", b"<string>")
    else None
)
atexit.register(lambda: print(len(texts), *sys.modules, file=sys.stderr))
from holdfast.cli.main import main
main()
"""
# Each takes longer to load than such a command may run, or a tenth of that.
SLOW = {
    *("typer", "rich", "pydantic", "stamina", "tenacity", "psycopg", "pymysql", "crc32c"),
    *("dataclasses", "inspect", "hashlib", "secrets", "lzma", "shutil", "pyrage"),
}
MOST = {
    "--version": (104, 4),
    "list": (222, 20),
    "list --json": (222, 20),
    "show shop/latest": (223, 37),
    "status": (237, 46),
    f"wal push shop pg_wal/{SEGMENT}": (226, 25),
    f"wal get shop {SEGMENT} pg_wal/RECOVERYXLOG": (224, 27),
}
"""The most modules of each command, and the most texts: a dataclass in use has three to six."""


def loaded(
    cli: CommandLine, line: str, folder: Path, *, check: bool = True
) -> tuple[int, set[str]]:
    """The texts that a process of its own compiled, and the modules that it has at its end."""
    config = [] if line.startswith("-") else ["--config", str(cli.config)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *config, *line.split()],
        check=check,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    texts, *modules = done.stderr.splitlines()[-1].split()
    return int(texts), set(modules)


@pytest.fixture
def server(cli: CommandLine, tmp_path: Path) -> DataDirectory:
    """A server with an archived segment and a backup."""
    data = DataDirectory(tmp_path / "data")
    assert cli.holdfast("wal", "push", "shop", str(data.finish(SEGMENT))).exit_code == 0
    assert cli.holdfast("backup", "shop").exit_code == 0
    return data


@pytest.mark.parametrize("line", MOST)
def test_a_short_command_loads_little(cli: CommandLine, server: DataDirectory, line: str) -> None:
    texts, found = loaded(cli, line, server.data)
    assert not SLOW & found
    modules_at_most, texts_at_most = MOST[line]
    assert len(found) <= modules_at_most
    assert texts <= texts_at_most


def test_a_backup_loads_nothing_of_its_command_line(cli: CommandLine, tmp_path: Path) -> None:
    _, found = loaded(cli, "backup nosuch", tmp_path, check=False)
    assert not {"typer", "rich", "pydantic"} & found


@pytest.mark.parametrize(
    "line",
    [
        ["status", "--help"],
        ["stat"],
        ["status", "--max-age", "soon"],
        ["status", "shop", "crm"],
        ["wal", "push", "shop"],
        ["wal", "get", "shop", SEGMENT, "there", "--at-once", "65"],
        ["wal", "push", "shop", SEGMENT, "--cluster", "none"],
        ["wal", "get", "shop", SEGMENT, "there", "--tablespaces", "relative/folder"],
        ["list", "--jso"],
    ],
    ids=" ".join,
)
def test_what_is_unusual_about_a_line_is_told_by_typer(cli: CommandLine, line: list[str]) -> None:
    answer = cli.holdfast(*line)
    is_help = "--help" in line
    assert answer.exit_code == (0 if is_help else 152 if "get" in line else 2)
    assert "Usage: " in (answer.stdout if is_help else answer.stderr)


def test_options_of_a_usual_line_have_the_values_that_typer_gives_them(
    cli: CommandLine, server: DataDirectory
) -> None:
    path = str(server.wal / SEGMENT)
    usual = cli.holdfast("wal", "push", "shop", path, "--json", "--at-once", "2", "--cluster", "77")
    by_typer = cli.holdfast("wal", "push", "shop", path, "--json", "--at-once=2", "--cluster=77")
    assert usual.exit_code == by_typer.exit_code == 0
    assert usual.document | {"seconds": 0} == by_typer.document | {"seconds": 0}
