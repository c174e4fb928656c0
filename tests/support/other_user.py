"""Run code as a user who is neither root nor the one running the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
# The program calls `step_down()` after its imports, as the project may be unreadable for others.
STEP_DOWN = f"""
import os
def step_down():
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""


def told_as_nobody(program: str, *arguments: str) -> str:
    """The output of a Python program that becomes `nobody` when it calls `step_down()`."""
    done = subprocess.run(
        [sys.executable, "-c", STEP_DOWN + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may read, unlike pytest's own, or TMPDIR."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path
