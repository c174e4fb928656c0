"""One session on a server, which another thread can cut, and the server's version."""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
import pymysql.converters
from pymysql.constants import COMMAND
from pymysql.cursors import SSCursor
from pymysql.protocol import EOFPacketWrapper, OKPacketWrapper

from holdfast.model.backup import Server
from holdfast.model.errors import DatabaseUnreachable, GrantMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.sources.mysql.server import session_settings
from holdfast.sources.mysql.server.answers import Answered, Row, UncopiedRow, uncopied, values_of
from holdfast.sources.mysql.server.connection import (
    LOCK_TIMEOUT,
    VALUE_CUT,
    Address,
    ConnectionLost,
    StatementFailed,
    cannot_connect,
    translated,
)
from holdfast.sources.mysql.server.session_settings import Purpose

CONNECT_SECONDS = 10.0
# How often `Session.awaited` yields while a long statement runs.
LOOK_SECONDS = 5.0
# Values go in as literals and come out as the server's own bytes: no decoders.
_ENCODERS: dict[int | type[Any], Callable[[Any], str] | Callable[[str], Any]] = dict(
    pymysql.converters.encoders.items()
)
MARIADB = "mariadb"
MYSQL = "mysql"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVersion:
    """MariaDB or MySQL, and which release."""

    kind: str
    number: str
    release: tuple[int, int]
    max_allowed_packet: int

    @property
    def mariadb(self) -> bool:
        return self.kind == MARIADB

    @property
    def backup_stages(self) -> bool:
        """Whether `BACKUP STAGE` exists: it stops commits only, not every write."""
        return self.mariadb and self.release >= (10, 5)

    def server(self, database: str) -> Server:
        return Server(kind=self.kind, version=self.number, database=database)

    @classmethod
    def of(cls, session: Session) -> ServerVersion:
        number, comment, packet = session.text(
            "SELECT VERSION(), @@version_comment, @@max_allowed_packet"
        )[0]
        mariadb = "mariadb" in f"{number} {comment}".lower()
        major, minor = [*re.findall(r"\d+", number), "0", "0"][:2]
        return cls(
            kind=MARIADB if mariadb else MYSQL,
            number=number,
            release=(int(major), int(minor)),
            max_allowed_packet=int(packet),
        )


class _Connection(pymysql.Connection):
    """A PyMySQL connection that another thread can cut."""

    def cut(self) -> None:
        """Shut the socket down while another thread reads from it.

        Uses a duplicate, because the socket object itself belongs to the reading thread.
        """
        # The socket is None where the connection was closed in the meantime.
        with suppress(OSError, AttributeError):
            descriptor = os.dup(self._sock.fileno())  # type: ignore[attr-defined]  # not in the stubs
            with socket.socket(fileno=descriptor) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

    def ask(self, sql: str | bytes) -> None:
        """Send a statement without waiting for its answer."""
        self._execute_command(COMMAND.COM_QUERY, sql)  # type: ignore[attr-defined]  # not in the stubs

    def is_answered(self, *, within_seconds: float) -> bool:
        waiting = select.poll()
        waiting.register(self._sock.fileno(), select.POLLIN)  # type: ignore[attr-defined]  # not in the stubs
        return bool(waiting.poll(within_seconds * 1000))

    def answer(self) -> tuple[list[Row], int]:
        """All rows of the answer to `ask`, and the number of warnings."""
        return self._answered(values_of)

    def uncopied_answer(self) -> tuple[list[UncopiedRow], int]:
        """The same for rows with long values."""
        return self._answered(uncopied)

    def _answered(self, row_of: Callable[[Any, range], Answered]) -> tuple[list[Answered], int]:
        """PyMySQL would first parse the description of each column, which nobody here needs."""
        read: Callable[[], Any] = self._read_packet
        first = read()
        if first.is_ok_packet():
            return [], self._warnings_at(OKPacketWrapper(first))
        if first.is_load_local_packet():
            self.cut()
            raise pymysql.InternalError(0, "the server asks for a file of this host")
        columns: range = range(first.read_length_encoded_integer())
        for _ in (*columns, "the end of the descriptions"):
            read()
        rows: list[Answered] = []
        while not (packet := read()).is_eof_packet():
            rows.append(row_of(packet, columns))
        return rows, self._warnings_at(EOFPacketWrapper(packet))

    def _warnings_at(self, end: OKPacketWrapper | EOFPacketWrapper) -> int:
        # It says whether a backslash escapes a quote, which later literals depend on.
        self.server_status = end.server_status
        return int(end.warning_count)

    def forget_result(self) -> None:
        """Keep PyMySQL from reading the rest of an unfinished result when it is collected."""
        result = self._result  # type: ignore[attr-defined]  # not in the stubs
        if result is not None:
            result.unbuffered_active = False


class Session:
    """One login: short answers as text, large ones as bytes.

    `preparation` is the statement that set its variables: a stock program that begins with the
    same statement reads or loads in the same way. `variables` are the session's own before that.
    """

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._cut = False
        self.preparation = ""
        self.variables: Mapping[str, str] = {}

    @classmethod
    def open(
        cls,
        address: Address,
        *,
        database: str | None = None,
        purpose: Purpose = "reading",
        known: Mapping[str, str] | None = None,
    ) -> Session:
        """Log in and prepare; raises `DatabaseUnreachable`, `AccessDenied` or `GrantMissing`.

        `known` are the variables of an earlier session of this server, whose long list takes most
        of the time of a login.
        """
        try:
            connection = _Connection(
                user=address.user,
                password=address.password.encode(),
                host=address.host,
                port=address.port,
                unix_socket=address.unix_socket or None,
                database=address.database if database is None else database or None,
                ssl_ca=address.ssl_ca or None,
                ssl_disabled=True if address.unix_socket else None,
                charset="utf8mb4",
                use_unicode=False,
                conv=dict(_ENCODERS),
                autocommit=True,
                sql_mode="",
                connect_timeout=CONNECT_SECONDS,
            )
        except (pymysql.Error, OSError, RuntimeError) as error:
            raise cannot_connect(address, error) from error
        opened = cls(connection)
        with on_failure(opened.close):
            try:
                opened._prepare(purpose, known)
            except ConnectionLost as error:
                what = f"cannot connect to '{address}': {error.message}"
                raise DatabaseUnreachable(what) from error
        return opened

    def _prepare(self, purpose: Purpose, known: Mapping[str, str] | None) -> None:
        """Set every variable that matters: a new session has the server's global values."""
        self.run(session_settings.FIRST)
        present = self._listed() if known is None else self._as_now(purpose, known)
        self.variables = present
        try:
            self.preparation = session_settings.statement(purpose, present)
            self.run(self.preparation)
        except GrantMissing as error:
            refused = session_settings.restricted(purpose, present)
            wanted = session_settings.indispensable(purpose, present)
            if purpose == "loading" and wanted:
                raise _cannot_prepare(self.value("SELECT CURRENT_USER()"), wanted) from error
            # Without the variables left out here, a statement fails with an error at worst.
            allowed = {name: value for name, value in present.items() if name not in refused}
            self.preparation = session_settings.statement(purpose, allowed)
            self.run(self.preparation)

    def _listed(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.text("SHOW SESSION VARIABLES")}

    def _as_now(self, purpose: Purpose, known: Mapping[str, str]) -> dict[str, str]:
        """`known`, with this session's values of those that are set only where they differ."""
        names = session_settings.compared(purpose, known)
        if not names:
            return dict(known)
        values = self.text("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names))[0]
        return {**known, **dict(zip(names, values, strict=True))}

    def configure(self, **values: str | int) -> None:
        """Set session variables; a value is SQL text."""
        for name, value in values.items():
            self.run(f"SET SESSION {name} = {value}")

    def is_admitted(self, sql: str) -> bool:
        """Run a statement; False if it is not granted its locks within a second."""
        usual = f"SET SESSION lock_wait_timeout = {session_settings.METADATA_WAIT_SECONDS}"
        self.configure(lock_wait_timeout=1)
        with afterwards(self.run, usual):
            try:
                self.run(sql)
            except StatementFailed as error:
                if error.code != LOCK_TIMEOUT:
                    raise
                return False
        return True

    def run(self, sql: str) -> None:
        """Execute a statement and ignore its answer."""
        self.fetch(sql)

    def text(self, sql: str, *values: str) -> list[tuple[str, ...]]:
        """All rows as text; NULL is an empty string. For names and numbers."""
        rows, _ = self.fetch(sql, values)
        return [tuple((value or b"").decode() for value in row) for row in rows]

    def named(self, sql: str) -> list[dict[str, str]]:
        """All rows as text, by the names of their columns."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                names = [column[0] for column in cursor.description or ()]
                rows: list[Row] = list(cursor.fetchall())
        except (pymysql.Error, OSError) as error:
            raise translated(error) from error
        return [
            {name: (value or b"").decode() for name, value in zip(names, row, strict=True)}
            for row in rows
        ]

    def value(self, sql: str, *values: str) -> str:
        """The first column of the first row as text, or an empty string."""
        rows = self.text(sql, *values)
        return rows[0][0] if rows else ""

    def variable(self, name: str) -> str:
        """A session variable, or an empty string where this server has none of that name."""
        rows = self.text("SHOW VARIABLES LIKE %s", name.replace("_", r"\_"))
        return rows[0][1] if rows else ""

    def fetch(self, sql: str, values: Sequence[str] = ()) -> tuple[list[Row], int]:
        """All rows as bytes, and the number of warnings."""
        if values:
            sql = sql % tuple(map(self._connection.escape, values))
        self.ask(sql)
        return self.answer()

    def ask(self, sql: str | bytes) -> None:
        """Send a statement; nothing else may be sent before `answer` returned."""
        try:
            self._connection.ask(sql)
        except (pymysql.Error, OSError) as error:
            raise translated(error) from error

    def answer(self) -> tuple[list[Row], int]:
        """What `fetch` returns, for the statement that was sent by `ask`."""
        try:
            return self._connection.answer()
        except (pymysql.Error, OSError) as error:
            raise translated(error) from error

    def uncopied_answer(self) -> tuple[list[UncopiedRow], int]:
        """What `answer` returns, for rows with long values."""
        try:
            return self._connection.uncopied_answer()
        except (pymysql.Error, OSError) as error:
            raise translated(error) from error

    def awaited(self, sql: str) -> Generator[bytes, None, tuple[list[Row], int]]:
        """What `fetch` returns, for a long statement: yields `b""` periodically while it runs.

        Leaving before the end cuts the connection.
        """
        with on_failure(self.cut):
            try:
                self._connection.ask(sql)
                while not self._connection.is_answered(within_seconds=LOOK_SECONDS):
                    yield b""
                return self._connection.answer()
            except (pymysql.Error, OSError) as error:
                raise translated(error) from error

    @contextmanager
    def streamed(self, sql: str) -> Iterator[Iterator[Row]]:
        """Rows as the server sends them; leaving before the end cuts the connection.

        Raises `StatementFailed` at the end where a value was too large for the server itself.
        """
        ended = False

        def rows() -> Iterator[Row]:
            nonlocal ended
            try:
                cursor.execute(sql)
                yield from cursor.fetchall_unbuffered()
                ended = True
                warned = cursor.warning_count > 0
            except (pymysql.Error, OSError) as error:
                raise translated(error) from error
            if warned:
                self._refuse_cut_values()

        def end() -> None:
            if not ended:
                # The rest of the result could only be read to its end, which may take hours.
                self.cut()
                self._connection.forget_result()
            with suppress(pymysql.Error, OSError):
                cursor.close()

        cursor = self._connection.cursor(SSCursor)
        with afterwards(end):
            yield rows()

    def _refuse_cut_values(self) -> None:
        """Raise `StatementFailed` where the server gave NULL for a value that it could not hold."""
        for _, code, text in self.text("SHOW WARNINGS"):
            if int(code) in VALUE_CUT:
                raise StatementFailed(int(code), text)

    @property
    def alive(self) -> bool:
        return self._connection.open and not self._cut

    def cut(self) -> None:
        """End the connection, also while a statement runs; from any thread."""
        self._cut = True
        self._connection.cut()

    def close(self) -> None:
        with suppress(pymysql.Error, OSError):
            self._connection.close()


def _cannot_prepare(user: str, refused: Mapping[str, str]) -> GrantMissing:
    values = ", ".join(f"{name} = {value}" for name, value in refused.items())
    return GrantMissing(
        f"cannot restore data unchanged: {user} may not set {', '.join(refused)} for a session",
        hint=f"GRANT SESSION_VARIABLES_ADMIN ON *.* to it (MariaDB: SUPER), or SET GLOBAL {values}",
    )


@contextmanager
def session(
    address: Address,
    *,
    database: str | None = None,
    purpose: Purpose = "reading",
    known: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """A session for the length of the block; `database=""` selects no database."""
    opened = Session.open(address, database=database, purpose=purpose, known=known)
    with afterwards(opened.close):
        yield opened
