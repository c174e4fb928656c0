from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pytest

from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SnapshotLost,
)
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.server import failures


@dataclass(frozen=True)
class Shop:
    user: str = "holdfast"
    database: str = "shop"
    server: str = "db1:5432"
    kept_in: str = "the job's password_file"


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        (
            'FATAL:  password authentication failed for user "holdfast"',
            AccessDenied,
            "check the password of 'holdfast' in the job's password_file",
        ),
        (
            'FATAL:  Peer authentication failed for user "holdfast"',
            AccessDenied,
            "run as the system user 'holdfast', or map yours to it in pg_ident.conf",
        ),
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "holdfast", no encryption',
            AccessDenied,
            "allow 'holdfast' in pg_hba.conf and reload the server",
        ),
        (
            'FATAL:  role "holdfast" does not exist',
            AccessDenied,
            'create the role: CREATE ROLE "holdfast" LOGIN',
        ),
        (
            'FATAL:  permission denied for database "shop"',
            GrantMissing,
            'GRANT CONNECT ON DATABASE "shop" TO "holdfast"',
        ),
        (
            'FATAL:  database "shop" does not exist',
            DatabaseUnreachable,
            "check the name with: psql --list",
        ),
        (
            "FATAL:  sorry, too many clients already",
            DatabaseUnreachable,
            "raise max_connections, or lower max_concurrent_processes of the job",
        ),
        (
            "Connection refused\n\tIs the server running on that host?",
            DatabaseUnreachable,
            "check that the server runs and that the address is right",
        ),
    ],
)
def test_a_refused_connection_has_a_hint_for_the_right_person(
    said: str, kind: type[HoldfastError], hint: str
) -> None:
    error = failures.connecting(psycopg.OperationalError(said), Shop())
    assert type(error) is kind
    assert error.message == (
        f"cannot connect to database 'shop' on 'db1:5432': {' '.join(said.split())}"
    )
    assert error.hint == hint


@pytest.mark.parametrize(
    ("error", "gone", "kind"),
    [
        (psycopg.errors.InsufficientPrivilege("no"), False, GrantMissing),
        (psycopg.errors.LockNotAvailable("no"), False, BackupFailed),
        (psycopg.errors.DataCorrupted("no"), False, BackupFailed),
        (psycopg.errors.AdminShutdown("no"), True, SnapshotLost),
    ],
)
def test_a_failed_read_names_the_table(
    error: psycopg.Error, gone: bool, kind: type[HoldfastError]
) -> None:
    translated = failures.reading(error, "table 'public.a'", gone=gone, user="holdfast")
    assert type(translated) is kind
    assert translated.message == "cannot read table 'public.a': no"
    assert translated.hint


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("pg_dump: error: query failed: ERROR:  permission denied for table a", GrantMissing),
        ('ERROR:  snapshot "00000003-1-1" does not exist', SnapshotLost),
        ("invalid snapshot identifier", SnapshotLost),
        ("server closed the connection unexpectedly", SnapshotLost),
        ("out of memory", BackupFailed),
    ],
)
def test_a_failed_tool_is_told_by_its_last_words(stderr: str, kind: type[HoldfastError]) -> None:
    error = failures.dumping(ChildFailed("pg_dump", 1, stderr), "pre-data of database 'shop'")
    assert type(error) is kind
    assert error.message == (
        f"cannot read pre-data of database 'shop': pg_dump ended with status 1: {stderr}"
    )


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        ('role "x" does not exist', "--globals"),
        ('tablespace "fast" does not exist', "--globals"),
        ('extension "postgis" is not available', "install the package"),
        ('unrecognized configuration parameter "transaction_timeout"', "older than the tools"),
        ('invalid locale name: "xx_XX"', "install the locale"),
        ("invalid command \\restrict", "update the PostgreSQL client"),
        ("disk full", "log"),
    ],
)
def test_a_failed_restore_has_a_remedy(cause: str, hint: str) -> None:
    error = failures.restoring(cause, "table 'public.a'")
    assert error.message == f"cannot restore table 'public.a': {cause}"
    assert hint in error.hint
