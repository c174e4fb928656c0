"""Parts into a database in the order of their kinds; rows by several clients at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Protocol

from holdfast.cleanup import noted_on
from holdfast.errors import RestoreFailed
from holdfast.model import Part, PartKind
from holdfast.ports import Progress, RestoreRequest
from holdfast.process import ChildFailed
from holdfast.proven import Proven, StoredParts
from holdfast.sources.mysql_native.client import Clients, Stopped
from holdfast.sources.mysql_native.making import Made, stages
from holdfast.sources.mysql_native.scripting import ScriptDamaged, items
from holdfast.sources.mysql_native.unpacking import Unpacked

# Scripts of many objects, of which single tables can be taken out.
SCRIPTED = (PartKind.PRE_DATA, PartKind.INDEXES, PartKind.SEQUENCES, PartKind.POST_DATA)


class Script(Protocol):
    """SQL on its way to a client."""

    @property
    def proven(self) -> Proven: ...

    def failed(self, cause: str, /) -> str:
        """What a client's error is about, in words; empty where that is not known."""
        ...


class Whole:
    """A part that is one thing: an error in it is the part's."""

    def __init__(self, proven: Proven) -> None:
        self.proven = proven

    def failed(self, _cause: str, /) -> str:
        return ""


class Loading:
    """One restore under way."""

    def __init__(
        self, clients: Clients, request: RestoreRequest, stored: StoredParts, progress: Progress
    ) -> None:
        self._clients = clients
        self._request = request
        self._stored = stored
        self._progress = progress
        self._names = {relation.name for relation in request.tables}
        self._workers = max(1, request.workers)

    def load(self) -> None:
        """Everything asked for; raises `RestoreFailed` naming the first object that failed."""
        for kind in PartKind:
            parts = [
                part for part in self._request.parts if part.kind is kind and self._asked(part)
            ]
            if kind is PartKind.DATA:
                biggest_first = sorted(parts, key=lambda part: -part.plain_bytes)
                self._at_once([partial(self._one, part) for part in biggest_first])
                continue
            for part in parts:
                if kind in SCRIPTED:
                    self._objects(part)
                else:
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
        with ThreadPoolExecutor(max_workers=self._workers) as pool:
            running = [pool.submit(each) for each in work]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
                if any(_failed(future) for future in running):
                    self._stop(running)
            except BaseException as error:
                with noted_on(error):
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
        with self._stored.proven(part) as proven:
            script = Unpacked(part, proven, self._request.tables) if part.members else Whole(proven)
            try:
                self._carry_out(script, part)
            except EOFError as error:
                raise RestoreFailed(f"cannot restore {_described(part)}: {error}") from error
        self._progress.part_done(part.name)

    def _objects(self, part: Part) -> None:
        """Each object of a script, or those of the tables that were asked for."""
        with self._stored.proven(part) as proven:
            try:
                head, found = items(proven.whole())
            except ScriptDamaged as error:
                raise RestoreFailed(f"cannot restore {_described(part)}: {error}") from error
            wanted = [each for each in found if not self._names or each.table in self._names]
            for batches in stages(part.kind, wanted, workers=self._workers):
                scripts = [Made(proven, head, batch) for batch in batches]
                self._at_once([partial(self._carry_out, script, part) for script in scripts])
        self._progress.part_done(part.name)

    def _carry_out(self, script: Script, part: Part) -> None:
        try:
            self._clients.run(script.proven)
        except ChildFailed as error:
            cause = _cause(error)
            what = script.failed(cause) or _described(part)
            raise RestoreFailed(f"cannot restore {what}: {cause}") from error


def _failed(future: Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None


def _cause(error: ChildFailed) -> str:
    """The client's error without the statement that it prints before: that holds rows."""
    _, mark, cause = error.stderr.rpartition("ERROR ")
    return mark + cause if mark else error.message


def _described(part: Part) -> str:
    return f"table '{part.relation}'" if part.relation else f"'{part.name}'"
