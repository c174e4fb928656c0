"""Each failure has a message and a hint, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import psycopg
import pytest

from holdfast.model.backup import PartKind, PartPlan
from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    SnapshotLost,
    ToolMissing,
)
from holdfast.ports.source import Snapshot
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import dump
from tests.support.loop import bring_back, keep
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import until

# More than all buffers between the server and us can hold.
BIG = "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 40000) g"
BIG_ROWS = 40_000


def data_part(snapshot: Snapshot) -> PartPlan:
    (part,) = (part for part in snapshot.parts if part.kind is PartKind.DATA)
    return part


def test_a_wrong_password_is_refused_and_never_repeated(server: PostgresServer) -> None:
    role = server.role(password="right")
    source = PostgresSource(dsn=server.over_tcp("postgres", user=role), password="wr0ng-secret")
    with pytest.raises(AccessDenied) as caught:
        source.check()
    assert "password authentication failed" in caught.value.message
    assert caught.value.hint == f"check the password of '{role}' in the job's password_file"
    assert "wr0ng-secret" not in caught.value.message + caught.value.hint


def test_a_missing_database_is_named(server: PostgresServer) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        PostgresSource(dsn=server.conninfo("no such database")).check()
    assert caught.value.message.startswith("cannot connect to database 'no such database' on ")
    assert caught.value.hint == "check the name with: psql --list"


def test_a_closed_port_is_a_server_out_of_reach() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DatabaseUnreachable) as caught:
            PostgresSource(dsn=f"host=127.0.0.1 port={port} dbname=shop user=x").check()
    assert f"'shop' on '127.0.0.1:{port}'" in caught.value.message
    assert "check that the server runs" in caught.value.hint


def test_a_missing_grant_comes_with_the_statement_that_grants_it(server: PostgresServer) -> None:
    role = server.role(password="x")
    database = server.database('CREATE SCHEMA "In ner"; CREATE TABLE "In ner".t (a int)')
    source = PostgresSource(dsn=server.over_tcp(database, user=role), password="x")
    with pytest.raises(GrantMissing) as caught:
        source.check()
    assert caught.value.message == (
        f"cannot read 'In ner.t': role '{role}' lacks USAGE on its schema"
    )
    assert caught.value.hint == (
        f'GRANT pg_read_all_data TO "{role}"; or for this one alone:'
        f' GRANT USAGE ON SCHEMA "In ner" TO "{role}"'
    )
    with pytest.raises(GrantMissing), source.open(workers=1):
        pass
    for statement in caught.value.hint.split("; or for this one alone: "):
        server.run(database, statement)
    assert all(not finding.problem for finding in source.check())


def test_rows_hidden_by_row_security_are_not_left_out_quietly(server: PostgresServer) -> None:
    role = server.role(password="x", options="IN ROLE pg_read_all_data")
    database = server.database(
        "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON t USING (a > 5)"
    )
    source = PostgresSource(dsn=server.over_tcp(database, user=role), password="x")
    with pytest.raises(GrantMissing, match="row security would hide some from role") as caught:
        source.check()
    server.run(database, caught.value.hint)
    assert source.check()


def test_a_large_object_of_somebody_else_is_named(server: PostgresServer) -> None:
    role = server.role(password="x")
    database = server.database("SELECT lo_create(4711)")
    source = PostgresSource(dsn=server.over_tcp(database, user=role), password="x")
    with pytest.raises(GrantMissing, match="cannot read large object 4711") as caught:
        source.check()
    assert caught.value.hint.startswith(f'GRANT SELECT ON LARGE OBJECT 4711 TO "{role}"')


def test_the_least_rights_are_enough(server: PostgresServer, tmp_path: Path) -> None:
    role = server.role(password="x", options="BYPASSRLS IN ROLE pg_read_all_data")
    database = server.database(
        "CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, a int);"
        "INSERT INTO s.t (a) VALUES (1), (2); ALTER TABLE s.t ENABLE ROW LEVEL SECURITY;"
        "CREATE VIEW v AS SELECT * FROM s.t; CREATE MATERIALIZED VIEW m AS SELECT * FROM s.t"
    )
    source = PostgresSource(dsn=server.over_tcp(database, user=role), password="x")
    parts = keep(source, tmp_path)
    restored = server.name()
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))


def test_a_login_that_may_not_read_passwords_takes_the_roles_without_them(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role(password="x")
    database = server.database("CREATE TABLE t (a int)", f'GRANT SELECT ON t TO "{role}"')
    source = PostgresSource(dsn=server.over_tcp(database, user=role), password="x")
    parts = keep(source, tmp_path)
    assert f'CREATE ROLE "{role}"' in (tmp_path / "globals.sql").read_text()
    assert "PASSWORD" not in (tmp_path / "globals.sql").read_text()
    assert any("passwords of roles are not backed up" in note for note in source.plan().notes)
    bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)


def test_pg_dump_that_is_not_there_is_asked_for(server: PostgresServer, tmp_path: Path) -> None:
    source = PostgresSource(dsn=server.conninfo("postgres"), tool_folders=[tmp_path])
    with pytest.raises(ToolMissing) as caught:
        source.check()
    assert caught.value.message == "cannot run 'pg_dump': it is not installed"
    assert "apt install postgresql-client-" in caught.value.hint


def test_pg_dump_that_is_too_old_is_told_with_both_versions(
    server: PostgresServer, tmp_path: Path
) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    ((version,),) = server.ask("postgres", "SELECT split_part(version(), ' ', 2)")
    with pytest.raises(ToolMissing) as caught:
        PostgresSource(dsn=server.conninfo("postgres"), tool_folders=[tmp_path]).check()
    assert caught.value.message == (
        f"cannot use '{old}' for server {version}: it is version 9.6.24, older than the server"
    )


def test_a_session_that_is_terminated_loses_the_snapshot(
    server: PostgresServer, way: Wanted
) -> None:
    database = server.database(BIG)
    source = PostgresSource(
        dsn=server.conninfo(database), application_name="test-terminated", transport=way
    )
    with source.open(workers=1) as snapshot:
        part = data_part(snapshot)
        with snapshot.read(part) as stream:
            chunks = iter(stream)
            next(chunks)
            server.run(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'test-terminated' AND query LIKE 'COPY%'",
            )
            with pytest.raises(SnapshotLost, match=r"cannot read table 'public\.big'"):
                list(chunks)
        with pytest.raises(SnapshotLost, match="no session"), snapshot.read(part):
            pass
    until(lambda: server.sessions("test-terminated") == 0)


def test_a_holder_that_is_terminated_fails_the_parts_that_need_it(server: PostgresServer) -> None:
    source = PostgresSource(dsn=server.conninfo(server.database()), application_name="test-holder")
    with source.open(workers=1) as snapshot:
        server.run(
            "postgres",
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'test-holder' AND state = 'idle in transaction'",
        )
        (part,) = (part for part in snapshot.parts if part.kind is PartKind.GRANTS)
        with pytest.raises(SnapshotLost, match="settings of database"), snapshot.read(part) as read:
            list(read)


def test_a_read_that_is_left_early_ends_on_the_server_and_can_be_made_again(
    server: PostgresServer, way: Wanted
) -> None:
    database = server.database(BIG)
    source = PostgresSource(
        dsn=server.conninfo(database), application_name="test-early", transport=way
    )
    with source.open(workers=1) as snapshot:
        part = data_part(snapshot)
        with snapshot.read(part) as stream:
            next(iter(stream))
        running = server.ask(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'test-early' AND state = 'active'",
        )
        assert running == [(0,)]
        with snapshot.read(part) as stream:
            assert sum(bytes(chunk).count(b"\n") for chunk in stream) == BIG_ROWS
            assert stream.rows == BIG_ROWS


def test_an_abort_from_another_thread_ends_a_read_at_once(
    server: PostgresServer, way: Wanted
) -> None:
    database = server.database(BIG)
    source = PostgresSource(
        dsn=server.conninfo(database), application_name="test-abort", transport=way
    )
    reading = threading.Event()
    failed: list[str] = []

    def read(snapshot: Snapshot) -> None:
        try:
            with snapshot.read(data_part(snapshot)) as stream:
                for _ in stream:
                    reading.set()
                    aborted.wait(120)
        except BackupFailed as error:
            failed.append(error.message)

    aborted = threading.Event()
    with source.open(workers=1) as snapshot:
        thread = threading.Thread(target=read, args=[snapshot])
        thread.start()
        assert reading.wait(120)
        snapshot.abort()
        snapshot.abort()
        aborted.set()
        thread.join(30)
        assert not thread.is_alive()
        with pytest.raises(BackupFailed), snapshot.read(data_part(snapshot)):
            pass
    assert failed == ["cannot read table 'public.big': the run was ended"]
    until(lambda: server.sessions("test-abort") == 0)


def test_a_table_that_is_locked_elsewhere_fails_instead_of_hanging(
    server: PostgresServer,
) -> None:
    database = server.database("CREATE TABLE t (a int)")
    with psycopg.connect(server.conninfo(database)) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        source = PostgresSource(dsn=server.conninfo(database), lock_wait_seconds=1)
        with pytest.raises(BackupFailed) as caught, source.open(workers=1):
            pass
    assert "still waiting for a lock on table 'public.t', held by pid" in caught.value.message
    assert "LOCK TABLE t IN ACCESS EXCLUSIVE MODE" in caught.value.message
    assert "pg_locks" in caught.value.hint
