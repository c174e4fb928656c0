"""Run a script that takes a volume snapshot inside a base backup."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import BackupFailed, DeadlineExceeded, HoldfastError, TargetNotEmpty
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.cleanup import (
    Ended as EndedHere,
    afterwards,
    endable,
    on_failure,
    periodically,
)
from holdfast.runtime.files import PRIVATE_FOLDER, make_folder
from holdfast.runtime.kernel import start
from holdfast.runtime.process import Child, ChildFailed, running

if TYPE_CHECKING:
    from holdfast.ports.sessions import Begun, Bracket, Bracketed, Ended

LOOK_SECONDS = 5.0
STDERR_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """The `script` to run, and the folder `labels` for the files that its snapshot needs."""

    job: str
    script: Path
    labels: Path
    label: str
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """The finished base backup; the script's snapshot needs the files in `labels`."""

    job: str
    labels: Path
    begun: Begun
    ended: Ended
    ended_at: datetime
    script_seconds: float


def snapshot(
    request: SnapshotRequest,
    bracket: Bracket,
    *,
    clock: Callable[[], datetime],
    told: Callable[[bytes], object],
    look_seconds: float = LOOK_SECONDS,
) -> SnapshotReport:
    """Begin a base backup, run the script, end the backup and keep its labels.

    `told` gets the script's output. The backup is ended on the server in any case. Raises
    `BackupFailed` with the script's last lines if it fails, `DeadlineExceeded`, `TargetNotEmpty`
    if the folder is not empty, and what `Bracket` raises. After an error the snapshot is unusable.
    """
    made, ends = _prepared(request.labels), _after(request.timeout)
    with on_failure(_remove_if, made, request.labels), ExitStack() as stack:
        with _in_time(request):
            opened = stack.enter_context(bracket.open(request.label))
        began = time.monotonic()
        _run(request, _Looks(opened, ends, look_seconds), told)
        seconds = round(time.monotonic() - began, 3)
        ended = opened.end(str(request.labels))
        return SnapshotReport(
            job=request.job,
            labels=request.labels,
            begun=opened.holding.begun,
            ended=ended,
            ended_at=clock(),
            script_seconds=seconds,
        )


def _after(span: timedelta | None) -> float | None:
    return None if span is None else time.monotonic() + span.total_seconds()


@contextmanager
def _in_time(request: SnapshotRequest) -> Iterator[None]:
    """Limit a block that waits for the server in the main thread; raises `DeadlineExceeded`."""
    if request.timeout is None:
        yield
        return
    with endable() as end:
        timer = threading.Timer(request.timeout.total_seconds(), end)
        timer.daemon = True
        start(timer)
        with afterwards(timer.cancel):
            try:
                yield
            except EndedHere as error:
                raise DeadlineExceeded(
                    f"cannot take a snapshot with '{request.script}': it took longer than"
                    f" {request.timeout}, and the backup was not started yet"
                    f"{f': {error.doing}' if error.doing else ''}",
                    hint="raise the job's timeout",
                ) from error


def _remove_if(made: bool, folder: Path) -> None:  # noqa: FBT001 - what `_prepared` said
    """Remove the folder if we made it, unless the script has put files there."""
    with suppress(OSError):
        if made:
            folder.rmdir()


def environment(request: SnapshotRequest, opened: Bracketed) -> dict[str, str]:
    """The variables that the script gets in addition to our own environment."""
    begun = opened.holding.begun
    return {
        "HOLDFAST_JOB": request.job,
        "HOLDFAST_SESSION": opened.holding.session_id,
        "HOLDFAST_LABEL": request.label,
        "HOLDFAST_LABEL_DIR": str(request.labels),
        "HOLDFAST_START_LSN": begun.start_lsn,
        "HOLDFAST_START_WAL": begun.start_wal_file,
        "HOLDFAST_TIMELINE": str(begun.anchor.timeline),
        "HOLDFAST_TABLESPACES": json.dumps(dict(opened.tablespaces)),
        "PGDATA": opened.data,
    }


@dataclass(frozen=True, slots=True)
class _Looks:
    """The session to watch while the script runs, the deadline, and the interval."""

    opened: Bracketed
    ends: float | None
    pause_seconds: float


def _run(request: SnapshotRequest, looks: _Looks, told: Callable[[bytes], object]) -> None:
    env = dict(os.environ) | environment(request, looks.opened)
    try:
        with running([str(request.script)], env=env, stderr_lines=STDERR_LINES) as child:
            watch = _Watch(child, looks, request)
            with periodically(watch.look, pause=lambda: looks.pause_seconds, name="tender"):
                try:
                    for chunk in child.chunks():
                        told(chunk)
                except ChildFailed as error:
                    # If we ended the script, the problem that we found is the cause.
                    raise watch.cause_of(error) from error
                watch.require_well()
    except ChildFailed as error:
        raise BackupFailed(
            f"cannot take a snapshot with '{request.script}': {error.message}",
            hint="the backup was ended on the server; remove what the script left behind",
        ) from error
    except PermissionError as error:
        raise BackupFailed(
            f"cannot run '{request.script}': {os.strerror(error.errno or 0)}",
            hint=f"chmod +x '{request.script}'",
        ) from error
    except OSError as error:
        raise BackupFailed(
            f"cannot run '{request.script}': {os.strerror(error.errno or 0)}",
            hint="begin the script with #!/bin/sh",
        ) from error


class _Watch:
    """Watches the session while the script runs; ends the script once its snapshot is useless."""

    def __init__(self, child: Child, looks: _Looks, request: SnapshotRequest) -> None:
        self._child = child
        self._opened = looks.opened
        self._request = request
        self._ends = looks.ends
        self._problem: HoldfastError | None = None

    def look(self) -> bool:
        """Check session and deadline; returns whether a problem was found and the script ended."""
        try:
            self._opened.holding.look()
            if self._ends is not None and time.monotonic() >= self._ends:
                raise DeadlineExceeded(
                    f"cannot take a snapshot with '{self._request.script}': it took longer than"
                    f" {self._request.timeout}",
                    hint="raise the job's timeout",
                )
        except HoldfastError as error:
            self._problem = error
            self._child.end()
        return self._problem is not None

    def cause_of(self, failed: ChildFailed) -> HoldfastError:
        """The problem that made us end the script, else its own error."""
        return self._problem or failed

    def require_well(self) -> None:
        if self._problem is not None:
            raise self._problem


def _prepared(folder: Path) -> bool:
    """Make the folder; returns whether it was missing. Raises `TargetNotEmpty`, `BackupFailed`."""
    try:
        if folder.is_dir():
            if any(folder.iterdir()):
                raise TargetNotEmpty(
                    f"cannot store labels in '{folder}': it contains files",
                    hint="name another folder with --labels: each snapshot needs its own",
                )
            return False
        make_folder(folder, above=PRIVATE_FOLDER)
    except OSError as error:
        raise BackupFailed(
            f"cannot create '{folder}': {os.strerror(error.errno or 0)}",
            hint="with --labels, name a folder that this user may create",
        ) from error
    return True
