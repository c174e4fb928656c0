"""Where a server is and who logs in: `mysql://user@host:port/database?unix_socket=...`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from holdfast.model.errors import ConfigInvalid

SCHEMES = ("mysql", "mariadb")
QUERY_KEYS = ("unix_socket", "ssl_ca")
DEFAULT_PORT = 3306
EXAMPLE = "mysql://holdfast@localhost/shop?unix_socket=/run/mysqld/mysqld.sock"


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
        """Read `url`; a password given apart wins over one in it. Raises `ConfigInvalid`.

        Of a `whole_server` it need not name a database.
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
    """The message leaves out what stands before an `@`: it may hold a password."""
    shown = url.rpartition("@")[2]
    return ConfigInvalid(f"cannot use database address '{shown}': {cause}", hint=EXAMPLE)
