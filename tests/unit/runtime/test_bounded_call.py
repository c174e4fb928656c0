"""A foreign program is bounded in time and output, and leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from holdfast.runtime import bounded_call, process
from holdfast.runtime.bounded_call import KEPT_BYTES, KEPT_LINES, Called, call
from tests.support.waiting import until
from tests.unit.runtime.test_process import is_running


def python(program: str, *arguments: object, seconds: float = 60) -> Called:
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    return call(argv, env={"PATH": "/usr/bin:/bin"}, timeout_seconds=seconds)


def test_it_tells_the_status_and_both_streams_in_their_order() -> None:
    called = python(
        "import sys\n"
        "print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')\n"
        "sys.exit(3)"
    )
    assert (called.status, called.in_time) == (3, True)
    assert called.output == "one | two | three"


def test_it_has_the_given_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    called = python("import os; print(sorted(os.environ))")
    assert "hunter2" not in called.output
    assert "PGPASSWORD" not in called.output
    assert "PATH" in called.output


def test_of_a_gigabyte_only_the_end_is_kept() -> None:
    tracemalloc.start()
    called = python(
        "import sys\n"
        "chunk = b'x' * (1 << 20)\n"
        "for _ in range(1024): sys.stdout.buffer.write(chunk)\n"
        "sys.stdout.buffer.write(b'\\nthe end\\n')"
    )
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert called.status == 0
    assert peak_bytes < 16 << 20
    assert called.output.endswith("the end")
    assert len(called.output) <= KEPT_BYTES


def test_only_the_last_lines_are_kept() -> None:
    lines = python("for n in range(500): print('line', n)").output.split(" | ")
    assert len(lines) == KEPT_LINES
    assert lines[-1] == "line 499"


LEAVES_A_CHILD = (
    "import subprocess, sys\n"
    "p = subprocess.Popen([sys.executable, '-c', '''%s'''])\n"
    "open(sys.argv[1], 'w').write(str(p.pid))\n"
)
SLEEPS = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
WRITES = "while True: print('x' * 4096, flush=True)"


@pytest.mark.parametrize("child", [SLEEPS, DEAF, WRITES])
def test_a_child_that_it_leaves_is_ended_with_it(tmp_path: Path, child: str) -> None:
    called = python(LEAVES_A_CHILD % child, tmp_path / "pid")
    assert (called.status, called.in_time) == (0, True)
    until(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_what_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    hangs = LEAVES_A_CHILD % DEAF + "import time; print('waiting', flush=True); time.sleep(600)"
    called = python(hangs, tmp_path / "pid", seconds=2)
    assert not called.in_time
    assert called.output == "waiting"
    until(lambda: not is_running(int((tmp_path / "pid").read_text())))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_program_that_closes_its_output_still_has_its_time() -> None:
    called = python("import os, time; os.close(1); os.close(2); time.sleep(600)", seconds=0.3)
    assert not called.in_time


def test_an_interruption_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def interrupted(child: process.Child, _tail: bytearray, *, deadline: float) -> bool:
        assert deadline > 0
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        seen.append(child.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(bounded_call, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        python(LEAVES_A_CHILD % SLEEPS + SLEEPS, tmp_path / "pid")
    until(lambda: not is_running(int((tmp_path / "pid").read_text())))
    assert not is_running(seen[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_program_that_became_another_user_has_ended_by_itself() -> None:
    """As `sudo` does: its group may not be signalled by us, not even once it has ended."""
    program = (
        "import os, sys\n"
        "from holdfast.runtime.bounded_call import call\n"
        "real = os.killpg\n"
        "def killpg(group, number):\n"
        "    os.seteuid(65534)\n"
        "    os.setresuid(65534, 65534, 0)\n"
        "    real(group, number)\n"
        "os.killpg = killpg\n"
        "print(call(['/bin/false'], env={}, timeout_seconds=60).status)\n"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")
