"""Leave a backup half done, as a power cut would.

On the measured host: `python -m benchmarks.halfway CONFIG JOB PID_FILE`.

The session daemon is started where none answers; it has to outlive the process that is killed here.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.program import arguments_of, holdfast_here
from holdfast.config.load import load
from holdfast.host_state.runs import FileJournal

PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.02


def main(config: str, job: str, pid_file: str) -> int:
    """Return 0 once the run was killed with half of its bytes stored.

    The parts that its workers were writing are lost, as in a power cut.
    """
    _listening(config, Path(pid_file))
    planned = subprocess.run(
        holdfast_here(config, "plan", job, "--json"), check=True, capture_output=True
    )
    wanted = sum(table["estimated_bytes"] for table in json.loads(planned.stdout)["tables"]) / 2
    journal = FileJournal(load(Path(config)).state_directory / "unfinished")
    asked = holdfast_here(config, "backup", job)
    with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None:
            if _stored_bytes(journal, job) >= wanted:
                running.kill()
                return 0 if running.wait() == -signal.SIGKILL else 1
            time.sleep(LOOK_SECONDS)
    return 1


def _stored_bytes(journal: FileJournal, job: str) -> int:
    return sum(part.plain_bytes for each in journal.unfinished(job) for part in each.parts)


def _listening(config: str, pid_file: Path) -> None:
    asking = holdfast_here(config, "session", "list")
    if subprocess.run(asking, check=False, capture_output=True).returncode == 0:
        return
    daemon = subprocess.Popen(
        [sys.executable, *arguments_of("holdfast-sessiond"), "--config", config],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid_file.write_text(str(daemon.pid))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while subprocess.run(asking, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise SystemExit("the session daemon does not answer")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
