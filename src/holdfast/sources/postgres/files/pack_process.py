"""A process of our own that reads packs of small files beside the threads of a run.

Each small file takes some steps of Python between short calls of the kernel, and the threads of one
process take turns at them. A second process needs no turn.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path

import holdfast
from holdfast.model.backup import Buffer
from holdfast.model.errors import BackupFailed, TasksRefused, ToolMissing
from holdfast.model.stored_json import parsed
from holdfast.ports.source import PartStream
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.process import Child, ChildFailed, running, widened
from holdfast.sources.postgres.files.entries import Entries, Entry
from holdfast.sources.postgres.files.file_reader import CHUNK_BYTES, Reader
from holdfast.sources.postgres.files.pack_program import CONTENT, FAILED, FRAME, MEMO, request

# The process takes as long to start as so many files take to be read.
WORTHWHILE_FILES = 4000
# Its modules lie where ours do. It loads nothing that an installation loads at each start.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:];"
    " from holdfast.sources.postgres.files.pack_program import main;"
    " sys.exit(main(sys.argv[1]))"
)
_ABOVE = str(Path(holdfast.__file__).parents[1])
# The memo of a pack of whose pages all are bad takes less.
_MOST_BYTES = {CONTENT: CHUNK_BYTES, MEMO: 64 << 20, FAILED: 1 << 20}
# numpy would start a thread for each core, for arithmetic that it is not asked for here.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
# Its letter, and what it holds until the next one is read.
Frame = tuple[bytes, memoryview]


class PackProcess:
    """At most one process, which reads one pack at a time; made by `pack_process`."""

    def __init__(self, stack: ExitStack, *, workers: int, checks_pages: bool) -> None:
        self._stack = stack
        # A single worker is to take no more than one core.
        self._is_wanted = workers > 1 and len(os.sched_getaffinity(0)) > 1
        self._checks_pages = checks_pages
        self._child: Child | None = None
        self._turn = threading.Lock()

    def counting(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass `entries` on; the process starts once there are enough of them."""
        for number, entry in enumerate(entries):
            if number == WORTHWHILE_FILES:
                self.begin()
            yield entry

    def begin(self) -> None:
        """Start the process, from the thread that made this object; does nothing if it is not
        wanted, or if the kernel refuses it."""
        if not self._is_wanted:
            return
        # File names have to be read as this process reads them.
        argv = [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _PROGRAM]
        argv += ["checks" if self._checks_pages else "", *_places()]
        try:
            self._child = self._stack.enter_context(
                running(argv, env=os.environ | _ENVIRONMENT, stdin=True)
            )
            events.info("pack_process_begun", pid=self._child.pid)
        except (TasksRefused, ToolMissing) as error:
            _tell_refused(error.message)
        except OSError as error:
            _tell_refused(os.strerror(error.errno or 0))

    @contextmanager
    def reading(self, reader: Reader, entries: Entries) -> Iterator[PartStream | None]:
        """A pack as `packed` would read it; None if there is no process, if it is busy, or if it
        ends before its first answer."""
        if not self._turn.acquire(blocking=False):
            yield None
            return
        with afterwards(self._turn.release):
            if self._child is None:
                yield None
                return
            told = _first_told(_Frames(self._child, reader), entries)
            answer = _Answer(reader, told or iter(()))
            with afterwards(self._keep_if_idle, answer):
                yield answer if told else None

    def _keep_if_idle(self, answer: _Answer) -> None:
        """End the process if it still tells of a pack that nobody wants any more."""
        if not answer.is_whole and self._child is not None:
            child, self._child = self._child, None
            child.end()

    def end(self) -> None:
        """End a read in progress; from any thread."""
        child = self._child
        if child is not None:
            child.end()


def _places() -> list[str]:
    """Where this process finds its modules, in the same order."""
    places = [each for each in sys.path if each]
    return places if _ABOVE in places else [_ABOVE, *places]


def _tell_refused(problem: str) -> None:
    events.warning("pack_process_refused", problem=problem, then="threads read all files")


def _first_told(frames: _Frames, entries: Entries) -> Iterator[Frame] | None:
    """What the process tells of a pack; None if it ends before that, as a thread can read it."""
    try:
        return frames.asked(entries)
    except BackupFailed as error:
        events.warning("pack_process_failed", problem=error.message, then="threads read all files")
        return None


@contextmanager
def pack_process(*, workers: int, checks_pages: bool) -> Iterator[PackProcess]:
    """A process that can be begun in this block; it is ended and reaped after it."""
    with ExitStack() as stack:
        yield PackProcess(stack, workers=workers, checks_pages=checks_pages)


class _Answer(PartStream):
    """What the process tells of one pack."""

    def __init__(self, reader: Reader, frames: Iterator[Frame]) -> None:
        self._reader = reader
        self._frames = frames
        self._memo = ""
        self.is_whole = False

    def __iter__(self) -> Iterator[Buffer]:
        for kind, content in self._frames:
            if kind == CONTENT:
                self._reader.look()
                yield content
            elif kind == MEMO:
                self._memo = str(content, "utf-8")
                self.is_whole = True
                return
            else:
                self.is_whole = True
                self._fail(**parsed(content, of_files=True))

    @property
    def memo(self) -> str:
        return self._memo

    def _fail(self, *, kind: str, message: str, hint: str) -> None:
        raise (ToolMissing if kind == ToolMissing.__name__ else BackupFailed)(message, hint=hint)


class _Frames:
    """Asks the process for one pack, and reads its answer."""

    def __init__(self, child: Child, reader: Reader) -> None:
        self._child = child
        self._reader = reader
        self._doing = f"cannot read small files of '{reader.data}'"

    def asked(self, entries: Entries) -> Iterator[Frame]:
        """All frames of the answer; raises `BackupFailed` if the process ends before the first."""
        # A process that has ended says why below.
        with suppress(BrokenPipeError):
            self._child.stdin.write(request(self._reader, entries))
            self._child.stdin.flush()
        frames = self._told()
        return chain([next(frames)], frames)

    def _told(self) -> Iterator[Frame]:
        descriptor = widened(self._child.stdout.fileno())
        head, buffer = memoryview(bytearray(FRAME.size)), memoryview(bytearray(CHUNK_BYTES))
        while True:
            self._fill(descriptor, head)
            kind, size_bytes = FRAME.unpack(head)
            if size_bytes > _MOST_BYTES.get(kind, -1):
                raise BackupFailed(f"{self._doing}: the process that reads them tells nonsense")
            if size_bytes > len(buffer):
                buffer = memoryview(bytearray(size_bytes))
            self._fill(descriptor, buffer[:size_bytes])
            yield kind, buffer[:size_bytes]

    def _fill(self, descriptor: int, view: memoryview) -> None:
        while view:
            size_bytes = os.readv(descriptor, [view])
            if not size_bytes:
                self._ended()
            view = view[size_bytes:]

    def _ended(self) -> None:
        """Raises why the process has ended in the middle of a pack."""
        self._reader.look()
        try:
            self._child.finish()
        except ChildFailed as error:
            raise BackupFailed(
                f"{self._doing}: the process that reads them failed: {error.message}",
                hint="if the kernel ended it, raise MemoryMax= of the service;"
                " with max_concurrent_processes: 1 there is no such process",
            ) from error
        raise BackupFailed(f"{self._doing}: the process that reads them ended")
