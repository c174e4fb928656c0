"""A throw-away server on the files of a whole MariaDB server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.drill import Outcome
from holdfast.model.errors import HoldfastError, VerifyFailed
from holdfast.ports.drill import DrillRoom
from holdfast.runtime.isolation import isolated
from holdfast.runtime.process import ChildFailed, User, output_of, running
from holdfast.sources.mysql.drill.servers import MysqlFilesDrillServer
from tests.engine.mysql.test_drill_servers import (
    SERVER_USER,
    checksums,
    inside,
    listening,
    loaded,
    production,
)
from tests.support.drill_rooms import (
    is_unused,
    processes_in,
    proven,
    restored,
    room,
    stored,
)
from tests.support.installation import Installation
from tests.support.mysql_server import MARIADB, MysqlServer, numbers


@pytest.fixture
def mariadb(server: MysqlServer) -> MysqlServer:
    if server.brand is not MARIADB:
        pytest.skip("mariadb-backup knows MariaDB only")
    return server


@contextmanager
def drilling(repository: Path) -> Iterator[tuple[MysqlFilesDrillServer, DrillRoom]]:
    manifest, _ = stored(repository)
    with room(SERVER_USER) as place:
        drill = MysqlFilesDrillServer(manifest, place)
        try:
            yield drill, place
        finally:
            drill.close()
            assert processes_in(place.folder) == []


def shop(server: MysqlServer, folder: Path) -> tuple[str, Path]:
    """A database and the repository with a backup of its whole server."""
    database = server.database(
        "CREATE TABLE orders (id int PRIMARY KEY, note varchar(64)) ENGINE=InnoDB",
        f"INSERT INTO orders SELECT seq, sha2(seq, 256) FROM {numbers(3000)}",
        "CREATE TABLE plain (id int PRIMARY KEY, note varchar(64)) ENGINE=MyISAM",
        f"INSERT INTO plain SELECT seq, sha2(seq, 256) FROM {numbers(2000)}",
    )
    return database, backed_up(server, folder, database)


def backed_up(server: MysqlServer, folder: Path, database: str) -> Path:
    source = {"kind": "mysql", "engine": "tools", "method": "physical", "dsn": server.url(database)}
    installation = Installation(folder, source, level=1)
    installation.run("backup", "shop")
    return installation.repository


def test_a_server_on_restored_files_holds_the_same_and_changes_nothing_beside_it(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    database, repository = shop(mariadb, tmp_path)
    ((datadir,),) = mariadb.ask("mysql", "SELECT @@datadir")
    before, ports = production(mariadb, Path(datadir)), listening()
    with drilling(repository) as (drill, place):
        drilled = proven(drill, *stored(repository))
        assert [each for each in drilled.findings if each.blocks] == []
        assert drilled.bad == []
        for table in ("orders", "plain"):
            assert drilled.row(f"CHECK TABLE {database}.{table}").outcome is Outcome.PASSED
        with inside(drill, database) as here, mariadb.connect(database) as there:
            assert checksums(here, "orders", "plain") == checksums(there, "orders", "plain")
        assert [each for each in listening() if place.folder not in each] == ports
        # Its user owns production's files, and what runs as the server does sees none of them.
        user, listed = User.named(SERVER_USER), ["/bin/ls", "-A", str(datadir)]
        assert "ibdata1" in output_of(listed, user=user)
        assert output_of(isolated(listed, user, own=[Path(place.folder)]), user=user) == ""
        assert production(mariadb, Path(datadir)) == before
        answer = drill.ask("SELECT count(*) FROM orders", database=database, timeout_seconds=60)
        assert answer.value == "3000"
    assert production(mariadb, Path(datadir)) == before


def test_engines_are_loaded_and_no_other_plugin_of_the_original(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    with loaded(mariadb, "ha_archive"), loaded(mariadb, "server_audit"):
        database = mariadb.database("CREATE TABLE old (id int) ENGINE=ARCHIVE")
        mariadb.run(database, "INSERT INTO old VALUES (1), (2)")
        repository = backed_up(mariadb, tmp_path, database)
        with drilling(repository) as (drill, _):
            drilled = proven(drill, *stored(repository))
            assert drilled.bad == []
            assert "server_audit.so" in drilled.row("plugins").detail
            assert drilled.row(f"CHECK TABLE {database}.old").outcome is Outcome.PASSED
            with inside(drill, database) as here, here.cursor() as cursor:
                cursor.execute("SELECT plugin_name FROM information_schema.plugins")
                names = {name.lower() for (name,) in cursor.fetchall()}
                assert "archive" in names
                assert "server_audit" not in names


def test_a_table_that_was_damaged_before_the_backup_is_named(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    database, _ = shop(mariadb, tmp_path)
    mariadb.run(database, "FLUSH TABLES plain")
    ((datadir,),) = mariadb.ask("mysql", "SELECT @@datadir")
    # The copying program does not look into the rows of such a table.
    (rows,) = (path for path in Path(datadir).rglob("plain.MYD") if path.stat().st_size > 1000)
    content = bytearray(rows.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40):
        content[place] ^= 0xFF
    rows.write_bytes(content)
    again = tmp_path / "again"
    again.mkdir()
    repository = backed_up(mariadb, again, database)
    with drilling(repository) as (drill, _):
        drilled = proven(drill, *stored(repository))
        assert [each.split(":")[0] for each in drilled.bad] == [f"CHECK TABLE {database}.plain"]


def test_a_flipped_bit_in_the_store_ends_the_drill_before_a_server_starts(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    _, repository = shop(mariadb, tmp_path)
    manifest, parts = stored(repository)
    path = repository / manifest.parts[0].key
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with drilling(repository) as (drill, place):
        with pytest.raises(VerifyFailed, match=re.escape(manifest.parts[0].name)):
            restored(drill, manifest, parts)
        assert processes_in(place.folder) == []


def test_another_release_than_that_of_the_files_is_named_before_anything_is_made(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    _, repository = shop(mariadb, tmp_path)
    manifest, parts = stored(repository)
    other = replace(manifest, server=replace(manifest.server, version="10.3.39-MariaDB"))
    with room(SERVER_USER) as place:
        drill = MysqlFilesDrillServer(other, place)
        (lacking,) = drill.problems(parts)
        assert (lacking.blocks, lacking.subject) == (True, "server mariadb 10.3")
        assert is_unused(place)


def test_a_server_that_cannot_start_on_the_files_says_why(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    _, repository = shop(mariadb, tmp_path)
    with drilling(repository) as (drill, place):
        manifest, parts = stored(repository)

        def damage(_: object) -> None:
            (Path(place.folder) / "data" / "ibdata1").write_bytes(b"nothing of a tablespace" * 1000)

        with pytest.raises(HoldfastError, match=r"throw-away mariadb server: .*\[ERROR\]"):
            restored(drill, manifest, parts, before_start=damage)


def test_the_servers_user_cannot_lead_root_out_of_the_room(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    """That user tries to have root remove files, and to write its own where root writes."""
    _, repository = shop(mariadb, tmp_path)
    victim = tmp_path / "victim"
    for name in ("data/mysql/plugin.MAD", "log"):
        (victim / name).parent.mkdir(parents=True, exist_ok=True)
        (victim / name).write_text("precious")
    before = owned(victim)
    tried = f"cd ROOM && mv data gone; ln -s {victim}/data data; ln -s {victim}/log server.log"
    user = User.named(SERVER_USER)

    with drilling(repository) as (drill, place):

        def attack(_: object) -> None:
            command = ["/bin/sh", "-c", tried.replace("ROOM", place.folder)]
            with running(command, user=user) as child, pytest.raises(ChildFailed, match="denied"):
                child.finish()

        manifest, parts = stored(repository)
        assert restored(drill, manifest, parts, before_start=attack).bad == []
        assert [each for each in drill.prove() if each.is_bad] == []
    assert owned(victim) == before


def owned(folder: Path) -> list[tuple[str, int, str]]:
    """Each file with its owner and its content."""
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return [(each.name, each.stat().st_uid, each.read_text()) for each in files]
