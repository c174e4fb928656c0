"""Parts that pg_dump and pg_dumpall write: the schema and the roles."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from holdfast.errors import BackupFailed
from holdfast.model import Buffer, Member, PartKind, PartPlan
from holdfast.process import Child, ChildFailed, running
from holdfast.sources.endings import Endings
from holdfast.sources.postgres_native import failures
from holdfast.sources.postgres_native.inventory import Facts
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.schema_archive import SchemaArchive
from holdfast.sources.postgres_native.tools import Tool


class Dump:
    """The plain output of one child; iterate once."""

    rows = None
    members: Sequence[Member] = ()

    def __init__(self, child: Child, subject: str, aborted: threading.Event) -> None:
        self._child = child
        self._subject = subject
        self._aborted = aborted

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._child.chunks()
        except ChildFailed as error:
            if self._aborted.is_set():
                ended = f"cannot read {self._subject}: the run was ended"
                raise BackupFailed(ended) from error
            raise failures.dumping(error, self._subject) from error


@contextmanager
def dumped(
    argv: Sequence[str],
    login: Login,
    subject: str,
    endings: Endings,
    *,
    pass_fds: Sequence[int] = (),
) -> Iterator[Dump]:
    """What a tool prints that logs in as we do; gone when the block ends."""
    with (
        running(argv, env=login.environment(), pass_fds=pass_fds) as child,
        endings.registered(child.end),
    ):
        yield Dump(child, subject, endings.aborted)


class Globals:
    """Roles and tablespaces, which belong to no database."""

    def __init__(self, login: Login, *, pg_dumpall: Tool, found: Facts) -> None:
        self._login = login
        self._pg_dumpall = pg_dumpall
        self._found = found

    def read(self, endings: Endings) -> AbstractContextManager[Dump]:
        subject = f"globals of database '{self._found.database}'"
        return dumped(self._argv(), self._login, subject, endings)

    def _argv(self) -> list[str]:
        # Its own default is to log in to the database `postgres`, which may be closed to us.
        argv = [
            str(self._pg_dumpall.path),
            "--no-password",
            "--globals-only",
            f"--database={self._found.database}",
            f"--dbname={self._login.conninfo()}",
        ]
        return argv if self._found.may_read_passwords else [*argv, "--no-role-passwords"]


class Schema:
    """The definitions, inside the snapshot."""

    def __init__(
        self, login: Login, *, pg_dump: Tool, snapshot: str, found: Facts, archive: SchemaArchive
    ) -> None:
        self._login = login
        self._pg_dump = pg_dump
        self._snapshot = snapshot
        self._found = found
        self._archive = archive

    @contextmanager
    def read(self, part: PartPlan, endings: Endings) -> Iterator[Dump]:
        subject = f"{part.kind.value} of database '{self._found.database}'"
        archive = self._archive.descriptor(
            lambda: dumped(self._pg_dump_argv(), self._login, subject, endings)
        )
        argv = self._pg_restore_argv(part.kind, archive)
        with dumped(argv, self._login, subject, endings, pass_fds=(archive,)) as dump:
            yield dump

    def _pg_dump_argv(self) -> list[str]:
        return [
            str(self._pg_dump.path),
            "--no-password",
            "--format=custom",
            # Large objects are ours to take (-B: the long name changed in version 16).
            "-B",
            f"--snapshot={self._snapshot}",
            f"--lock-wait-timeout={self._login.lock_wait_seconds}s",
            *_SECTIONS.values(),
            f"--dbname={self._login.conninfo()}",
        ]

    def _pg_restore_argv(self, kind: PartKind, archive: int) -> list[str]:
        # It comes in the same package, and knows its sister's archives best.
        pg_restore = self._pg_dump.path.with_name("pg_restore")
        return [str(pg_restore), _SECTIONS[kind], "--file=-", f"/dev/fd/{archive}"]


_SECTIONS = {
    PartKind.PRE_DATA: "--section=pre-data",
    PartKind.POST_DATA: "--section=post-data",
}
