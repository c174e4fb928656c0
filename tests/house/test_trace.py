"""From `holdfast backup` to the first byte, a reader opens few files and rarely goes back."""

from __future__ import annotations

import subprocess
import sys

from tests.house.project import PROJECT

MOST_FILES = 12
MOST_RETURNS = 4


def test_the_way_from_the_command_to_the_first_byte_is_short() -> None:
    # In its own process: it changes the table of sources, and sets the process's only profiler.
    ended = subprocess.run(
        [sys.executable, "-m", "tests.house.trace"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = ended.stderr.splitlines()
    assert len([each for each in told if each.startswith("file ")]) in range(5, MOST_FILES + 1)
    assert len([each for each in told if each.startswith("return ")]) in range(1, MOST_RETURNS + 1)
