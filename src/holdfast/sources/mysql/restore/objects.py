"""Creates the objects of a script by stock clients, and tells which of them failed."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.backup import Part
from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import FailedObject, Proven
from holdfast.runtime.process import ChildFailed
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.mysql.restore.scripts import Batch, SchemaBatch
from holdfast.sources.mysql.server.connection import Clients
from holdfast.sources.mysql.server.sql import BROKEN_VIEW, VIEW, Item, attempted

# Kinds of objects whose statements may hold the password of an account.
SECRET = {"account"}


class ObjectLoader:
    """Creates objects in their order.

    A view that fails may read a later one: it is tried again after all others, as long as each
    pass creates some view. A view that was already broken at the source is tried too; if it fails,
    the restore only notes that.
    """

    def __init__(self, clients: Clients, failed: FailedObjects, notes: list[str]) -> None:
        self._clients = clients
        self._failed = failed
        self._notes = notes

    def make(self, whole: Proven, head: bytes, batch: Batch) -> None:
        """Create the objects of a batch.

        Raises `RestoreFailed` for the first that fails, unless the restore keeps going, and
        `ChildFailed` for an error that concerns none of them.
        """
        waiting = [attempted(item) for item in batch]
        while True:
            late = self._pass(whole, head, waiting)
            if not late:
                return
            if len(late) == len(waiting):
                for item, cause in late:
                    self._give_up(item, cause)
                return
            waiting = [item for item, _ in late]

    def _pass(self, whole: Proven, head: bytes, batch: Batch) -> list[tuple[Item, str]]:
        """Try each object once; returns the views that failed, and why."""
        late: list[tuple[Item, str]] = []
        rest: Sequence[Item] | None = batch
        while rest is not None:
            made = SchemaBatch(whole, head, rest)
            rest = None
            try:
                self._clients.run(made.proven)
            except ChildFailed as error:
                said = cause(error)
                item, rest = made.failed_item(said)
                if item is None:
                    raise
                if item.kind in (VIEW, BROKEN_VIEW):
                    late.append((item, said))
                else:
                    self._give_up(item, said)
        return late

    def _give_up(self, item: Item, said: str) -> None:
        if item.kind == BROKEN_VIEW:
            self._notes.append(
                f"view '{item.name}' was not restored: the source could not read it either ({said})"
            )
            return
        failure = RestoreFailed(f"cannot restore {item.described}: {said}")
        failed = FailedObject(
            kind=item.kind,
            name=item.name,
            statement=item.sql.decode("utf-8", errors="replace"),
            cause=said,
            is_secret=item.kind in SECRET,
        )
        self._failed.met(failed, failure)


class Script:
    """The objects of one part that a restore wants; without a part there are none."""

    def __init__(
        self,
        loading: ObjectLoader,
        *,
        part: Part | None = None,
        proven: Proven | None = None,
        head: bytes = b"",
        wanted: Sequence[Item] = (),
    ) -> None:
        self.wanted = wanted
        self._loading = loading
        self._part = part
        self._proven = proven
        self._head = head

    def make(self, batch: Batch) -> None:
        """Create the objects of a batch, or run the head where it is empty."""
        if self._part is None or self._proven is None:
            return
        try:
            self._loading.make(self._proven, self._head, batch)
        except ChildFailed as error:
            raise RestoreFailed(
                f"cannot restore {described(self._part)}: {cause(error)}"
            ) from error

    def make_one(self, item: Item) -> None:
        self.make([item])


def cause(error: ChildFailed) -> str:
    """The client's error without the statement that it prints first, which may hold rows."""
    _, mark, said = error.stderr.rpartition("ERROR ")
    return mark + said if mark else error.message


def described(part: Part) -> str:
    return f"table '{part.relation}'" if part.relation else f"'{part.name}'"
