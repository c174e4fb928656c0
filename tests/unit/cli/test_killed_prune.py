"""After a prune, an upload or a repair was killed at any step, the next one completes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.waiting import until

PROJECT = Path(__file__).resolve().parents[3]
PROGRAM = """
from tests.fakes.source import FakeSource, table
from holdfast.wiring import sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings

def source(*_):
    found = FakeSource(table("orders", "1,ann", "2,bob"), table("items", "1,9"))
    found.values = {b"x" * 1000, b"y" * 1000}
    return found

wiring_sources.SOURCES[PostgresSettings] = source
main()
"""


def killed(cli: CommandLine, failpoint: str, *arguments: str) -> None:
    """A real process that dies at `failpoint`."""
    code, stderr = ended(cli, failpoint, *arguments)
    assert code == -signal.SIGKILL, stderr


def ended(cli: CommandLine, failpoint: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a real process that dies if it reaches `failpoint`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--config", str(cli.config), *arguments],
        cwd=PROJECT,
        env={**os.environ, "HOLDFAST_FAILPOINT": failpoint},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def files(cli: CommandLine) -> set[str]:
    """What is stored of backups; who may write is noted elsewhere."""
    found: Iterable[Path] = cli.repository.glob("shop/**/*")
    return {str(path.relative_to(cli.repository)) for path in found if path.is_file()}


def of_good_backups(cli: CommandLine) -> set[str]:
    """The objects of the listed backups, each of which is verified and restored first."""
    listed = cli.holdfast("list", "--json").document
    assert listed["damaged"] == []
    expected: set[str] = set()
    for each in listed["backups"]:
        backup_id = each["backup"]
        assert cli.holdfast("verify", backup_id).exit_code == 0
        restored = cli.holdfast("restore", backup_id, "--to", "fake://target", "--overwrite")
        assert restored.exit_code == 0, restored.stderr
        manifest = cli.holdfast("show", backup_id, "--json").document["manifest"]
        expected.add(f"{backup_id}/manifest.json")
        expected |= {piece["key"] for piece in (*manifest["parts"], *manifest["blobs"])}
    return expected


def repaired(cli: CommandLine) -> None:
    """Unreferenced values stay for a grace time, here a second; all else is removed at once."""
    expected = of_good_backups(cli)

    def is_clean() -> bool:
        assert cli.holdfast("repair", "shop").exit_code == 0
        return files(cli) == expected

    until(is_clean)


def with_short_grace(cli: CommandLine) -> None:
    text = cli.config.read_text()
    cli.config.write_text(text.replace("retention:", "blob_grace: 1s\n    retention:"))


@pytest.fixture
def pruned_cli(cli: CommandLine) -> CommandLine:
    """Four backups, of which retention keeps one, and values that only the old ones use."""
    with_short_grace(cli)
    cli.source.values = {b"z" * 1000}
    for _ in range(2):
        cli.holdfast("backup", "shop")
    cli.source.values = {b"x" * 1000}
    for _ in range(2):
        cli.holdfast("backup", "shop")
    return cli


STEPS = [
    "prune-marked",
    "prune-manifest-dropped",
    "prune-manifest-dropped:3",
    "prune-part-dropped",
    "prune-part-dropped:4",
    "prune-backup-dropped:3",
    "lease-put",
    "lease-held",
    "lease-put:2",
]


@pytest.mark.parametrize("failpoint", STEPS)
def test_a_prune_killed_anywhere_is_finished_by_the_next(
    pruned_cli: CommandLine, failpoint: str
) -> None:
    killed(pruned_cli, failpoint, "prune", "shop")
    of_good_backups(pruned_cli)
    assert pruned_cli.holdfast("prune", "shop").exit_code == 0
    # The rule keeps the newest one, which is also the newest verified one.
    assert len(pruned_cli.holdfast("list", "--json").document["backups"]) == 1
    repaired(pruned_cli)


def test_a_prune_killed_among_values_is_finished_by_the_next(pruned_cli: CommandLine) -> None:
    pruned_cli.holdfast("prune", "shop")
    # Before the end of the grace time there is no value to drop, and no place to be killed at.
    until(lambda: ended(pruned_cli, "prune-blob-dropped", "prune", "shop")[0] == -signal.SIGKILL)
    of_good_backups(pruned_cli)
    assert pruned_cli.holdfast("prune", "shop").exit_code == 0
    repaired(pruned_cli)


@pytest.mark.parametrize(
    "failpoint",
    [
        "lease-put",
        "lease-held",
        "backup-locked",
        "backup-swept",
        "snapshot-taken",
        "part-begun",
        "part-stored",
        "blob-stored",
        "parts-stored",
        "manifest-stored",
    ],
)
def test_after_an_upload_killed_anywhere_repair_leaves_no_leftover(
    cli: CommandLine, failpoint: str
) -> None:
    with_short_grace(cli)
    cli.holdfast("backup", "shop")
    killed(cli, failpoint, "backup", "shop")
    repaired(cli)
    assert len(cli.holdfast("list", "--json").document["backups"]) == (
        2 if failpoint == "manifest-stored" else 1
    )
