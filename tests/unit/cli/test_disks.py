"""Exit codes and messages for real disks that are full or read-only.

Each case has a mount namespace of its own, in which a small file system stands for the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.memory_cluster import DataDirectory

PROJECT = Path(__file__).resolve().parents[3]
ONE = "000000010000000000000001"
# Root of the test's own user namespace may mount, whichever user runs the tests.
ALONE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
# A database that runs a shell command after its snapshot is open, and when a table is read.
PROGRAM = """
import contextlib, os, subprocess, sys
from tests.fakes.source import FakeSource, table
from holdfast.wiring import sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings

at_open, at_read = sys.argv[1:3]
del sys.argv[1:3]

class Rows(FakeSource):
    @contextlib.contextmanager
    def open(self, **given):
        with super().open(**given) as snapshot:
            subprocess.run(at_open, shell=True, check=True)
            read = snapshot.read
            @contextlib.contextmanager
            def reading(part):
                with read(part) as stream:
                    subprocess.run(at_read, shell=True, check=True)
                    yield stream
            type(snapshot).read = lambda _, part: reading(part)
            yield snapshot

rows = [os.urandom(30000).hex() for _ in range(20)]
wiring_sources.SOURCES[PostgresSettings] = lambda *_: Rows(table("orders", *rows))
main()
"""
FILL = "cat /dev/zero > {}/filler 2>/dev/null || true"
READ_ONLY = "mount -o remount,bind,ro {}"


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module", autouse=True)
def _may_mount() -> None:
    tried = subprocess.run([*ALONE, "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this host lets nobody mount in a namespace: {tried.stderr.decode()}")


def on_small_disk(
    cli: CommandLine,
    folder: Path,
    *arguments: str,
    before: str = "true",
    at_open: str = "true",
    at_read: str = "true",
) -> Ended:
    """Run the program with a disk of 2 MiB at `folder`, with the files that were there."""
    kept = cli.folder / "kept"
    script = (
        f"mkdir {kept} && cp -a {folder}/. {kept}"
        f" && mount -t tmpfs -o size=2m,mode=700 none {folder}"
        f' && cp -a {kept}/. {folder} && {before} && exec "$@"'
    )
    call = [sys.executable, "-c", PROGRAM, at_open, at_read, "--config", str(cli.config)]
    done = subprocess.run(
        [*ALONE, "sh", "-c", script, "sh", *call, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def error_of(ended: Ended) -> str:
    return next(line for line in ended.stderr.splitlines() if line.startswith("error: "))


@pytest.mark.parametrize(
    ("change", "code", "moment"),
    [
        (FILL, 51, "before"),
        (FILL, 51, "at_open"),
        (FILL, 51, "at_read"),
        (READ_ONLY, 52, "before"),
        # Not later: a disk with a file that is being written refuses to be made read-only.
        (READ_ONLY, 52, "at_open"),
    ],
)
def test_a_repository_that_cannot_be_written_is_told_as_such_at_every_moment(
    cli: CommandLine, moment: str, change: str, code: int
) -> None:
    how = {moment: change.format(cli.repository)}
    ended = on_small_disk(cli, cli.repository, "backup", "shop", **how)
    assert ended.code == code, ended.stderr
    assert error_of(ended).startswith("error: cannot store")


@pytest.mark.parametrize(
    ("change", "code"), [(FILL, 51), (READ_ONLY, 52)], ids=["full", "read-only"]
)
@pytest.mark.parametrize(
    "command", [["backup", "shop"], ["repair", "shop"], ["prune", "shop"]], ids=" ".join
)
def test_a_state_folder_that_cannot_be_written_is_told_as_such(
    cli: CommandLine, command: list[str], change: str, code: int
) -> None:
    for _ in range(2):
        assert cli.holdfast("backup", "shop").exit_code == 0
    state = cli.folder / "state"
    ended = on_small_disk(cli, state, *command, before=change.format(state))
    assert ended.code == code, ended.stderr
    assert f"cannot use state directory file '{state}/" in error_of(ended)


def test_a_state_folder_that_fills_up_during_a_run_is_reported_as_such(cli: CommandLine) -> None:
    state = cli.folder / "state"
    ended = on_small_disk(cli, state, "backup", "shop", at_open=FILL.format(state))
    assert ended.code == 51, ended.stderr
    assert f"cannot use state directory file '{state}/" in error_of(ended)


@pytest.mark.parametrize(
    "command", ["list", "status", "du", "show shop/latest", "verify shop/latest"]
)
def test_what_only_looks_needs_nothing_that_can_be_written(cli: CommandLine, command: str) -> None:
    assert cli.holdfast("backup", "shop").exit_code == 0
    for folder in (cli.folder / "state", cli.repository):
        ended = on_small_disk(cli, folder, *command.split(), before=READ_ONLY.format(folder))
        assert ended.code == 0, ended.stderr
        (cli.folder / "kept").rename(cli.folder / f"kept-{folder.name}")


@pytest.mark.parametrize(("change", "code"), [(FILL, 51), (READ_ONLY, 52)])
def test_a_check_says_why_a_put_failed(cli: CommandLine, change: str, code: int) -> None:
    ended = on_small_disk(
        cli, cli.repository, "check", "shop", "--json", before=change.format(cli.repository)
    )
    document = json.loads(ended.stdout)
    (found,) = [each for each in document["jobs"][0]["findings"] if each["problem"]]
    assert (ended.code, found["subject"]) == (code, "repository")
    assert found["problem"].startswith("cannot store 'check-")


@pytest.mark.parametrize(("change", "code"), [(FILL, 51), (READ_ONLY, 52)])
def test_a_server_hears_why_its_wal_was_not_archived(
    cli: CommandLine, change: str, code: int
) -> None:
    path = DataDirectory(cli.folder / "data").finish(ONE)
    repository = cli.repository
    ended = on_small_disk(
        cli, repository, "wal", "push", "shop", str(path), before=change.format(repository)
    )
    assert ended.code == code, ended.stderr


@pytest.mark.parametrize("change", [FILL, READ_ONLY])
def test_a_server_stops_where_its_wal_cannot_be_put(cli: CommandLine, change: str) -> None:
    server = DataDirectory(cli.folder / "data")
    assert cli.holdfast("wal", "push", "shop", str(server.finish(ONE))).exit_code == 0
    there = f"{server.wal}/RECOVERYXLOG"
    argv = ("wal", "get", "shop", ONE, there, "--cluster", "77")
    (server.wal / ONE).unlink()
    ended = on_small_disk(cli, server.wal, *argv, before=change.format(server.wal))
    assert ended.code == 150 + 32, ended.stderr
