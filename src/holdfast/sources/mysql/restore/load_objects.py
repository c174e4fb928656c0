"""Objects of a script by a client: one that cannot be made is told apart from all others."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.errors import RestoreFailed
from holdfast.model.proven import Proven
from holdfast.model.restored import FailedObject
from holdfast.runtime.process import ChildFailed
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.mysql.restore.schema_batches import Batch, SchemaBatch
from holdfast.sources.mysql.server.broken_views import BROKEN_VIEW, VIEW, attempted
from holdfast.sources.mysql.server.client import Clients
from holdfast.sources.mysql.server.script import Item

# Of these a statement may hold the password of an account.
SECRET = {"account"}


class ObjectLoader:
    """Carries out objects in their order.

    A view that cannot be made is tried again after all others, as long as that helps: it may read
    one that comes later. One that was of no use at the source already is tried too, and costs
    nothing where it fails.
    """

    def __init__(self, clients: Clients, failed: FailedObjects, notes: list[str]) -> None:
        self._clients = clients
        self._failed = failed
        self._notes = notes

    def make(self, whole: Proven, head: bytes, batch: Batch) -> None:
        """Raises `RestoreFailed` for the first that fails, unless the restore keeps going, and
        `ChildFailed` for an error that is about none of them."""
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
        """Each object once; the views that failed, and why."""
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
                f"view '{item.name}' is not there: it could not be read at the source either"
                f" ({said})"
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


def cause(error: ChildFailed) -> str:
    """The client's error without the statement that it prints before: that holds rows."""
    _, mark, said = error.stderr.rpartition("ERROR ")
    return mark + said if mark else error.message
