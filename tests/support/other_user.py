"""Another user: what a test lets somebody try who is neither root nor who runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
# A program calls `step_down()` after its imports: the project may lie where nobody else can look.
STEP_DOWN = f"""
import os
def step_down():
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""


def told_as_nobody(program: str, *arguments: str) -> str:
    """What a Python program prints that becomes `nobody` where it says `step_down()`."""
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
    """A folder that everybody may look into; pytest's own are closed, as TMPDIR may be."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path
