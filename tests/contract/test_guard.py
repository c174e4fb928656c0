"""What `ports.run.Guard` promises, asked of every guard; real processes where only they can
tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.locking.host_lock import FlockGuard, WaitingGuard, this_process
from holdfast.locking.job_lock import LeasedGuard
from holdfast.locking.lease import Terms
from holdfast.locking.slots import Writers
from holdfast.model.errors import ConfigInvalid, RunInFlight
from holdfast.ports.run import Guard
from tests.fakes.clock import START, FakeClock
from tests.fakes.guard import MemoryGuard
from tests.fakes.repository import MemoryRepository

OWNER_PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from holdfast.locking.host_lock import FlockGuard
guard = FlockGuard(Path(sys.argv[1]), clock=lambda: datetime.now(UTC), run_id="theirs")
with guard.hold("shop", deadline=None):
    print("held", flush=True)
    sys.stdin.read()
"""


def memory(_state: Path) -> Guard:
    return MemoryGuard()


def flock(state: Path) -> FlockGuard:
    return FlockGuard(state / "locks", clock=FakeClock(), run_id="ours")


def waiting(state: Path) -> Guard:
    return WaitingGuard(flock(state), at_most=timedelta(0))


def leased(state: Path) -> Guard:
    return LeasedGuard(flock(state), MemoryRepository(), terms())


def slotted(state: Path) -> Guard:
    store = MemoryRepository()
    writers = Writers(store, 2, terms(), at_most=timedelta(0))
    return LeasedGuard(flock(state), store, terms(), writers=writers)


def terms() -> Terms:
    return Terms(me=this_process(), run_id="ours", lease_seconds=60, clock=FakeClock())


@pytest.fixture(
    params=[memory, flock, waiting, leased, slotted], ids=lambda make: str(make.__name__)
)
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Guard:
    make: Callable[[Path], Guard] = request.param
    return make(tmp_path)


@contextmanager
def another_process_holding(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real process that owns the job `shop` until its stdin is closed or it is killed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM, str(state / "locks")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        yield owner
    finally:
        owner.kill()
        owner.communicate()


def test_a_second_run_of_the_same_job_is_refused(guard: Guard) -> None:
    with guard.hold("shop", deadline=None):
        with pytest.raises(RunInFlight, match="cannot run job 'shop'") as refused:
            guard.hold("shop", deadline=None).__enter__()
        assert refused.value.hint


def test_another_job_is_free(guard: Guard) -> None:
    with guard.hold("shop", deadline=None), guard.hold("stock", deadline=None):
        assert guard.owner("shop")
        assert guard.owner("stock")


def test_the_owner_is_known_while_it_holds_and_not_before_or_after(guard: Guard) -> None:
    assert guard.owner("shop") is None
    with guard.hold("shop", deadline=START):
        owner = guard.owner("shop")
        assert owner is not None
        assert owner["deadline"] == START.isoformat()
    assert guard.owner("shop") is None


def test_who_holds_the_job_can_prove_it(guard: Guard) -> None:
    with guard.hold("shop", deadline=None) as hold:
        hold.prove()
        hold.prove()
        assert hold.lost == ""


def test_a_run_that_fails_frees_the_job(guard: Guard) -> None:
    with pytest.raises(ZeroDivisionError), guard.hold("shop", deadline=None):
        raise ZeroDivisionError
    assert guard.owner("shop") is None
    with guard.hold("shop", deadline=None):
        pass


def test_the_lock_holds_between_processes_and_names_the_owner(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as other:
        with pytest.raises(RunInFlight, match=f"process {other.pid} has been running it since"):
            flock(tmp_path).hold("shop", deadline=None).__enter__()
        owner = flock(tmp_path).owner("shop")
        assert owner is not None
        assert (owner["pid"], owner["run_id"]) == (str(other.pid), "theirs")


def test_kill_9_of_the_owner_frees_the_job(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert flock(tmp_path).owner("shop") is None
        with flock(tmp_path).hold("shop", deadline=None):
            pass


def test_a_child_of_the_owner_does_not_keep_the_job(tmp_path: Path) -> None:
    with flock(tmp_path).hold("shop", deadline=None):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with flock(tmp_path).hold("shop", deadline=None):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_pid_that_was_given_to_somebody_else_is_not_an_owner(tmp_path: Path) -> None:
    with flock(tmp_path).hold("shop", deadline=None):
        path = tmp_path / "locks/shop.lock"
        path.write_text(path.read_text().replace('"process_started": "', '"process_started": "1'))
        assert flock(tmp_path).owner("shop") is None


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    with flock(tmp_path).hold("shop", deadline=None):
        assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "locks/shop.lock").stat().st_mode & 0o777 == 0o600


def test_a_missing_state_directory_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="No such file or directory") as refused:
        flock(tmp_path / "missing").hold("shop", deadline=None).__enter__()
    assert "state_directory" in refused.value.hint


def test_waiting_gets_the_job_as_soon_as_the_owner_ends(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as other:
        slept: list[float] = []

        def end_the_owner(seconds: float) -> None:
            slept.append(seconds)
            other.communicate(b"")

        patient = WaitingGuard(flock(tmp_path), at_most=timedelta(hours=1), sleep=end_the_owner)
        with patient.hold("shop", deadline=None):
            assert len(slept) == 1


def test_waiting_ends_at_its_limit(tmp_path: Path) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    patient = WaitingGuard(
        flock(tmp_path), at_most=timedelta(seconds=5), sleep=sleep, monotonic=lambda: now
    )
    with flock(tmp_path).hold("shop", deadline=None):
        with pytest.raises(RunInFlight):
            patient.hold("shop", deadline=None).__enter__()
        assert now == 5.0
