"""The address and login of a server, its stock clients, and what error numbers mean for both."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    ConfigInvalid,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    ToolMissing,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import Proven
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.mysql.server.sql import quoted

SCHEMES = ("mysql", "mariadb")
QUERY_KEYS = ("unix_socket", "ssl_ca")
DEFAULT_PORT = 3306
EXAMPLE = "mysql://holdfast@localhost/shop?unix_socket=/run/mysqld/mysqld.sock"
DATABASE_DENIED = 1044
LOGIN_DENIED = {1045, 1698, 1251, 1275, 4151, 3118, 3955}
DATABASE_UNKNOWN = 1049
TOO_MANY = {1040, 1203, 1226}
PRIVILEGE_DENIED = {1142, 1143, 1227, 1370}
LOCK_TIMEOUT = 1205
TABLE_GONE = 1146
TABLE_CHANGED = 1412
DEFINER_UNKNOWN = 1449
COLLATIONS_MIXED = {1267, 1270, 1271}
# Warnings, not errors: GROUP_CONCAT was cut; a result was larger than max_allowed_packet.
VALUE_CUT = {1260, 1301}
# Gone away, lost, shut down, killed (MariaDB), idle too long (MySQL), and PyMySQL's own 0.
CONNECTION_LOST = {0, 1053, 1927, 2006, 2013, 2014, 2055, 4031}
CLIENTS = ("mariadb", "mysql")
PACKAGES = "mariadb-client or default-mysql-client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A login at a database; its text never shows the password."""

    user: str
    host: str
    port: int
    database: str
    unix_socket: str
    ssl_ca: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        where = self.unix_socket or f"{self.host}:{self.port}"
        return f"{self.user}@{where}/{self.database}"

    @classmethod
    def parse(cls, url: str, *, password: str | None = None, whole_server: bool = False) -> Address:
        """Parse `url`; `password` takes precedence over one in it. Raises `ConfigInvalid`.

        For a `whole_server`, the URL need not name a database.
        """
        split = urlsplit(url)
        if split.scheme not in SCHEMES:
            raise _refused(url, f"it begins with none of {', '.join(SCHEMES)}")
        query = _query(url, split)
        database = unquote(split.path.removeprefix("/"))
        if not split.username:
            raise _refused(url, "it names no user")
        if not database and not whole_server:
            raise _refused(url, "it names no database")
        return cls(
            user=unquote(split.username),
            host=split.hostname or "localhost",
            port=_port(url, split),
            database=database,
            unix_socket=query.get("unix_socket", ""),
            ssl_ca=query.get("ssl_ca", ""),
            password=unquote(split.password or "") if password is None else password,
        )


def _query(url: str, split: SplitResult) -> dict[str, str]:
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    for key in query:
        if key not in QUERY_KEYS:
            raise _refused(url, f"'{key}' is not one of {', '.join(QUERY_KEYS)}")
    return query


def _port(url: str, split: SplitResult) -> int:
    try:
        return split.port or DEFAULT_PORT
    except ValueError as error:
        raise _refused(url, "its port is not a number") from error


def _refused(url: str, cause: str) -> ConfigInvalid:
    """The error leaves out the text before an `@`, which may hold a password."""
    shown = url.rpartition("@")[2]
    return ConfigInvalid(f"cannot use database address '{shown}': {cause}", hint=EXAMPLE)


class ConnectionLost(HoldfastError):
    """The connection ended during a statement; the snapshot turns this into `SnapshotLost`."""


class StatementFailed(HoldfastError):
    """The server refused a statement; callers translate it into their own error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (error {code})")
        self.code = code


def translated(error: BaseException) -> HoldfastError:
    """Translate a driver's error into `ConnectionLost`, `GrantMissing` or `StatementFailed`."""
    code, text = code_of(error), text_of(error)
    if code in CONNECTION_LOST:
        return ConnectionLost(f"the connection is gone: {text}")
    if code in PRIVILEGE_DENIED:
        return GrantMissing(
            f"cannot read the database: {text}",
            hint="holdfast check names the missing grant",
        )
    return StatementFailed(code, text)


def cannot_connect(address: Address, error: BaseException) -> HoldfastError:
    """The error for a failed login, with a hint how to fix it."""
    code = code_of(error)
    what = f"cannot connect to '{address}': {text_of(error)}"
    if code in LOGIN_DENIED:
        return AccessDenied(what, hint=_login_hint(address))
    if code == DATABASE_DENIED:
        return GrantMissing(
            what,
            hint=f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {quoted(address.database)}.* "
            f"TO the login, and see docs/restore-mysql.md for the rest",
        )
    if code == DATABASE_UNKNOWN:
        return DatabaseUnreachable(what, hint="check the name of the database")
    if code in TOO_MANY:
        return DatabaseUnreachable(what, hint="free some connections, or raise max_connections")
    where = address.unix_socket or f"{address.host}:{address.port}"
    return DatabaseUnreachable(what, hint=f"check that the server runs and listens on {where}")


def _login_hint(address: Address) -> str:
    if address.unix_socket and not address.password:
        return f"socket login needs the operating system user '{address.user}'"
    return f"check the password of '{address.user}', and that it may log in from this host"


def table_failed(table: str, error: StatementFailed) -> BackupFailed:
    """The error for a table that could not be read; the hint says if it was altered."""
    what = f"cannot read table '{table}': {error.message}"
    if error.code in (TABLE_CHANGED, TABLE_GONE):
        return BackupFailed(
            what, hint="it was altered after the snapshot; run the backup again when that is over"
        )
    if error.code in VALUE_CUT:
        return BackupFailed(what, hint="raise max_allowed_packet above the longest value")
    return BackupFailed(what)


def code_of(error: BaseException) -> int:
    """The server's error number; 0 where the connection broke without one."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) and not isinstance(error, OSError) else 0


def text_of(error: BaseException) -> str:
    return str(error.args[-1]) if error.args and error.args[-1] else type(error).__name__


class Clients:
    """Runs stock clients on one database, and can end all of them at once.

    Each client begins with the statement `preparation`, which also prepared our own session.
    """

    def __init__(self, address: Address, *, preparation: str) -> None:
        self._address = address
        self._preparation = preparation
        self._program = find_client()
        self._running: set[Child] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, script: Proven) -> None:
        """Run `script` to its end; raises `ChildFailed`, or `Stopped` after `stop`."""
        with login_file(self._address, more={"init-command": self._preparation}) as descriptor:
            argv = _command(self._program, descriptor, self._address)
            client = running(argv, stdin=True, stdout=False, pass_fds=(descriptor,))
            with client as child, self._listed(child):
                self._feed(child, script)

    def stop(self) -> None:
        """End every client, and start no more; from any thread."""
        with self._lock:
            self._stopped = True
            children = list(self._running)
        for child in children:
            child.end()

    @contextmanager
    def _listed(self, child: Child) -> Iterator[None]:
        with self._lock:
            if self._stopped:
                raise Stopped
            self._running.add(child)
        with afterwards(self._unlist, child):
            yield

    def _unlist(self, child: Child) -> None:
        with self._lock:
            self._running.discard(child)

    def _feed(self, child: Child, script: Proven) -> None:
        try:
            child.feed(script)
            child.finish()
        except ChildFailed:
            if self._stopped:
                raise Stopped from None
            raise


class Stopped(Exception):
    """The restore was stopped because another script failed; this script did not fail itself."""


def find_client() -> str:
    """The path of a stock client; raises `ToolMissing`."""
    for name in CLIENTS:
        if path := shutil.which(name):
            return path
    raise ToolMissing(f"cannot run '{CLIENTS[0]}': it is not installed", hint=f"install {PACKAGES}")


def _command(program: str, descriptor: int, address: Address) -> list[str]:
    return [
        program,
        # The client wants this option first; it then reads no other option file of the host.
        f"--defaults-file=/dev/fd/{descriptor}",
        f"--database={address.database}",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        # Of the client's own commands, this leaves only those for delimiter and character set:
        # none that runs a program, or reads or writes a file.
        "--binary-mode",
        # Otherwise the server, or the author of the script, could request any file of this host.
        "--local-infile=0",
        "--comments",
        "--batch",
        "--skip-reconnect",
    ]


@contextmanager
def login_file(address: Address, *, more: Mapping[str, str] | None = None) -> Iterator[int]:
    """The descriptor of an option file in memory, which only this process and its children read.

    The file holds the login and the options `more`, which override those of the login.
    """
    descriptor = os.memfd_create("holdfast-login")
    with afterwards(os.close, descriptor):
        # The client ignores an option file that is writable by everybody.
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, login_options(address, more=more).encode())
        yield descriptor


def login_options(address: Address, *, more: Mapping[str, str] | None = None) -> str:
    """The text of an option file for a client."""
    options = {"user": address.user, "password": address.password}
    if address.unix_socket:
        options |= {"protocol": "socket", "socket": address.unix_socket}
    else:
        options |= {"protocol": "tcp", "host": address.host, "port": str(address.port)}
    if address.ssl_ca:
        options["ssl-ca"] = address.ssl_ca
    else:
        # Like our own sessions: encrypted where offered, verified only where a CA is given.
        options["loose-ssl-verify-server-cert"] = "0"
    options |= more or {}
    lines = [f'{name}="{_escaped(value)}"' for name, value in options.items()]
    # Only MariaDB's client reads this section, and since May 2024 its sandbox bans those commands.
    return "\n".join(["[client]", *lines, "[mariadb-client]", "loose-sandbox", ""])


def _escaped(value: str) -> str:
    for plain, written in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(plain, written)
    return value
