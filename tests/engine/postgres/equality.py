"""Whether two databases are equal, without any of our own code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

# A random key that pg_dump makes for every dump.
_DRAWN_EACH_TIME = ("\\restrict ", "\\unrestrict ")


def dump(conninfo: str) -> list[str]:
    """The whole database as pg_dump prints it, with rows."""
    finished = subprocess.run(
        [program("pg_dump", conninfo), f"--dbname={conninfo}"],
        check=True,
        capture_output=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    lines = finished.stdout.decode(errors="surrogateescape").split("\n")
    return [line for line in lines if not line.startswith(_DRAWN_EACH_TIME)]


def program(name: str, conninfo: str) -> str:
    """The server's own version of a client program, past Debian's slow wrapper."""
    with psycopg.connect(conninfo) as connection:
        major = connection.info.server_version // 10000
    own = Path(f"/usr/lib/postgresql/{major}/bin/{name}")
    return str(own) if own.exists() else name


def checksums(conninfo: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Rows and a checksum of each table, computed by the server."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SET extra_float_digits = 3; SET client_encoding = 'UTF8'")
        tables = connection.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname !~ '^pg_'"
            " AND n.nspname <> 'information_schema'"
        ).fetchall()
        return {(schema, name): _checksum(connection, schema, name) for schema, name in tables}


def _checksum(connection: psycopg.Connection, schema: str, name: str) -> tuple[int, int]:
    statement = sql.SQL(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM ONLY {} AS t"
    ).format(sql.Identifier(schema, name))
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def properties(conninfo: str) -> list[tuple[object, ...]]:
    """Its properties from CREATE DATABASE and ALTER DATABASE, without its name."""
    with psycopg.connect(conninfo) as connection:
        return connection.execute(
            "SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), encoding,"
            " datcollate, datconnlimit, datistemplate, datlocprovider,"
            " ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1),"
            " ARRAY(SELECT (setrole, setconfig)::text FROM pg_db_role_setting"
            "       WHERE setdatabase = d.oid ORDER BY 1)"
            " FROM pg_database d WHERE datname = current_database()"
        ).fetchall()
