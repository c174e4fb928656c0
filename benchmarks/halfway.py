"""Leave a backup half done, as a power cut would: `halfway.py CONFIG JOB`, on the measured host.

The session daemon is started where none answers; it has to outlive whoever is killed here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

PROGRAM = "from holdfast.cli.main import main; main()"
DAEMON = "from holdfast.sessiond.main import main; main()"
PATIENCE_SECONDS = 10.0


def main(config: str, job: str) -> int:
    """0 once the run was killed with half of its bytes stored."""
    _listening(config)
    planned = subprocess.run(_asked(config, "plan", job, "--json"), check=True, capture_output=True)
    sizes = [table["estimated_bytes"] for table in json.loads(planned.stdout)["tables"]]
    done = subprocess.run(
        _asked(config, "backup", job),
        env=os.environ | {"HOLDFAST_FAILPOINT": f"part-stored:{parts_in_half(sizes)}"},
        check=False,
        capture_output=True,
    )
    return 0 if done.returncode == -signal.SIGKILL else 1


def parts_in_half(sizes: Sequence[int]) -> int:
    """How many parts, taken in this order, hold half of all bytes."""
    rest = sum(sizes) / 2
    for number, size in enumerate(sizes, start=1):
        rest -= size
        if rest <= 0:
            return number
    return len(sizes)


def _listening(config: str) -> None:
    asking = _asked(config, "session", "list")
    if subprocess.run(asking, check=False, capture_output=True).returncode == 0:
        return
    subprocess.Popen(
        [sys.executable, "-c", DAEMON, "--config", config],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while subprocess.run(asking, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise SystemExit("the session daemon does not answer")


def _asked(config: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "--config", config, *arguments]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
