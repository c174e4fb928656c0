"""The files that the catalogs name, as a backup puts their names together."""

from __future__ import annotations

import psycopg

from holdfast.sources.postgres.files.catalog_files import relation_files
from holdfast.sources.postgres.files.cluster import facts
from tests.engine.postgres.test_physical_shapes import ODD
from tests.support.clusters import SETTINGS, Cluster, folder_for_cluster, run, started

DATABASES = ("postgres", "far")


def named(server: Cluster, database: str) -> list[str]:
    with psycopg.connect(server.dsn, dbname=database, autocommit=True) as connection:
        version = facts(connection).tree.version_folder
        return sorted(
            f"{folder}/{name}" if folder else name
            for folder, names in relation_files(connection, version)
            for name in names
        )


def asked(server: Cluster, database: str) -> list[str]:
    """As the server names the file of each relation; without those of extensions."""
    found = server.ask(
        "SELECT pg_relation_filepath(oid) || CASE relpersistence WHEN 'u' THEN '_init' ELSE '' END"
        " FROM pg_class WHERE relpersistence <> 't' AND pg_relation_filepath(oid) IS NOT NULL"
        " AND (relam < 16384 OR relkind NOT IN ('r', 'i', 'm'))",
        dbname=database,
    )
    return sorted(str(path) for (path,) in found)


def test_names_are_those_that_the_server_gives_to_each_relation() -> None:
    with folder_for_cluster() as folder:
        server = Cluster(folder)
        run("initdb", "-k", "-U", "postgres", "-A", "trust", "--no-sync", "-D", str(server.data))
        server.configure(SETTINGS.format(wal_senders=1) + "allow_in_place_tablespaces = on")
        with started(server):
            for name in ("one", "two"):
                (folder / name).mkdir()
                server.ask(f"CREATE TABLESPACE {name} LOCATION '{folder / name}'")
            server.ask("CREATE TABLESPACE inplace LOCATION ''")
            server.ask("CREATE DATABASE far TABLESPACE one")
            for statement in ODD:
                server.ask(statement, dbname="far")
            with psycopg.connect(server.dsn, dbname="far") as other:
                other.execute("CREATE TEMPORARY TABLE passing (id int)")
                other.commit()
                for database in DATABASES:
                    found = named(server, database)
                    assert found == asked(server, database)
                assert [path for path in found if path.endswith("_init")]
                assert {path.split("/")[0] for path in found} == {"global", "pg_tblspc"}
