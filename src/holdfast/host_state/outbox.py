"""What is still to be told, as files of the state directory: each message is a file of its own."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, TypeVar, cast

from holdfast.model.checked import Length
from holdfast.model.errors import ConfigInvalid, HoldfastError
from holdfast.model.stored_json import Limits, Unreadable, line_of, parsed, typed
from holdfast.model.values import Count, Line
from holdfast.ports.notify import Begun, Message
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import (
    alone,
    discard,
    make_state_folder,
    open_private,
    replace_private,
    state_errors,
    write_all,
)

MOST_MESSAGES = 200
# How long a run may be delayed by another process that holds the lock of the counts and hangs.
PATIENCE_SECONDS = 0.5
MESSAGE = Limits(size_bytes=256 << 10, containers=100)
COUNTS = Limits(size_bytes=1 << 20, containers=10)
# Several for each job: a host may have hundreds.
Counts = Annotated[dict[Line, Count], Length(at_most=20_000)]
_T = TypeVar("_T")


class FileOutbox:
    """Obeys `ports.notify.Outbox` in `FOLDER`: `waiting/`, `running/` and files of counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._patience_seconds = PATIENCE_SECONDS
        self._waiting = folder / "waiting"
        self._running = folder / "running"

    def add(self, message: Message) -> None:
        self._make(self._waiting)
        self._newest(MOST_MESSAGES - 1)
        replace_private(self._path(message), line_of(message))

    def waiting(self) -> list[Message]:
        found: list[Message] = []
        for name in self._newest(MOST_MESSAGES):
            path = self._waiting / name
            message = _message(path)
            if message is None or message.name != path.stem:
                _drop(path, because="it is damaged")
            else:
                found.append(message)
        return found

    def _newest(self, most: int) -> list[str]:
        """The names of the newest messages, the oldest first; older ones are dropped."""
        names = self._names(self._waiting)
        beyond = max(0, len(names) - most)
        for name in names[:beyond]:
            _drop(self._waiting / name, because="too many are waiting")
        return names[beyond:]

    @contextmanager
    def claimed(self, message: Message) -> Iterator[bool]:
        with _locked(self._path(message)) as descriptor:
            yield descriptor is not None

    def remove(self, message: Message) -> None:
        discard(self._path(message))

    def failures_in_a_row(self, job: str, command: str, *, failed: bool) -> int:
        key = f"{job}/{command}"
        with self._counted("failures.json") as counts:
            counts[key] = counts.get(key, 0) + 1 if failed else 0
            return counts[key]

    def noted(self, name: str, number: int, *, replace: bool) -> int | None:
        with self._counted("noted.json") as numbers:
            before = numbers.get(name)
            if before is None or replace:
                numbers[name] = number
            return before

    def count_unsent(self, receiver: str) -> dict[str, int]:
        with self._counted("unsent.json") as counts:
            counts[receiver] = counts.get(receiver, 0) + 1
            return counts

    @contextmanager
    def running(self, begun: Begun) -> Iterator[Begun | None]:
        self._make(self._running)
        name = f"{begun.job}.{begun.command.replace(' ', '-')}.json"
        path = self._running / name
        with _locked(path, create=True) as descriptor:
            if descriptor is None:
                # Another run of this command is in progress, and keeps the record.
                yield None
                return
            earlier = _read(path, Begun)
            with state_errors(path):
                os.ftruncate(descriptor, 0)
                write_all(descriptor, line_of(begun))
            with afterwards(discard, path):
                yield earlier

    def never_ended(self) -> list[Begun]:
        found: list[Begun] = []
        for name in self._names(self._running):
            try:
                begun = _left_by_a_run(self._running / name)
            except HoldfastError as error:
                # One file that cannot be read must not hide the others.
                events.warning("run_not_read", error=error.message)
            else:
                found += [begun] if begun is not None else []
        return found

    def _path(self, message: Message) -> Path:
        return self._waiting / f"{message.name}.json"

    def _make(self, folder: Path) -> None:
        make_state_folder(self._folder)
        make_state_folder(folder)

    def _names(self, folder: Path) -> list[str]:
        with state_errors(folder):
            try:
                return sorted(name for name in os.listdir(folder) if name.endswith(".json"))
            except FileNotFoundError:
                return []

    @contextmanager
    def _counted(self, name: str) -> Iterator[dict[str, int]]:
        """The counts in a file, for one process at a time; written after the block."""
        self._make(self._folder)
        path = self._folder / name
        with ExitStack() as locked:
            try:
                locked.enter_context(alone(self._folder, seconds=self._patience_seconds))
            except ConfigInvalid:
                # The process that holds the lock is waited for once, not for each count.
                self._patience_seconds = 0.0
                raise
            counts = _read(path, cast("type[dict[str, int]]", Counts), COUNTS) or {}
            yield counts
            replace_private(path, json.dumps(counts).encode())


@contextmanager
def _locked(path: Path, *, create: bool = False) -> Iterator[int | None]:
    """A descriptor of the locked file; None if it is missing, or if another process holds it.

    The kernel releases the lock when the process ends, however it ends.
    """
    descriptor = _opened(path, create=create)
    if descriptor is None:
        yield None
        return
    with afterwards(os.close, descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # The last holder may have removed the file after we opened it.
        yield descriptor if os.fstat(descriptor).st_nlink else None


def _opened(path: Path, *, create: bool) -> int | None:
    if create:
        return open_private(path, os.O_RDWR)
    with state_errors(path):
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None


def _left_by_a_run(path: Path) -> Begun | None:
    """The run whose record is at `path`, which is removed; None if the run is in progress."""
    with _locked(path) as descriptor:
        if descriptor is None:
            return None
        begun = _read(path, Begun)
        discard(path)
        return begun


def _message(path: Path) -> Message | None:
    """None for what is no message: one file that cannot be read must not hide the others."""
    try:
        return _read(path, Message)
    except HoldfastError as error:
        events.warning("notification_not_read", error=error.message)
        return None


def _drop(path: Path, *, because: str) -> None:
    events.warning("notification_dropped", message=path.name, because=because)
    try:
        discard(path)
    except HoldfastError as error:
        # Such as a folder that somebody made there.
        events.warning("notification_not_removed", error=error.message)


def _read(path: Path, kind: type[_T], limits: Limits = MESSAGE) -> _T | None:
    """None for a file that is missing, or that holdfast did not write."""
    content = _content(path, limits.most_bytes)
    try:
        return typed(kind, parsed(content, limits)) if content else None
    except Unreadable:
        return None


def _content(path: Path, most_bytes: int) -> bytes:
    with state_errors(path):
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most_bytes + 1)
