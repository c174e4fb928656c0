"""Parts that pg_dump and pg_dumpall write: the schema, the roles and the tablespaces.

pg_dump reads every catalog before it writes a line. With many tables that takes longer than
reading their rows. So it runs once, into an archive from which pg_restore extracts both sections.
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
from holdfast.runtime.kernel import start
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.postgres.server import catalog_queries, failures
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.failures import LockTimedOut
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.preflight import TRY_SECONDS, Queue

Dumping = Callable[[], AbstractContextManager[Iterable[Buffer]]]

# The interval of the checks whether pg_dump has its locks: it doubles, because a small database is
# locked within milliseconds, and the check of a large one costs the server more.
FIRST_LOOK_SECONDS, MOST_LOOK_SECONDS = 0.002, 0.05
# pg_dump locks no tables of extensions, as CREATE EXTENSION restores them. A join that looks each
# table up among the locks takes seconds for ten thousand tables.
_HAS_LOCKS = """
SELECT pg_stat_clear_snapshot()::text, NOT EXISTS (
    SELECT unnest(%s::oid[])
    EXCEPT (SELECT d.objid FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
            UNION ALL
            SELECT l.relation FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE a.application_name = %s AND l.relation IS NOT NULL AND l.granted))
"""
_SECTIONS = {
    PartKind.PRE_DATA: "--section=pre-data",
    PartKind.POST_DATA: "--section=post-data",
}


class Globals:
    """Reads roles and tablespaces, which belong to no database, then `of_everybody`: the settings
    of all roles, which pg_dumpall omits."""

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
        # By default pg_dumpall logs in to the database `postgres`, which may refuse our login.
        argv = [
            str(self._pg_dumpall.path),
            "--no-password",
            "--globals-only",
            f"--database={self._found.database}",
            f"--dbname={self._login.steady_conninfo()}",
        ]
        return argv if self._found.may_read_passwords else [*argv, "--no-role-passwords"]


class Schema:
    """Reads the definitions inside the snapshot."""

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

    def begin(self) -> None:
        """Start pg_dump in a thread; `wait_for_locks` must follow."""
        subject = f"pre-data of database '{self._found.database}'"

        def run() -> None:
            try:
                self._archive.descriptor(lambda: self._dumping(subject))
            except HoldfastError as error:
                self._failed = error

        self._thread = threading.Thread(target=run, name="schema")
        start(self._thread)

    def wait_for_locks(self, held: psycopg.Connection) -> None:
        """Return once the pg_dump that was started has locked all tables.

        So no other session can queue for a lock first. Raises `LockTimedOut` if one did.
        """
        if self._thread is None:
            return
        wait_for_locks(held, self._login, is_running=self._thread.is_alive)
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        """Cancel what `begin` started, and wait for its end."""
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
        """The archive; pg_dump is tried again while another session blocks its locks."""
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
            # No large objects: holdfast reads them itself. The long name of -B changed in 16.
            "-B",
            f"--snapshot={self._snapshot}",
            f"--lock-wait-timeout={TRY_SECONDS}s",
            *_SECTIONS.values(),
            f"--dbname={self._login.steady_conninfo()}",
        ]

    def _pg_restore_argv(self, kind: PartKind, archive: int) -> list[str]:
        # The pg_restore of the same package reads the archives of its pg_dump.
        pg_restore = self._pg_dump.path.with_name("pg_restore")
        return [str(pg_restore), _SECTIONS[kind], "--file=-", f"/dev/fd/{archive}"]


class SchemaArchive:
    """A pg_dump archive in an unnamed temporary file; created by `schema_archive`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._is_whole = False

    def descriptor(self, dumping: Dumping) -> int:
        """The file descriptor of the whole archive; may be called from any thread.

        The first caller writes the archive, and the others wait. After a failed write the next
        caller tries again.
        """
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
    """The output of one child process, then `after`; iterate once."""

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
    """A short SQL text that holdfast writes itself; iterate once."""

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
    """Run a tool with our login and yield its output; the process ends with the block."""
    with (
        running(argv, env=login.environment(), pass_fds=pass_fds) as child,
        cancellation.registered(child.end),
    ):
        yield Dump(child, subject, cancellation.aborted, after=after)


def of_its_own(login: Login) -> Login:
    """The login with a unique application name, which identifies the locks of its session."""
    name = f"{login.settings['application_name']}-{secrets.token_hex(4)}"
    return login.with_settings(application_name=name)


def wait_for_locks(
    held: psycopg.Connection, login: Login, *, is_running: Callable[[], bool]
) -> None:
    """Wait until the pg_dump with this login has locked every table, or has ended."""
    tables = [each.oid for each in catalog_queries.lockable(held)]
    wanted = [tables, login.settings["application_name"]]
    pause = FIRST_LOOK_SECONDS
    while is_running():
        row = held.execute(_HAS_LOCKS, wanted).fetchone()
        if row and row[1]:
            return
        time.sleep(pause)
        pause = min(2 * pause, MOST_LOOK_SECONDS)
