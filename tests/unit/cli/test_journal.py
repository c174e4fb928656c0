"""`journalctl -p err` finds the error of a run; the priority never appears on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAILS = "from holdfast.cli.main import main; main()"


@pytest.mark.parametrize("is_journal", [True, False])
def test_an_error_has_its_priority_where_the_journal_reads_stderr_and_nowhere_else(
    tmp_path: Path, is_journal: bool
) -> None:
    with (tmp_path / "stderr").open("w+") as stderr:
        found = os.fstat(stderr.fileno())
        inode = found.st_ino if is_journal else found.st_ino + 1
        done = subprocess.run(
            [sys.executable, "-c", FAILS, "--config", str(tmp_path / "none.yaml"), "status"],
            env=os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{inode}"},
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        stderr.seek(0)
        said = stderr.read()
    assert done.returncode == 10
    assert said.startswith("<3>error: " if is_journal else "error: ")
    assert ("\n<3>hint: " in said) is is_journal


def test_an_event_has_the_priority_of_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.runtime import events

    monkeypatch.setattr(events, "reads_stderr", lambda: True)
    assert [events.prefix(level) for level in ("error", "warning", "info")] == [
        "<3>",
        "<4>",
        "<6>",
    ]
