"""One object is damaged in thousands of ways; all other objects stay usable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.depth import deep

PROJECT = Path(__file__).resolve().parents[3]
BATCHES, EACH = deep(10, sample=1), deep(300, sample=12)
# A case takes half a second on an idle machine; the program ends and reports a hanging one.
SECONDS_EACH = 30


@pytest.mark.parametrize("first", [batch * EACH for batch in range(BATCHES)])
def test_one_damaged_object_harms_no_other_and_ends_no_command_unforeseen(
    tmp_path: Path, first: int
) -> None:
    """No traceback, no hang, less than 300 MiB of memory, no write outside the requested places,
    and every other backup is listed and complete."""
    argv = [sys.executable, "-m", "tests.unit.damage.run", str(tmp_path), str(first), str(EACH)]
    done = subprocess.run(
        argv,
        check=False,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=EACH * SECONDS_EACH + 60,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
