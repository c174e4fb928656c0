"""Parts into a database in the order of their kinds; rows by several clients at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

from holdfast.errors import RestoreFailed
from holdfast.model import Part, PartKind
from holdfast.ports import OpenPart, Progress, RestoreRequest
from holdfast.process import ChildFailed
from holdfast.sources.mysql_native.client import Clients, Stopped
from holdfast.sources.mysql_native.scripting import Item, ScriptDamaged, items, script
from holdfast.sources.mysql_native.unpacking import Unpacked

# Scripts of many objects, of which single tables can be taken out.
SCRIPTED = (PartKind.PRE_DATA, PartKind.INDEXES, PartKind.SEQUENCES, PartKind.POST_DATA)


class Loading:
    """One restore under way."""

    def __init__(
        self, clients: Clients, request: RestoreRequest, open_part: OpenPart, progress: Progress
    ) -> None:
        self._clients = clients
        self._request = request
        self._open_part = open_part
        self._progress = progress
        self._names = {relation.name for relation in request.tables}

    def load(self) -> None:
        """Everything asked for; raises `RestoreFailed` naming the first object that failed."""
        for kind in PartKind:
            parts = [
                part for part in self._request.parts if part.kind is kind and self._asked(part)
            ]
            if kind is PartKind.DATA:
                biggest_first = sorted(parts, key=lambda part: -part.plain_bytes)
                self._at_once([partial(self._one, part) for part in biggest_first])
            elif kind is PartKind.INDEXES:
                for part in parts:
                    self._build(part)
            else:
                for part in parts:
                    self._one(part)

    def _asked(self, part: Part) -> bool:
        if part.kind is PartKind.GLOBALS:
            return self._request.globals
        if not self._names:
            return True
        if part.kind is PartKind.DATA:
            return not set(self._request.tables).isdisjoint(part.relations)
        return part.kind in SCRIPTED

    def _at_once(self, work: Sequence[Callable[[], None]]) -> None:
        """As many clients as there are workers; the first failure ends all of them."""
        with ThreadPoolExecutor(max_workers=max(1, self._request.workers)) as pool:
            running = [pool.submit(each) for each in work]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
                if any(_failed(future) for future in running):
                    self._stop(running)
            except BaseException:
                self._stop(running)
                raise
        for future in running:
            if not future.cancelled() and not isinstance(future.exception(), Stopped):
                future.result()

    def _stop(self, running: Sequence[Future[None]]) -> None:
        for future in running:
            future.cancel()
        self._clients.stop()

    def _one(self, part: Part) -> None:
        try:
            with self._open_part(part) as chunks:
                if part.members:
                    self._pack(Unpacked(part, chunks, self._request.tables), part)
                else:
                    self._clients.run(self._script(part, chunks))
        except ChildFailed as error:
            raise RestoreFailed(f"cannot restore {_described(part)}: {_cause(error)}") from error
        except ScriptDamaged as error:
            raise RestoreFailed(f"cannot restore {_described(part)}: {error}") from error
        self._progress.part_done(part.name)

    def _build(self, part: Part) -> None:
        """Each table's indexes by a client of their own."""
        with self._open_part(part) as chunks:
            text = b"".join(chunks)
        try:
            head, found = items(text)
        except ScriptDamaged as error:
            raise RestoreFailed(f"cannot restore {_described(part)}: {error}") from error
        wanted = [each for each in found if not self._names or each.table in self._names]
        self._at_once([partial(self._indexes, head, item) for item in wanted])
        self._progress.part_done(part.name)

    def _indexes(self, head: bytes, item: Item) -> None:
        try:
            self._clients.run([head + item.sql])
        except ChildFailed as error:
            raise RestoreFailed(
                f"cannot build the indexes of table '{item.table}': {_cause(error)}"
            ) from error

    def _pack(self, script: Unpacked, part: Part) -> None:
        try:
            self._clients.run(script)
        except ChildFailed as error:
            cause = _cause(error)
            table = script.failed(cause)
            what = f"table '{table}'" if table else _described(part)
            raise RestoreFailed(f"cannot restore {what}: {cause}") from error
        except EOFError as error:
            raise RestoreFailed(f"cannot restore {_described(part)}: {error}") from error

    def _script(self, part: Part, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if not self._names or part.kind not in SCRIPTED:
            yield from chunks
            return
        head, found = items(b"".join(chunks))
        yield head + script([item for item in found if item.table in self._names])


def _failed(future: Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None


def _cause(error: ChildFailed) -> str:
    """The client's error without the statement that it prints before: that holds rows."""
    _, mark, cause = error.stderr.rpartition("ERROR ")
    return mark + cause if mark else error.message


def _described(part: Part) -> str:
    return f"table '{part.relation}'" if part.relation else f"'{part.name}'"
