"""The measured program is the console script that the package declares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.program import holdfast_command, project_version


def test_the_command_line_starts_the_declared_program() -> None:
    line = f"{holdfast_command()} --version"

    here = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True, env=here)

    assert done.stdout.split() == ["holdfast", project_version()]
