"""Loads parts into a database: tables by several clients and sessions at once, then all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.errors import HoldfastError, RestoreFailed
from holdfast.model.part_details import MysqlDump, MysqlTable
from holdfast.model.restore import FailedObject, Proven, StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest
from holdfast.runtime.process import ChildFailed
from holdfast.sources.failed_objects import ROWS, FailedObjects
from holdfast.sources.mysql.restore.objects import ObjectLoader, Script, cause, described
from holdfast.sources.mysql.restore.row_sessions import RowSessions, RowsRefused
from holdfast.sources.mysql.restore.scripts import PROGRAMS, DumpScript, RowScript
from holdfast.sources.mysql.restore.table_steps import Step, Work, carry_out, table_steps
from holdfast.sources.mysql.server.accounts import mended
from holdfast.sources.mysql.server.connection import Clients
from holdfast.sources.mysql.server.definition_text import sequences_read, with_row_format
from holdfast.sources.mysql.server.sql import Item, ScriptDamaged, items

# Scripts of many objects, from which single tables can be restored.
OF_TABLES = (PartKind.PRE_DATA, PartKind.INDEXES, PartKind.SEQUENCES, PartKind.POST_DATA)
# Done in steps that depend on each other, not one kind after the other.
OF_STEPS = (PartKind.PRE_DATA, PartKind.DATA, PartKind.INDEXES)
SEQUENCE_KINDS = ("sequence", "sequence-state")
# Row formats whose keys must be shorter than those of DYNAMIC, the default of servers.
SHORT_KEYS = ("compact", "redundant")
# Table is read only: MariaDB may refuse to write compressed tables (innodb_read_only_compressed).
READ_ONLY = ("ERROR 1036 ", "(error 1036)")
# For a statement above max_allowed_packet the server reports an error or ends the session.
TOO_LONG = ("ERROR 1153 ", "ERROR 2006 ", "ERROR 2013 ", "(error 1153)", "the connection is gone")
SHORT_NOTE = (
    "tables without a ROW_FORMAT were created with ROW_FORMAT=DYNAMIC: the server's"
    " innodb_default_row_format allows only shorter keys"
)
SCRIPTED = (*OF_TABLES, PartKind.GRANTS, PartKind.GLOBALS)


class Loader:
    """One restore into a database that already has the tables and sequences in `there`.

    A sequence in `there` stays as it is where only some tables are restored. `row_format` is the
    server's default for a table that names none.
    """

    def __init__(
        self,
        clients: Clients,
        request: RestoreRequest,
        *,
        rows: RowSessions,
        stored: StoredParts,
        progress: Progress,
        there: Collection[str] = (),
        row_format: str = "",
    ) -> None:
        self._clients = clients
        self._rows = rows
        self._is_short = row_format in SHORT_KEYS
        self._there = set(there)
        self._request = request
        self._stored = stored
        self._progress = progress
        self._names = {relation.name for relation in request.tables}
        self._workers = max(1, request.workers)
        self.failed = FailedObjects(keep_going=request.options.keep_going)
        self.notes: list[str] = []
        self.without_rows: set[Relation] = set()
        self.events: list[str] = []
        self._sequences: set[str] = set()
        self._loading = ObjectLoader(clients, self.failed, self.notes)

    def load(self) -> None:
        """Restore what the request names; raises `RestoreFailed` for the first object that failed,
        or records all failures where the restore keeps going."""
        for kind in PartKind:
            if kind is PartKind.PRE_DATA:
                self._tables()
            elif kind not in OF_STEPS:
                for part in self._parts(kind):
                    if kind in SCRIPTED:
                        self._objects(part)
                    else:
                        self._one(part)

    def _parts(self, kind: PartKind) -> list[Part]:
        return [part for part in self._request.parts if part.kind is kind and self._asked(part)]

    def _tables(self) -> None:
        """Create the tables, load their rows and build the indexes that wait for these."""
        defining, building = self._parts(PartKind.PRE_DATA), self._parts(PartKind.INDEXES)
        for part in defining[:-1]:
            self._objects(part)
        with (
            self._script(defining[-1] if defining else None) as tables,
            self._script(building[0] if building else None) as indexes,
        ):
            found = table_steps(
                tables.wanted,
                self._parts(PartKind.DATA),
                indexes.wanted,
                work=Work(create=tables.make, load=self._one, build=indexes.make_one),
                workers=self._workers,
            )
            carry_out(found, workers=self._workers, stop=self._stop)
        for part in building[1:]:
            self._objects(part)

    def _asked(self, part: Part) -> bool:
        if part.kind is PartKind.GLOBALS:
            return self._request.options.globals
        if not self._names:
            return True
        if part.kind is PartKind.DATA:
            return not set(self._request.tables).isdisjoint(part.relations)
        return part.kind in OF_TABLES

    def _stop(self) -> None:
        self._clients.stop()
        self._rows.stop()

    def _one(self, part: Part) -> None:
        with self._stored.proven(part) as proven:
            without: set[Relation] = set()
            while (failed := self._failed_in(part, proven, without)) is not None:
                without.add(failed)
        self._progress.part_done(part.name)

    def _failed_in(self, part: Part, proven: Proven, without: set[Relation]) -> Relation | None:
        """Load the part except the tables in `without`; returns the table that failed where the
        part must be loaded again without it."""
        wanted = [
            each.relation
            for each in part.members
            if each.relation not in without
            and (not self._request.tables or each.relation in self._request.tables)
        ]
        if part.members and not wanted:
            return None
        try:
            self._run(part, proven, wanted)
        except RowsRefused as error:
            self._met(part, error.relation, said=error.cause.message, error=error.cause)
            # A pack is one transaction: the others were not loaded either.
            return error.relation if part.members else None
        except ChildFailed as error:
            self._met(part, part.relation, said=cause(error), error=error)
        except EOFError as error:
            self._met(part, None, said=str(error), error=error)
        return None

    def _run(self, part: Part, proven: Proven, wanted: Collection[Relation]) -> None:
        """Load rows by a session, and a dump, which has commands of a client, by that client."""
        if part.kind is PartKind.DATA and not _is_dump(part):
            self._rows.load(proven, RowScript(part, wanted if part.members else ()).cut)
        elif _is_dump(part):
            self._clients.run(proven.derived(lambda read: DumpScript().changed(read)))
        else:
            self._clients.run(proven)

    def _met(self, part: Part, relation: Relation | None, *, said: str, error: Exception) -> None:
        what = f"table '{relation}'" if relation else described(part)
        failure: HoldfastError = RestoreFailed(f"cannot restore {what}: {said}")
        if _tells(said, READ_ONLY):
            failure.hint = (
                "SET GLOBAL innodb_read_only_compressed = OFF, or load it on another server"
            )
        elif _tells(said, TOO_LONG):
            failure.hint = (
                "if the server still runs, a statement of the dump is longer than it accepts:"
                " SET GLOBAL max_allowed_packet = 1073741824, and restore again"
            )
        failure.__cause__ = error
        if relation is None:
            raise failure
        failed = FailedObject(kind=ROWS, name=str(relation), statement="", cause=said)
        self.failed.met(failed, failure)
        self.without_rows.add(relation)

    def _sequences_of(self, found: Sequence[Item]) -> set[str]:
        """The sequences that the requested tables use in defaults and the database lacks."""
        chosen = (each.sql for each in found if each.kind == "table" and each.table in self._names)
        return set().union(*map(sequences_read, chosen)) - self._there

    def _is_wanted(self, part: Part, item: Item) -> bool:
        if part.kind not in OF_TABLES or not self._names or item.table in self._names:
            return True
        return item.kind in SEQUENCE_KINDS and item.name in self._sequences

    def _fitted(self, item: Item) -> Item:
        """The item, changed where it is a table that this server could not create otherwise."""
        if item.kind != "table" or not self._is_short:
            return item
        if SHORT_NOTE not in self.notes:
            self.notes.append(SHORT_NOTE)
        return replace(item, sql=with_row_format(item.sql))

    def _objects(self, part: Part) -> None:
        """Restore each object of a script, or only those of the requested tables."""
        with self._script(part) as script:
            made = Step(name=part.name, needs=frozenset(), run=lambda: script.make(script.wanted))
            carry_out([made], workers=1, stop=self._stop)

    @contextmanager
    def _script(self, part: Part | None) -> Iterator[Script]:
        """The script of a part, which is done at the end of the block; an empty one for None."""
        if part is None:
            yield Script(self._loading)
            return
        with self._stored.proven(part) as proven:
            try:
                head, found = items(proven.whole())
            except ScriptDamaged as error:
                raise RestoreFailed(f"cannot restore {described(part)}: {error}") from error
            if part.kind is PartKind.GLOBALS and not found:
                head = mended(head.decode()).encode()
            self._sequences |= self._sequences_of(found)
            wanted = [self._fitted(each) for each in found if self._is_wanted(part, each)]
            self.events += [each.name for each in wanted if each.kind == "event"]
            yield Script(self._loading, part=part, proven=proven, head=head, wanted=wanted)
        self._progress.part_done(part.name)


def _tells(said: str, words: tuple[str, ...]) -> bool:
    return said.startswith(words) or said.endswith(words)


def _is_dump(part: Part) -> bool:
    return isinstance(part.details, MysqlTable | MysqlDump) and part.details.method in PROGRAMS
