"""Parts that pg_dump and pg_dumpall write: the schema, the roles and the tablespaces.

pg_dump reads every catalog before it writes a line, and of a database of many tables that takes
longer than their rows do. So it runs once, into an archive from which pg_restore takes both
sections.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO

import psycopg

from holdfast.model.backup import Buffer, PartKind, PartPlan
from holdfast.model.errors import BackupFailed, HoldfastError
from holdfast.ports.source import PartStream
from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.postgres.server import catalog_queries, failures
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.failures import LockTimedOut
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.preflight import TRY_SECONDS, Queue

Dumping = Callable[[], AbstractContextManager[Iterable[Buffer]]]

# How often it is looked whether pg_dump has its locks.
LOOK_SECONDS = 0.02
# Tables of extensions come back with these; pg_dump locks none of them.
_HAS_LOCKS = """
SELECT pg_stat_clear_snapshot()::text, NOT EXISTS (
    SELECT FROM unnest(%s::oid[]) AS wanted (oid)
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = wanted.oid AND d.deptype = 'e')
      AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
                      WHERE a.application_name = %s AND l.relation = wanted.oid AND l.granted))
"""
_SECTIONS = {
    PartKind.PRE_DATA: "--section=pre-data",
    PartKind.POST_DATA: "--section=post-data",
}


class Globals:
    """Roles and tablespaces, which belong to no database, and what pg_dumpall leaves out."""

    def __init__(
        self, login: Login, *, pg_dumpall: Tool, found: Facts, of_everybody: bytes = b""
    ) -> None:
        self._of_everybody = of_everybody
        self._login = login
        self._pg_dumpall = pg_dumpall
        self._found = found

    def read(self, cancellation: Cancellation) -> AbstractContextManager[Dump]:
        subject = f"globals of database '{self._found.database}'"
        return dumped(
            self._argv(),
            self._login,
            subject=subject,
            cancellation=cancellation,
            after=self._of_everybody,
        )

    def _argv(self) -> list[str]:
        # Its own default is to log in to the database `postgres`, which may be closed to us.
        argv = [
            str(self._pg_dumpall.path),
            "--no-password",
            "--globals-only",
            f"--database={self._found.database}",
            f"--dbname={self._login.steady_conninfo()}",
        ]
        return argv if self._found.may_read_passwords else [*argv, "--no-role-passwords"]


class Schema:
    """The definitions, inside the snapshot."""

    def __init__(
        self,
        login: Login,
        *,
        pg_dump: Tool,
        snapshot: str,
        found: Facts,
        archive: SchemaArchive,
        cancellation: Cancellation,
    ) -> None:
        self._login = of_its_own(login)
        self._pg_dump = pg_dump
        self._snapshot = snapshot
        self._found = found
        self._archive = archive
        self._cancellation = cancellation
        self._thread: threading.Thread | None = None
        self._failed: HoldfastError | None = None

    def begin(self, held: psycopg.Connection) -> None:
        """Have pg_dump lock all tables before anybody can queue for one: it goes on by itself.

        Raises `LockTimedOut` where somebody did before.
        """
        subject = f"pre-data of database '{self._found.database}'"

        def run() -> None:
            try:
                self._archive.descriptor(lambda: self._dumping(subject))
            except HoldfastError as error:
                self._failed = error

        self._thread = threading.Thread(target=run, name="schema")
        self._thread.start()
        wait_for_locks(held, self._login, is_running=self._thread.is_alive)
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        """Nothing of what `begin` began goes on."""
        self._cancellation.abort()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[Dump]:
        subject = f"{part.kind.value} of database '{self._found.database}'"
        archive = self._archived(subject)
        argv = self._pg_restore_argv(part.kind, archive)
        with self._dumped(argv, subject, pass_fds=(archive,)) as dump:
            yield dump

    def _archived(self, subject: str) -> int:
        """pg_dump locks every table for itself: it is tried again while somebody is in the way."""
        waiting = Queue(self._login)
        while True:
            try:
                return self._archive.descriptor(lambda: self._dumping(subject))
            except LockTimedOut:
                waiting.wait()

    def _dumping(self, subject: str) -> AbstractContextManager[Dump]:
        return self._dumped(self._pg_dump_argv(), subject)

    def _dumped(
        self, argv: Sequence[str], subject: str, *, pass_fds: Sequence[int] = ()
    ) -> AbstractContextManager[Dump]:
        return dumped(
            argv, self._login, subject=subject, cancellation=self._cancellation, pass_fds=pass_fds
        )

    def _pg_dump_argv(self) -> list[str]:
        return [
            str(self._pg_dump.path),
            "--no-password",
            "--format=custom",
            # Large objects are ours to take (-B: the long name changed in version 16).
            "-B",
            f"--snapshot={self._snapshot}",
            f"--lock-wait-timeout={TRY_SECONDS}s",
            *_SECTIONS.values(),
            f"--dbname={self._login.steady_conninfo()}",
        ]

    def _pg_restore_argv(self, kind: PartKind, archive: int) -> list[str]:
        # It comes in the same package, and knows its sister's archives best.
        pg_restore = self._pg_dump.path.with_name("pg_restore")
        return [str(pg_restore), _SECTIONS[kind], "--file=-", f"/dev/fd/{archive}"]


class SchemaArchive:
    """A pg_dump archive in a file without a name; made by `schema_archive`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._is_whole = False

    def descriptor(self, dumping: Dumping) -> int:
        """Of the whole archive. Who comes first has it written, everybody else waits; a run
        that failed is nobody's answer, and the next one tries again."""
        with self._lock:
            if not self._is_whole:
                self._file.seek(0)
                self._file.truncate()
                with dumping() as chunks:
                    for chunk in chunks:
                        self._file.write(chunk)
                self._file.flush()
                self._is_whole = True
        return self._file.fileno()


@contextmanager
def schema_archive() -> Iterator[SchemaArchive]:
    with tempfile.TemporaryFile() as file:
        yield SchemaArchive(file)


class Dump(PartStream):
    """The plain output of one child; iterate once."""

    def __init__(
        self, child: Child, subject: str, aborted: threading.Event, *, after: bytes = b""
    ) -> None:
        self._after = after
        self._child = child
        self._subject = subject
        self._aborted = aborted

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._child.chunks()
            if self._after:
                yield self._after
        except ChildFailed as error:
            if self._aborted.is_set():
                ended = f"cannot read {self._subject}: the run was ended"
                raise BackupFailed(ended) from error
            raise failures.dumping(error, self._subject) from error


class Texts(PartStream):
    """A short SQL text that we write ourselves; iterate once."""

    def __init__(
        self, session: psycopg.Connection, chunks: Iterator[Buffer], subject: str, *, user: str
    ) -> None:
        self._session = session
        self._chunks = chunks
        self._subject = subject
        self._user = user

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._chunks
        except psycopg.Error as error:
            gone = failures.session_is_gone(error, self._session)
            raise failures.reading(error, self._subject, gone=gone, user=self._user) from error


@contextmanager
def dumped(
    argv: Sequence[str],
    login: Login,
    *,
    subject: str,
    cancellation: Cancellation,
    pass_fds: Sequence[int] = (),
    after: bytes = b"",
) -> Iterator[Dump]:
    """What a tool prints that logs in as we do; gone when the block ends."""
    with (
        running(argv, env=login.environment(), pass_fds=pass_fds) as child,
        cancellation.registered(child.end),
    ):
        yield Dump(child, subject, cancellation.aborted, after=after)


def of_its_own(login: Login) -> Login:
    """Under a name that nobody else has: what it locks can be told from the locks of others."""
    name = f"{login.settings['application_name']}-{secrets.token_hex(4)}"
    return login.with_settings(application_name=name)


def wait_for_locks(
    held: psycopg.Connection, login: Login, *, is_running: Callable[[], bool]
) -> None:
    """Until the pg_dump that is logged in as `login` has locked every table, or has ended."""
    tables = [each.oid for each in catalog_queries.lockable(held)]
    wanted = [tables, login.settings["application_name"]]
    while is_running():
        row = held.execute(_HAS_LOCKS, wanted).fetchone()
        if row and row[1]:
            return
        time.sleep(LOOK_SECONDS)
