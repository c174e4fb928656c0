"""A PostgreSQL database as a source of parts, for both engines.

The checks of the server, their order and the start of a backup are common to both. An engine adds
how it treats the tables and how it reads them under the snapshot.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import psycopg
from psycopg.conninfo import make_conninfo

from holdfast.model.backup import Buffer, Consistency, Selection, Server
from holdfast.model.errors import DatabaseUnreachable
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import PostgresProof
from holdfast.ports.source import (
    Blobs,
    Finding,
    PartStream,
    Snapshot,
    Source,
    SourcePlan,
    TablePlan,
)
from holdfast.runtime.cleanup import Cancellation, afterwards
from holdfast.sources.postgres.server import (
    catalog_queries,
    client_programs,
    database_properties,
    failures,
    preflight,
)
from holdfast.sources.postgres.server.catalog_queries import Facts, Table
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import (
    CANCEL_SECONDS,
    LOCK_WAIT_SECONDS,
    MAINTENANCE,
    Login,
)
from holdfast.sources.postgres.server.preflight import blocking, waits
from holdfast.sources.postgres.server.schema_dump import Globals, Texts
from holdfast.sources.postgres.server.shared_snapshot import Exported

APPLICATION_NAME = "holdfast"
KIND = "postgres"
# Template databases hold only defaults.
_DATABASES = """
SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate
ORDER BY pg_database_size(oid) DESC, datname
"""
# The negation of the condition under which the view pg_user_mappings, which pg_dump reads, shows
# the options.
_HIDDEN_MAPPINGS = """
SELECT m.usename::text, m.srvname::text FROM pg_user_mappings m
JOIN pg_foreign_server s ON s.oid = m.srvid
WHERE m.umoptions IS NULL
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT CASE WHEN m.umuser = 0 THEN pg_has_role(s.srvowner, 'USAGE')
               ELSE m.usename = current_user AND (pg_has_role(s.srvowner, 'USAGE')
                    OR has_server_privilege(s.oid, 'USAGE')) END
ORDER BY 2, 1
"""


# No equality by value: two sources with equal settings are still two. No repr: a connection string
# may hold a password.
@dataclass(kw_only=True, eq=False, repr=False)
class DatabaseSource(Source):
    """One database, or with a `selection` all databases of the server that match it.

    `tool_folders` replaces the search for the client programs.
    """

    dsn: str
    password: str | None = None
    application_name: str = APPLICATION_NAME
    tool_folders: Sequence[Path] = ()
    lock_wait_seconds: int = LOCK_WAIT_SECONDS
    selection: Selection | None = None
    login: Login = field(init=False)

    def __post_init__(self) -> None:
        self.login = Login.parse(
            self.dsn,
            password=self.password,
            application_name=self.application_name,
            lock_wait_seconds=self.lock_wait_seconds,
        )

    @abstractmethod
    def _choice(self, connection: psycopg.Connection, found: Facts) -> Finding:
        """The transport or dump format that the engine chooses, and why; raises if impossible."""

    @abstractmethod
    def _planned(
        self,
        connection: psycopg.Connection,
        found: Facts,
        listed: Sequence[Table],
        *,
        locked: Collection[int],
    ) -> tuple[Sequence[TablePlan], Sequence[str]]:
        """The plan for each table, and further notes; `locked` tables are not queried."""

    @abstractmethod
    def _begun(self, opening: Opening) -> Snapshot:
        """Take or rejoin the snapshot, and open all sessions that will read under it.

        Raises what `ports.source.Source.open` raises.
        """

    @property
    def database(self) -> str:
        return self.login.database

    def databases(self) -> Sequence[Self]:
        """Biggest first. Raises `DatabaseUnreachable` if no database matches the selection."""
        if self.selection is None:
            return [self]
        login = self.login
        if "dbname" not in login.settings:
            login = login.in_database(MAINTENANCE[0])
        with login.session() as connection:
            names = self.selection.of(str(row[0]) for row in connection.execute(_DATABASES))
        if not names:
            raise DatabaseUnreachable(
                "cannot find a database to back up: no name matches the selection of the job",
                hint="check databases and exclude_databases of the job; psql --list shows the"
                " names",
            )
        return [
            replace(self, dsn=make_conninfo(self.dsn, dbname=name), selection=None)
            for name in names
        ]

    def lag_seconds(self) -> float | None:
        return preflight.lag_seconds(self.login)

    def connections_free(self) -> int:
        with self._asking() as connection:
            return preflight.connections_free(connection)

    def check(self) -> list[Finding]:
        with self._asking() as connection:
            found = self._examined(connection)
            programs = self._programs(found)
            preflight.require_snapshot(connection)
            return [
                *preflight.findings(connection, found, programs),
                self._choice(connection, found),
            ]

    def plan(self) -> SourcePlan:
        with self._asking() as connection:
            found = catalog_queries.facts(connection)
            blockers = blocking(connection)
            locked = [each.oid for each in blockers]
            listed = catalog_queries.tables(connection, locked=locked)
            tables, notes = self._planned(connection, found, listed, locked=locked)
            return SourcePlan(
                server=Server(kind=KIND, version=found.version, database=found.database),
                tables=tuple(tables),
                consistency=Consistency.SNAPSHOT,
                notes=(*notes, *not_taken(connection, found, listed), *waits(blockers)),
            )

    @contextmanager
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> Iterator[Snapshot]:
        with self.login.session() as held, ExitStack() as stack:
            with self._translated(held):
                found = self._examined(held)
                opening = Opening(
                    held=held,
                    found=found,
                    programs=self._programs(found),
                    stack=stack,
                    workers=workers,
                    blobs=blobs,
                    rejoin=rejoin,
                )
                snapshot = self._begun(opening)
            with afterwards(snapshot.abort):
                yield snapshot

    def _globals_of(self, opening: Opening) -> Globals:
        return Globals(
            self.login,
            pg_dumpall=opening.programs.pg_dumpall,
            found=opening.found,
            of_everybody=database_properties.settings_of_everybody(opening.held),
        )

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Connection]:
        """A separate session for catalog queries."""
        with self.login.session() as connection, self._translated(connection):
            yield connection

    def _translated(self, connection: psycopg.Connection) -> AbstractContextManager[None]:
        """Translate the errors of catalog queries."""
        subject = f"the catalogs of database '{self.login.database}'"
        return failures.translated(connection, subject, user=self.login.user)

    def _examined(self, connection: psycopg.Connection) -> Facts:
        """Facts about the server and the database.

        Raises `Unsupported`, or `GrantMissing` for the first missing privilege.
        """
        found = catalog_queries.facts(connection)
        preflight.require_supported(found)
        preflight.require_grants(connection, found)
        return found

    def _programs(self, found: Facts) -> Programs:
        return Programs(
            *(
                client_programs.find(name, found.major, found.version, folders=self.tool_folders)
                for name in Programs._fields
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A backup that begins: `held` will hold its snapshot, `stack` closes all else it opens."""

    held: psycopg.Connection
    found: Facts
    programs: Programs
    stack: ExitStack
    workers: int
    blobs: Blobs | None
    rejoin: str


class Programs(NamedTuple):
    """Client programs that are new enough for the server."""

    pg_dump: Tool
    pg_dumpall: Tool


@dataclass(kw_only=True, eq=False, repr=False)
class DatabaseSnapshot(Snapshot):
    """One moment of a database, begun by `opening`; `not_taken` lists what the backup lacks."""

    opening: Opening
    exported: Exported
    globals_: Globals
    not_taken: Sequence[str]
    cancellation: Cancellation

    consistency = Consistency.SNAPSHOT

    @abstractmethod
    def _with_evidence(self, proof: PostgresProof) -> PostgresProof:
        """`proof` with the engine's additions, such as the sessions inside the snapshot."""

    @property
    def server(self) -> Server:
        found = self.opening.found
        return Server(kind=KIND, version=found.version, database=found.database)

    @property
    def taken_at(self) -> datetime:
        return self.exported.taken_at.astimezone(UTC)

    @property
    def proof(self) -> PostgresProof:
        passwords = "with" if self.opening.found.may_read_passwords else "without"
        common = PostgresProof(
            snapshot=self.exported.name,
            visible=self.exported.seen,
            xmin=self.exported.xmin,
            xmax=self.exported.xmax,
            lsn=self.exported.lsn,
            isolation="repeatable read, read only",
            outside=f"roles ({passwords} passwords) and sequences are read as of now",
            not_taken="; ".join(self.not_taken),
        )
        return self._with_evidence(common)

    @property
    def tools(self) -> dict[str, str]:
        return {tool.path.name: tool.version for tool in self.opening.programs}

    def abort(self) -> None:
        self.cancellation.abort()

    @contextmanager
    def _cancelled(self, session: psycopg.Connection) -> Iterator[psycopg.Connection]:
        """`session`, whose query is cancelled when the snapshot's reads are."""
        with self.cancellation.registered(lambda: session.cancel_safe(timeout=CANCEL_SECONDS)):
            yield session

    def _texts(
        self, session: psycopg.Connection, chunks: Iterator[Buffer], subject: str
    ) -> PartStream:
        """A part whose SQL holdfast writes itself."""
        return Texts(session, chunks, subject, user=self.opening.found.login)

    def _of_database(self, what: str) -> str:
        return f"{what} of database '{self.opening.found.database}'"


def not_taken(
    connection: psycopg.Connection, found: Facts, listed: Sequence[Table]
) -> tuple[str, ...]:
    """Notes on what the backup will not hold."""
    return (*_notes(found, listed), *_hidden(connection))


def _hidden(connection: psycopg.Connection) -> tuple[str, ...]:
    """What pg_dump silently leaves out because this login may not see it."""
    return tuple(
        f"options of the user mapping of '{user}' for server '{server}' are not backed up, nor"
        " are its passwords: only a superuser may read them"
        for user, server in connection.execute(_HIDDEN_MAPPINGS)
    )


def _notes(found: Facts, listed: Sequence[Table]) -> tuple[str, ...]:
    """Notes on rows, subscriptions and passwords that the backup will not hold."""
    said = [
        f"rows of foreign table '{table.relation}' are not backed up: they are on another server"
        for table in listed
        if table.is_foreign
    ]
    said += [
        f"rows of unlogged table '{table.relation}' are not backed up: a standby has none"
        for table in listed
        if table.is_unlogged and found.is_standby
    ]
    if found.subscriptions and not found.is_superuser:
        said.append("subscriptions are not backed up: only a superuser may read them")
    if not found.may_read_passwords:
        said.append("passwords of roles are not backed up: the login may not read them")
    return tuple(said)
