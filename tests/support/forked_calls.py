"""A server of calls: the program is loaded once, and each call is a process forked from it.

Run as `python -m tests.support.forked_calls FOLDER`, it reads one JSON call per line and answers
with the exit code. The standard streams are real, and so is the way in which Python ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from typer.main import get_command

import holdfast
from holdfast.cli import main, typer_program
from holdfast.config.sources import PostgresSettings
from holdfast.wiring import sources as wiring_sources
from tests.fakes.source import FakeSource, FakeTarget, table

NAMES = ("stdin", "stdout", "stderr")
CONFIG = """\
state_directory: {folder}/state
sessions: {{socket: {folder}/no-daemon.sock}}
repositories:
  main: {{kind: local, path: {folder}/repository}}
  offsite: {{kind: local, path: {folder}/offsite}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "dbname=shop"}}
    repository: main
    retention: {{last: 1}}
  farm:
    source: {{kind: postgres, dsn: "host=/nowhere dbname=farm", method: physical}}
    repository: main
"""


def make_installation(folder: Path) -> None:
    """Write a configuration, and create empty repositories."""
    for name in ("state", "repository", "offsite"):
        (folder / name).mkdir(parents=True)
    (folder / "holdfast.yaml").write_text(CONFIG.format(folder=folder))


def _load_everything() -> None:
    """Load all modules once, since imports take most of a command's time."""
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        importlib.import_module(module.name)
    get_command(typer_program.program([]))
    gc.freeze()


def _serve(folder: Path) -> None:
    _load_everything()
    wiring_sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(table("orders", "1", "2"))
    wiring_sources.TARGETS["fake"] = {"fake": lambda *_: FakeTarget()}
    kept = folder.with_name(f"{folder.name}-kept")
    shutil.copytree(folder, kept)
    for line in sys.stdin:
        call = json.loads(line)
        if not call["keeps"]:
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            _run(call["arguments"], call["streams"])
        _, status = os.waitpid(child, 0)
        if call["keeps"]:
            shutil.rmtree(kept)
            shutil.copytree(folder, kept)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def _run(arguments: Sequence[str], streams: Sequence[str]) -> None:
    sys.argv = ["holdfast", *arguments]
    for number, way in enumerate(streams):
        _lead(number, way)
    for number, name in enumerate(NAMES):
        setattr(sys, name, _as_python_opens(number))
        setattr(sys, f"__{name}__", getattr(sys, name))
    # It leaves by SystemExit, and runs everything that Python does at its end.
    main.main()


def _lead(number: int, way: str) -> None:
    """Redirect descriptor `number` as `way` says."""
    if way == "closed":
        os.close(number)
        return
    if way == "a broken pipe":
        reader, end = os.pipe()
        os.close(reader)
    else:
        end = os.open({"full": "/dev/full", "fine": "/dev/null"}[way], os.O_RDWR)
    os.dup2(end, number)
    os.close(end)


def _as_python_opens(number: int) -> TextIO | None:
    """The stream that the interpreter opens on descriptor `number` when it starts."""
    try:
        os.fstat(number)
    except OSError:
        return None
    return open(number, "w" if number else "r", closefd=False)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
