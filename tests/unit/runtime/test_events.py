from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
from holdfast.runtime.events import reached
for number in range(3):
    print(number, flush=True)
    reached("part-stored")
"""


@pytest.mark.parametrize(
    ("asked", "printed", "status"),
    [
        ("part-stored", "0\n", -signal.SIGKILL),
        ("part-stored:2", "0\n1\n", -signal.SIGKILL),
        ("part-begun", "0\n1\n2\n", 0),
        ("", "0\n1\n2\n", 0),
    ],
)
def test_the_process_dies_at_the_place_and_time_that_was_asked_for(
    asked: str, printed: str, status: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"HOLDFAST_FAILPOINT": asked, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == (printed, status)


def test_a_process_that_stops_at_a_failpoint_continues_when_it_is_told_to() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={"HOLDFAST_FAILPOINT": "part-stored:2:stop", "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        _, status = os.waitpid(running.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        running.send_signal(signal.SIGCONT)
        printed, _ = running.communicate()
    assert (printed, running.returncode) == ("0\n1\n2\n", 0)
