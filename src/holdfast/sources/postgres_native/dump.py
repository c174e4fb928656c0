"""Parts that pg_dump and pg_dumpall write: the schema and the roles."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from holdfast.errors import BackupFailed
from holdfast.model import Buffer, Member, PartKind, PartPlan
from holdfast.process import Child, ChildFailed, running
from holdfast.sources.endings import Endings
from holdfast.sources.postgres_native import failures
from holdfast.sources.postgres_native.inventory import Facts
from holdfast.sources.postgres_native.login import Login
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


class Dumper:
    """Runs the tools inside the snapshot."""

    def __init__(
        self, login: Login, *, pg_dump: Tool, pg_dumpall: Tool, snapshot: str, found: Facts
    ) -> None:
        self._login = login
        self._pg_dump = pg_dump
        self._pg_dumpall = pg_dumpall
        self._snapshot = snapshot
        self._found = found

    @contextmanager
    def read(self, part: PartPlan, endings: Endings) -> Iterator[Dump]:
        subject = f"{part.kind.value} of database '{self._found.database}'"
        with (
            running(self._argv(part.kind), env=self._login.environment()) as child,
            endings.registered(child.end),
        ):
            yield Dump(child, subject, endings.aborted)

    def _argv(self, kind: PartKind) -> list[str]:
        if kind is PartKind.GLOBALS:
            return self._globals()
        return [
            str(self._pg_dump.path),
            "--no-password",
            # Large objects are ours to take (-B: the long name changed in version 16).
            "-B",
            f"--snapshot={self._snapshot}",
            f"--lock-wait-timeout={self._login.lock_wait_seconds}s",
            *_SECTIONS[kind],
            f"--dbname={self._login.conninfo()}",
        ]

    def _globals(self) -> list[str]:
        # Its own default is to log in to the database `postgres`, which may be closed to us.
        argv = [
            str(self._pg_dumpall.path),
            "--no-password",
            "--globals-only",
            f"--database={self._found.database}",
            f"--dbname={self._login.conninfo()}",
        ]
        return argv if self._found.may_read_passwords else [*argv, "--no-role-passwords"]


_SECTIONS = {
    PartKind.PRE_DATA: ["--section=pre-data"],
    PartKind.POST_DATA: ["--section=post-data"],
}
