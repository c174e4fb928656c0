"""Properties of the database itself, or of the server, are restored or reported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from holdfast.model.errors import RestoreFailed, TargetNotEmpty
from holdfast.model.part_details import PostgresSchema
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.support.clusters import Cluster, cluster, folder_for_cluster, run, started
from tests.support.loop import bring_back, keep, restored
from tests.support.postgres_server import PostgresServer


def test_the_provider_of_the_locale_is_said_whatever_the_target_has(tmp_path: Path) -> None:
    with cluster() as source, folder_for_cluster() as folder:
        other = Cluster(folder)
        icu = ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8", "-E", "UTF8"]
        run("initdb", "-U", "postgres", "-A", "trust", "-N", *icu, "-D", str(other.data))
        other.configure("listen_addresses = ''\nfsync = off")
        source.ask(
            "CREATE DATABASE shop TEMPLATE template0 ENCODING 'UTF8'"
            " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
        )
        source.ask("CREATE TABLE t AS SELECT unnest(ARRAY['a', 'B']) AS a", dbname="shop")
        with started(other):
            parts = keep(PostgresSource(dsn=f"{source.dsn} dbname=shop"), tmp_path)
            bring_back(PostgresTarget(url=f"{other.dsn} dbname=shop"), parts, tmp_path)
            provider = "SELECT datlocprovider FROM pg_database WHERE datname = 'shop'"
            assert other.ask(provider) == source.ask(provider)
            assert other.ask("SELECT a FROM t ORDER BY a", dbname="shop") == [("B",), ("a",)]


def test_a_database_that_stands_with_another_locale_or_sorts_by_another_version_is_told(
    server: PostgresServer, tmp_path: Path
) -> None:
    locale = "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE' LOCALE 'C'"
    database = server.database("CREATE TABLE t AS SELECT 'ä' AS a", options=locale)
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    other = server.database(options=locale.replace("sv-SE", "de-DE"))
    (note,) = restored(PostgresTarget(url=server.conninfo(other)), parts, tmp_path).notes
    assert note.startswith("the database exists already, with ICU_LOCALE 'de")
    assert note.endswith("the backup has 'sv-SE'")
    aged = [
        replace(part, details=replace(part.details, collation_version="1.2"))
        if isinstance(part.details, PostgresSchema)
        else part
        for part in parts
    ]
    assert aged != [*parts]
    target = PostgresTarget(url=server.conninfo(server.name()))
    (note,) = restored(target, aged, tmp_path).notes
    assert "the original by version 1.2" in note
    assert restored(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path).notes == ()


def test_a_template_in_a_tablespace_and_settings_of_all_roles_come_back(tmp_path: Path) -> None:
    with cluster() as source, cluster() as other:
        space = source.folder / "space"
        space.mkdir()
        run("psql", "-qc", f"CREATE TABLESPACE fast LOCATION '{space}'", source.dsn)
        source.ask("CREATE DATABASE shop TEMPLATE template0 TABLESPACE fast IS_TEMPLATE true")
        source.ask("ALTER ROLE ALL SET work_mem = '7MB'")
        source.ask("CREATE TABLE t AS SELECT 1 AS a", dbname="shop")
        parts = keep(PostgresSource(dsn=f"{source.dsn} dbname=shop"), tmp_path)
        target = PostgresTarget(url=f"{other.dsn} dbname=shop")
        with pytest.raises(RestoreFailed, match='tablespace "fast" does not exist') as caught:
            bring_back(target, parts, tmp_path)
        assert "--no-tablespaces" in caught.value.hint
        bring_back(target, parts, tmp_path, tablespaces=False)
        template = "SELECT datistemplate FROM pg_database WHERE datname = 'shop'"
        assert other.ask(template) == [(True,)]
        assert other.ask("SELECT a FROM t", dbname="shop") == [(1,)]
        # The folder of the tablespace is missing: no role is created incompletely.
        source.stop()
        shutil.rmtree(space)
        with pytest.raises(RestoreFailed, match="cannot restore tablespace 'fast'") as caught:
            bring_back(target, parts, tmp_path, with_globals=True, overwrite=True)
        assert "make that directory" in caught.value.hint
        space.mkdir()
        bring_back(target, parts, tmp_path, with_globals=True, overwrite=True)
        assert other.ask(
            "SELECT spcname::text FROM pg_database d JOIN pg_tablespace s ON s.oid = dattablespace"
            " WHERE datname = 'shop'"
        ) == [("fast",)]
        assert other.ask("SHOW work_mem") == [("7MB",)]
        source.start()


def test_options_of_user_mappings_that_the_login_may_not_see_are_told(
    server: PostgresServer, tmp_path: Path
) -> None:
    role, mapped = server.role(options="IN ROLE pg_read_all_data"), server.role()
    database = server.database(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
        f"CREATE USER MAPPING FOR \"{mapped}\" SERVER far OPTIONS (password 'x')",
    )
    escaped = role.replace(" ", "\\ ")
    as_role = make_conninfo(server.conninfo(database), options=f"-c role={escaped}")
    source = PostgresSource(dsn=as_role)
    (note,) = (note for note in source.plan().notes if "user mapping" in note)
    assert f"options of the user mapping of '{mapped}' for server 'far' are not backed up" in note
    with source.open(workers=1) as snapshot:
        assert note in snapshot.proof.texts()["not_taken"]
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    assert (
        restored(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path).failed == ()
    )


SUBSCRIPTION = (
    "CREATE SUBSCRIPTION {} CONNECTION 'host=nowhere.invalid dbname=x' PUBLICATION p"
    " WITH (connect = false, slot_name = '{}')"
)


def forget(server: PostgresServer, database: str, subscription: str) -> None:
    for change in ("ALTER SUBSCRIPTION {} SET (slot_name = NONE)", "DROP SUBSCRIPTION {}"):
        server.run(database, change.format(subscription))


def test_a_database_that_cannot_be_dropped_is_refused_before_anything_is_restored(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database("CREATE TABLE a AS SELECT 1 AS x")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    other = server.database("CREATE TABLE b AS SELECT 2 AS x")
    name = f"s_{other.rpartition(' ')[2]}"
    server.run(other, SUBSCRIPTION.format(name, name))
    for part in parts:
        (tmp_path / part.key).unlink()
    target = PostgresTarget(url=server.conninfo(other))
    with pytest.raises(TargetNotEmpty, match=f"it has subscription {name}") as caught:
        bring_back(target, parts, tmp_path, overwrite=True)
    assert "drop that first" in caught.value.hint
    assert [each for each in server.databases() if each.startswith(other)] == [other]
    forget(server, other, name)


def test_a_restore_that_fails_leaves_no_database_though_it_has_a_subscription(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, copy = server.database("CREATE TABLE a AS SELECT 'bread' AS x"), server.name()
    name = f"s_{database.rpartition(' ')[2]}"
    server.run(database, SUBSCRIPTION.format(name, name))
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    (pack,) = (tmp_path / part.key for part in parts if part.members)
    pack.write_bytes(pack.read_bytes().replace(b"bread", b"broad"))
    with pytest.raises(RestoreFailed, match="holds other values") as caught:
        bring_back(PostgresTarget(url=server.conninfo(copy)), parts, tmp_path)
    assert not [each for each in server.databases() if each.startswith(copy)]
    assert "incomplete" not in caught.value.hint
    forget(server, database, name)
