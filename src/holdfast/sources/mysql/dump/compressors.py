"""Compressors that are programs of the host: how each is called, and what it costs in tasks."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from holdfast.model.backup import Buffer, Compressor
from holdfast.runtime.process import CHUNK_BYTES, Child, ChildFailed
from holdfast.sources.mysql.dump.programs import located

PACKAGES = {
    Compressor.GZIP: "gzip",
    Compressor.PIGZ: "pigz",
    Compressor.ZSTD: "zstd",
    Compressor.SEVEN_ZIP: "7zip (p7zip-full before Debian 13)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressing:
    """A program and its level."""

    program: Compressor
    level: int

    def argv(self) -> list[str]:
        """From standard input to standard output; raises `ToolMissing`."""
        path = located((self.program.value,), PACKAGES[self.program])
        # One thread each: the table is what is worked on side by side, and threads are tasks.
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

    Both ends of the child are served by one thread: it never waits to write while the child
    waits to be read. Raises `ChildFailed` where the child ends before its input does, or badly.
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
        """Its own status says why, and if that is 0 it is a lie."""
        try:
            self._child.finish()
        except ChildFailed as error:
            return error
        return ChildFailed(self._child.program, 0, "it ended before its input did")
