"""Runs a dump program and, where configured, a compressor beside it; both are reaped together."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field

from holdfast.model.backup import Buffer, Compressor
from holdfast.model.errors import BackupFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.source import CompressionStage, PartStream
from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.process import CHUNK_BYTES, Child, ChildFailed, running
from holdfast.sources.mysql.dump.programs import COMPLETED, located
from holdfast.sources.mysql.server.connection import Address, login_file

PACKAGES = {
    Compressor.GZIP: "gzip",
    Compressor.PIGZ: "pigz",
    Compressor.ZSTD: "zstd",
    Compressor.SEVEN_ZIP: "7zip (p7zip-full before Debian 13)",
}
TAIL_BYTES = 256
ALTERED = ("(1412)", "1412:", "(1146)", "1146:", "Couldn't find table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipes:
    """The pipes of one backup, which can all be ended at once.

    `login` holds options for the dump program beside or instead of those of the `address`.
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
        """Run the command that `argv` returns for the login's descriptor; reaped with the block.

        `done` is called after a complete dump, and may raise to refuse it.
        """
        aborted = self.endings.aborted
        with ExitStack() as opened:
            login = opened.enter_context(login_file(self.address, more=self.login))
            dump = self._begun(opened, argv(login), pass_fds=(login,))
            if self.compressing is None:
                yield DumpStream(dump, subject, aborted=aborted, done=done)
                return
            compressor = self._begun(opened, self.compressing.argv(), stdin=True)
            yield CompressedDumpStream(dump, compressor, subject, aborted=aborted, done=done)

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


class DumpStream(PartStream):
    """The output of a dump program; read once."""

    def __init__(
        self, dump: Child, subject: str, *, aborted: threading.Event, done: Callable[[], None]
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
                f"cannot back up {self._subject}: {self._dump.program} ended without an "
                "error, but its output lacks the last line of a dump"
            )
        self._done()


class CompressedDumpStream(DumpStream):
    """The output of a dump program whose plain bytes another program compresses."""

    def __init__(
        self,
        dump: Child,
        compressor: Child,
        subject: str,
        *,
        aborted: threading.Event,
        done: Callable[[], None],
    ) -> None:
        super().__init__(dump, subject, aborted=aborted, done=done)
        self._compression = _Named(ChildCompression(compressor), subject, aborted)

    @property
    def compression(self) -> CompressionStage:
        return self._compression


class _Named:
    """A compressor whose errors name what it was compressing."""

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


def failure(error: ChildFailed, subject: str, aborted: threading.Event) -> BackupFailed:
    """The error for a program that failed while it read `subject`, or for a run that was ended."""
    if aborted.is_set():
        return BackupFailed(f"cannot back up {subject}: the run was ended")
    hint = ""
    if any(mark in error.stderr for mark in ALTERED):
        hint = "it was altered or dropped during the backup; run the backup again when that is over"
    return BackupFailed(f"cannot back up {subject}: {error.message}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressing:
    """A compression program and its level."""

    program: Compressor
    level: int

    def argv(self) -> list[str]:
        """The command that compresses standard input to standard output; raises `ToolMissing`."""
        path = located((self.program.value,), PACKAGES[self.program])
        # One thread each: tables are dumped in parallel already, and threads count as tasks.
        options = {
            Compressor.GZIP: ["-c", f"-{self.level}"],
            Compressor.PIGZ: ["-c", f"-{self.level}", "-p", "1"],
            Compressor.ZSTD: ["-c", "-q", f"-{self.level}", "--single-thread"],
            Compressor.SEVEN_ZIP: [
                *("a", "-an", "-txz", "-si", "-so", "-bd", "-mmt=1"),
                f"-mx={self.level}",
            ],
        }
        return [path, *options[self.program]]


class ChildCompression:
    """Obeys `ports.source.CompressionStage`: plain bytes into a child, compressed ones out of it.

    One thread serves both ends of the child: it never waits to write while the child waits to be
    read. Raises `ChildFailed` where the child ends before its input does, or with an error.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._stdin = child.stdin.fileno()
        self._stdout = child.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._poll = select.poll()
        self._poll.register(self._stdin, select.POLLOUT)
        self._poll.register(self._stdout, select.POLLIN)

    def feed(self, chunk: Buffer) -> Iterator[Buffer]:
        left = memoryview(chunk)
        while left:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._stdout in ready:
                yield self._read()
            if self._stdin in ready:
                left = left[self._written(left) :]

    def finish(self) -> Iterable[Buffer]:
        self._child.stdin.close()
        yield from self._child.chunks()

    def _read(self) -> bytes:
        if chunk := os.read(self._stdout, CHUNK_BYTES):
            return chunk
        raise self._gone()

    def _written(self, left: memoryview) -> int:
        try:
            return os.write(self._stdin, left)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self._gone() from None

    def _gone(self) -> ChildFailed:
        """The error of a child that ended too early, also where its exit status is 0."""
        try:
            self._child.finish()
        except ChildFailed as error:
            return error
        return ChildFailed(self._child.program, 0, "it ended before it had read all of its input")
