"""Children are reaped, their output is read, and none is left behind."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import sys
from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing
from holdfast.runtime.process import (
    PIPE_BYTES,
    STDERR_LINES_KEPT,
    ChildFailed,
    User,
    output_of,
    running,
)
from tests.support.waiting import until


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def is_running(pid: int) -> bool:
    """Whether there is such a process that is more than an entry waiting to be reaped."""
    try:
        return not re.search(r"State:\s+Z", Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        return False


def test_what_a_program_prints_arrives_whole() -> None:
    with running(python("print('x' * 3_000_000)")) as child:
        assert sum(len(chunk) for chunk in child.chunks()) == 3_000_001


def test_a_program_writes_far_ahead_of_its_reader() -> None:
    with running(python("print('x' * 3_000_000)")) as child:
        next(child.chunks())
        assert fcntl.fcntl(child.stdout, fcntl.F_GETPIPE_SZ) == PIPE_BYTES


def test_a_failed_program_says_why_with_its_last_lines_only() -> None:
    noisy = "import sys\nfor n in range(50): print('line', n, file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(ChildFailed) as caught, running(python(noisy)) as child:
        list(child.chunks())
    assert caught.value.status == 3
    assert caught.value.stderr.count("|") == STDERR_LINES_KEPT - 1
    assert caught.value.stderr.endswith("line 49")


def test_output_before_a_failure_does_not_make_it_a_success() -> None:
    with pytest.raises(ChildFailed, match="SIGKILL"):
        output_of(python("import os; print('good so far', flush=True); os.kill(os.getpid(), 9)"))


def test_a_program_left_early_is_ended_with_its_own_children_and_reaped() -> None:
    program = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with running(python(program)) as child:
        grandchild = int(next(iter(child.chunks())))
        pid = child.pid
        assert is_running(grandchild)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    until(lambda: not is_running(grandchild))


def test_stdin_reaches_the_program_and_closing_it_ends_it(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    program = f"import sys; open({str(copy)!r}, 'wb').write(sys.stdin.buffer.read())"
    with running(python(program), stdin=True) as child:
        child.stdin.write(b"rows")
        child.finish()
    assert copy.read_bytes() == b"rows"


def test_a_program_that_is_not_installed_is_named_with_a_hint() -> None:
    with pytest.raises(ToolMissing, match="cannot run 'no-such-dump'") as caught:
        output_of(["no-such-dump", "--version"])
    assert "no-such-dump" in caught.value.hint


def test_nothing_stays_open_after_many_runs() -> None:
    def opened() -> set[str]:
        return {each.name for each in Path("/proc/self/fd").iterdir()}

    before = opened()
    for _ in range(10):
        output_of(["true"])
    # Leftovers of earlier tests may be closed during this one; a leak would be ten new numbers.
    assert len(opened() - before) < 5


def test_a_program_works_in_the_folder_that_it_is_given(tmp_path: Path) -> None:
    with running(python("import os; print(os.getcwd(), end='')"), cwd=tmp_path) as child:
        assert b"".join(child.chunks()).decode() == str(tmp_path)


def test_a_user_is_found_by_name_with_all_of_its_groups() -> None:
    here = pwd.getpwuid(os.getuid())
    found = User.named(here.pw_name)
    assert found is not None
    assert (found.user, found.group) == (here.pw_uid, here.pw_gid)
    assert set(found.groups) == set(os.getgrouplist(here.pw_name, here.pw_gid))
    assert User.named("nobody of that name") is None
