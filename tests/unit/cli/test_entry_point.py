"""How the process of the program ends: at once, but only when nothing is left to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDS = """
import atexit, sys, threading
from holdfast.cli import entry_point, main
class Late:
    def __del__(self):
        sys.stderr.write("taken apart\\n")
late = Late()
atexit.register(lambda: print("at exit"))
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, whose program is replaced by `code`."""
    program = f"{ENDS}\n{code}\nmain.main = run\nentry_point.main()"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize("code", [0, 1, 44, 255])
def test_the_process_ends_at_once_with_its_code_and_all_of_its_output(code: int) -> None:
    done = ended(f"def run():\n    print('x' * 100_000)\n    sys.exit({code})")
    assert done.returncode == code
    assert done.stdout == f"{'x' * 100_000}\nat exit\n"
    assert not done.stderr


def test_the_interpreter_waits_for_a_thread_that_still_works() -> None:
    done = ended(
        "def run():\n"
        "    end = threading.Event()\n"
        "    work = lambda: (end.wait(), print('worked'))\n"
        "    threading.Thread(target=work).start()\n"
        "    threading.main_thread().ended = threading.Timer(0.1, end.set)\n"
        "    threading.main_thread().ended.start()\n"
        "    sys.exit(3)"
    )
    assert done.returncode == 3
    assert done.stdout == "worked\nat exit\n"
    assert done.stderr == "taken apart\n"


def test_a_daemon_thread_that_hangs_does_not_keep_the_process() -> None:
    done = ended(
        "def run():\n"
        "    hung = threading.Thread(target=threading.Event().wait, daemon=True)\n"
        "    hung.start()\n"
        "    sys.exit(5)"
    )
    assert (done.returncode, done.stderr) == (5, "")


def test_an_error_outside_of_the_program_is_told_by_the_interpreter() -> None:
    done = ended("def run():\n    raise ValueError('a bug')")
    assert done.returncode == 1
    assert "ValueError: a bug" in done.stderr


def test_a_code_that_is_no_number_is_told_by_the_interpreter() -> None:
    done = ended("def run():\n    sys.exit('as text')")
    assert done.returncode == 1
    assert done.stderr.startswith("as text\n")


def test_garbage_is_looked_for_rarely_until_workers_begin() -> None:
    """Values of a backup would else stay in memory long after they were stored."""
    done = ended(
        "import gc\n"
        "from holdfast.runtime.worker_pool import WorkerPool\n"
        "def run():\n"
        "    rarely = gc.get_threshold()\n"
        "    (usual,) = WorkerPool(1).map([0], lambda _: gc.get_threshold())\n"
        "    print(rarely > usual, usual == USUAL, gc.get_freeze_count() > 0)\n"
        "import gc\n"
        "USUAL = gc.get_threshold()"
    )
    assert done.stdout.startswith("True True True\n"), done.stderr
