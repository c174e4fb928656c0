"""A MySQL or MariaDB database to restore into."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from holdfast.model.backup import Part, Relation
from holdfast.model.checksums import Expected, expected, require_equal
from holdfast.model.errors import HoldfastError, Reported, RestoreFailed, TargetNotEmpty
from holdfast.model.part_details import MysqlDatabase
from holdfast.model.restore import FailedObject, Restored, RestoredTable, StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest, Target
from holdfast.runtime.cleanup import noted_on
from holdfast.runtime.worker_pool import WorkerPool
from holdfast.sources.failed_objects import ROWS, hinted
from holdfast.sources.mysql.restore import preflight
from holdfast.sources.mysql.restore.load import Loader
from holdfast.sources.mysql.restore.row_sessions import RowSessions
from holdfast.sources.mysql.server import content_checksum
from holdfast.sources.mysql.server.connection import Address, Clients, StatementFailed
from holdfast.sources.mysql.server.definitions import HEAD
from holdfast.sources.mysql.server.session import Session, session
from holdfast.sources.mysql.server.sql import quoted, select
from holdfast.sources.mysql.server.tables import Table, tables_with_columns

OBJECTS = """
    SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s)
         + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = %s)
         + (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = %s)"""
TABLES_NAMED = 8


class MysqlTarget(Target):
    """One database, filled by as many clients as the request has workers."""

    def __init__(self, url: str, *, password: str | None = None) -> None:
        self._address = Address.parse(url, password=password)

    @property
    def name(self) -> str:
        return str(self._address)

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        try:
            return self._restored(request, stored, progress)
        except StatementFailed as error:
            failure = RestoreFailed(
                f"cannot restore into '{self.name}': {error.message}", hint=error.hint
            )
            raise failure from error

    def _restored(
        self, request: RestoreRequest, stored: StoredParts, progress: Progress
    ) -> Restored:
        with session(self._address, database="", purpose="loading") as asking:
            clients = Clients(self._address, preparation=asking.preparation)
            preflight.require(asking, self._address, request)
            make_room = self._room_for_tables if request.tables else self._whole_database
            with make_room(asking, request):
                there = _tables_of(asking, self._address.database)
                loading = Loader(
                    clients,
                    request,
                    rows=RowSessions(self._address),
                    stored=stored,
                    progress=progress,
                    there=there,
                    row_format=asking.variable("innodb_default_row_format").lower(),
                )
                loading.load()
                tables = self._counted(request, loading)
                return Restored(
                    tables=tables,
                    failed=loading.failed.take(),
                    preamble=f"USE {quoted(self._address.database)};\n{HEAD}",
                    notes=(*loading.notes, *_events_gone(asking, self._address.database, loading)),
                )

    @contextmanager
    def _whole_database(self, asking: Session, request: RestoreRequest) -> Iterator[None]:
        """Provide an empty database; drop it where it was created here and the restore failed."""
        database, recorded = self._address.database, _as_recorded(request.parts)
        exists = _exists(asking, database)
        if exists and _objects(asking, database) and not request.options.overwrite:
            raise TargetNotEmpty(
                f"cannot restore into '{self.name}': it is not empty",
                hint="name another database, or pass --overwrite to drop this one first",
            )
        if exists and request.options.overwrite:
            asking.run(f"DROP DATABASE {quoted(database)}")
            exists = False
        if not exists:
            asking.run(f"CREATE DATABASE {quoted(database)}{recorded}")
        try:
            yield
        except BaseException as error:
            with noted_on(error):
                self._clear_away(asking, error, ours=not exists)
            raise

    def _clear_away(self, asking: Session, error: BaseException, *, ours: bool) -> None:
        database = self._address.database
        note = f"database '{database}' is incomplete: drop it before using that name again"
        if ours:
            try:
                asking.run(f"DROP DATABASE IF EXISTS {quoted(database)}")
                note = f"database '{database}' was dropped again, as it was incomplete"
            except HoldfastError as failure:
                note = f"{note} ({failure.message})"
        if isinstance(error, Reported):
            error.hint = f"{error.hint}; {note}" if error.hint else note

    @contextmanager
    def _room_for_tables(self, asking: Session, request: RestoreRequest) -> Iterator[None]:
        """Provide the existing database without the tables that will be restored."""
        database = self._address.database
        if not _exists(asking, database):
            asking.run(f"CREATE DATABASE {quoted(database)}{_as_recorded(request.parts)}")
        asking.run(f"USE {quoted(database)}")
        there = _existing(asking, database, request.tables)
        if there and not request.options.overwrite:
            raise TargetNotEmpty(
                f"cannot restore into '{self.name}': it has {_named(there)}",
                hint="name another database, or pass --overwrite to drop these tables first",
            )
        for name in there:
            asking.run(f"DROP TABLE {quoted(name)}")
        try:
            yield
        except Reported as error:
            names = _named([relation.name for relation in request.tables])
            note = f"incomplete in '{database}': {names}"
            error.hint = f"{error.hint}; {note}" if error.hint else note
            raise

    def _counted(self, request: RestoreRequest, loading: Loader) -> tuple[RestoredTable, ...]:
        """Compare each table's rows and checksum with the backup; a difference is a failure."""
        wanted = {
            relation: each
            for relation, each in expected(request.parts).items()
            if (not request.tables or relation in request.tables)
            and relation not in loading.without_rows
        }
        found = RowCounts(self._address, wanted).found(workers=request.workers)
        if not request.options.keep_going:
            try:
                require_equal(self.name, found)
            except RestoreFailed as error:
                raise hinted(error) from None
        for table in found:
            if table.problem:
                failed = FailedObject(
                    kind=ROWS, name=str(table.relation), statement="", cause=table.problem
                )
                loading.failed.met(failed, RestoreFailed(table.problem))
        return tuple(found)


def _events_gone(asking: Session, database: str, loading: Loader) -> list[str]:
    """Notes on missing events: the server silently drops a new event whose time has passed."""
    question = "SELECT event_name FROM information_schema.events WHERE event_schema = %s"
    there = {name for (name,) in asking.text(question, database)}
    return [
        f"event '{name}' was not restored: its time has passed"
        for name in loading.events
        if name not in there
    ]


def _exists(asking: Session, database: str) -> bool:
    question = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = %s"
    return asking.value(question, database) != "0"


def _objects(asking: Session, database: str) -> bool:
    return asking.value(OBJECTS, database, database, database) != "0"


def _existing(asking: Session, database: str, tables: Sequence[Relation]) -> list[str]:
    there = _tables_of(asking, database)
    return [relation.name for relation in tables if relation.name in there]


def _tables_of(asking: Session, database: str) -> set[str]:
    """The names of the tables, views and sequences of a database."""
    question = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    return {name for (name,) in asking.text(question, database)}


def _as_recorded(parts: Sequence[Part]) -> str:
    """The character set that the source's database had: tables created later inherit it."""
    for part in parts:
        found = part.details
        if isinstance(found, MysqlDatabase):
            return f" CHARACTER SET {found.character_set} COLLATE {found.collation}"
    return ""


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:TABLES_NAMED])
    return shown + (f" and {len(names) - TABLES_NAMED} more" if len(names) > TABLES_NAMED else "")


class RowCounts:
    """Has the server count and sum up every table of `wanted`, with several sessions."""

    def __init__(self, address: Address, wanted: Mapping[Relation, Expected]) -> None:
        self._address = address
        self._wanted = wanted
        self._waiting = deque(wanted)

    def found(self, *, workers: int) -> list[RestoredTable]:
        """The tables found, by name; raises `RestoreFailed` for one that cannot be read."""
        count = max(1, min(workers, len(self._wanted)))
        pool = WorkerPool(count, abort=self._waiting.clear, tries=1)
        found = [table for each in pool.map(range(count), self._ask) for table in each]
        return sorted(found, key=lambda table: str(table.relation))

    def _ask(self, _worker: int) -> list[RestoredTable]:
        found: list[RestoredTable] = []
        with session(self._address) as asking:
            there = tables_with_columns(asking, self._address.database)
            tables = {each.relation.name: each for each in there}
            while True:
                try:
                    relation = self._waiting.popleft()
                except IndexError:
                    return found
                if relation.name not in tables:
                    raise RestoreFailed(
                        f"cannot restore table '{relation}': the server does not have it"
                    )
                table, wanted = tables[relation.name], self._wanted[relation]
                found.append(_found(asking, table, wanted, relation=relation))


def _found(asking: Session, table: Table, wanted: Expected, *, relation: Relation) -> RestoredTable:
    """The rows and checksum of `table`, under the name that the backup has for it."""
    # A checksum method of a later version is unknown here: only the rows are compared then.
    method = wanted.checksum.partition(":")[0]
    is_summed = method in content_checksum.METHODS
    question = (
        content_checksum.question(table, method)
        if is_summed
        else select("COUNT(*),0", relation.name)
    )
    try:
        rows, warnings = asking.fetch(question)
    except StatementFailed as error:
        raise RestoreFailed(
            f"cannot count the rows of table '{relation}': {error.message}"
        ) from error
    if warnings:
        raise RestoreFailed(
            f"cannot verify table '{relation}': {content_checksum.TOO_SMALL}",
            hint=content_checksum.LARGER,
        )
    count, total = content_checksum.counted(rows)
    return RestoredTable(
        relation=relation,
        rows_expected=wanted.rows,
        rows_found=count,
        checksum_expected=wanted.checksum if is_summed else "",
        checksum_found=f"{method}:{total}" if is_summed else "",
    )
