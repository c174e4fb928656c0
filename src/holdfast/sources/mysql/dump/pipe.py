"""A dump and, where one was asked for, a compressor beside it: begun, watched, reaped together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from holdfast.model.backup import Buffer, Member
from holdfast.model.errors import BackupFailed
from holdfast.ports.source import CompressionStage
from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.mysql.dump.compressors import ChildCompression, Compressing
from holdfast.sources.mysql.dump.dump_command import COMPLETED
from holdfast.sources.mysql.server.address import Address
from holdfast.sources.mysql.server.client import login_file

TAIL_BYTES = 256
ALTERED = ("(1412)", "1412:", "(1146)", "1146:", "Couldn't find table")


class DumpStream:
    """What a dump program prints; read once. Obeys `ports.source.PartStream`."""

    rows = None
    members: Sequence[Member] = ()

    def __init__(
        self, dump: Child, subject: str, aborted: threading.Event, done: Callable[[], None]
    ) -> None:
        self._dump = dump
        self._subject = subject
        self._aborted = aborted
        self._done = done

    def __iter__(self) -> Iterator[Buffer]:
        tail = b""
        try:
            for chunk in self._dump.chunks():
                tail = (tail + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]
                yield chunk
        except ChildFailed as error:
            raise failure(error, self._subject, self._aborted) from error
        if COMPLETED not in tail:
            raise BackupFailed(
                f"cannot back up {self._subject}: {self._dump.program} ended without an error, "
                "and without the line that ends a dump"
            )
        self._done()


class CompressedDumpStream(DumpStream):
    """The same, whose plain bytes go through a program. Obeys `ports.source.SelfCompressing`."""

    def __init__(
        self,
        dump: Child,
        compressor: Child,
        subject: str,
        aborted: threading.Event,
        done: Callable[[], None],
    ) -> None:
        super().__init__(dump, subject, aborted, done)
        self._compression = _Named(ChildCompression(compressor), subject, aborted)

    @property
    def compression(self) -> CompressionStage:
        return self._compression


class _Named:
    """A compressor whose failure says what it was at work on."""

    def __init__(self, stage: CompressionStage, subject: str, aborted: threading.Event) -> None:
        self._stage = stage
        self._subject = subject
        self._aborted = aborted

    def feed(self, chunk: Buffer) -> Iterator[Buffer]:
        with self._translated():
            yield from self._stage.feed(chunk)

    def finish(self) -> Iterator[Buffer]:
        with self._translated():
            yield from self._stage.finish()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ChildFailed as error:
            raise failure(error, self._subject, self._aborted) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipes:
    """Every pipe of one backup; all can be ended at once.

    `login` are options that the dump program takes besides those of the `address`.
    """

    address: Address
    login: Mapping[str, str]
    compressing: Compressing | None
    endings: Cancellation = field(default_factory=Cancellation)

    @contextmanager
    def dumping(
        self,
        argv: Callable[[int], Sequence[str]],
        subject: str,
        *,
        done: Callable[[], None] = lambda: None,
    ) -> Iterator[DumpStream]:
        """Run the dump that `argv` makes of the login's descriptor; gone when the block ends.

        `done` is called when the dump has come to its end, and may still refuse it.
        """
        aborted = self.endings.aborted
        with ExitStack() as opened:
            login = opened.enter_context(login_file(self.address, more=self.login))
            dump = self._begun(opened, argv(login), pass_fds=(login,))
            if self.compressing is None:
                yield DumpStream(dump, subject, aborted, done)
                return
            compressor = self._begun(opened, self.compressing.argv(), stdin=True)
            yield CompressedDumpStream(dump, compressor, subject, aborted, done)

    def _begun(
        self,
        opened: ExitStack,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        child = opened.enter_context(running(argv, stdin=stdin, pass_fds=pass_fds))
        opened.enter_context(self.endings.registered(child.end))
        return child


def failure(error: ChildFailed, subject: str, aborted: threading.Event) -> BackupFailed:
    """Which program failed at what, and why; where the run was ended, that."""
    if aborted.is_set():
        return BackupFailed(f"cannot go on backing up {subject}: the run was ended")
    hint = ""
    if any(mark in error.stderr for mark in ALTERED):
        hint = "it was altered or dropped meanwhile; run the backup again when that is over"
    return BackupFailed(f"cannot back up {subject}: {error.message}", hint=hint)
