"""Where a database is: the server's own notation, without a password in it."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import AfterValidator, Field

from holdfast.config.values import problem

PASSWORD_KEYS = {"password", "passwd", "pwd", "sslpassword"}
_CONNINFO_PASSWORD = re.compile(r"(?:^|\s)(?:password|sslpassword)\s*=", re.IGNORECASE)


def _without_password(dsn: str) -> str:
    if _holds_password(dsn):
        raise problem(
            "a password does not belong in a dsn: this file and the logs show it",
            hint="write it into a file of mode 0640 and name that in password_file",
        )
    return dsn


def _holds_password(dsn: str) -> bool:
    if "://" not in dsn:
        return bool(_CONNINFO_PASSWORD.search(dsn))
    url = _split(dsn)
    keys = {key.lower() for key in parse_qs(url.query, keep_blank_values=True)}
    return url.password is not None or bool(PASSWORD_KEYS & keys)


def mysql_url(dsn: str, *, needs_database: bool) -> str:
    """`dsn` again, where it is a URL of a MySQL server."""
    url = _split(dsn)
    is_whole = url.path.strip("/") or not needs_database
    if url.scheme not in ("mysql", "mariadb") or not is_whole:
        raise problem(
            "it is not a URL with a database",
            hint="mysql://holdfast@localhost/DATABASE?unix_socket=/run/mysqld/mysqld.sock",
        )
    return dsn


def _split(dsn: str) -> SplitResult:
    try:
        return urlsplit(dsn)
    except ValueError as error:
        raise problem(f"it is not a URL: {error}") from error


Dsn = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]
