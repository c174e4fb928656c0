"""A server's files: copied while it runs, unpacked, and a second server started on them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

from holdfast.model.errors import GrantMissing, Unsupported
from holdfast.sources.mysql.files.source import MysqlPhysicalSource
from tests.engine.mysql.test_main_job import MysqlDatabases
from tests.engine.mysql.variables import Globals
from tests.support.encrypted_job import encrypted_installation
from tests.support.hostile_store import attack_files
from tests.support.installation import Installation
from tests.support.mysql_server import MARIADB, PASSWORD, MysqlServer, numbers
from tests.support.processes import named
from tests.support.waiting import WAIT_SECONDS, until

RIGHTS = ("RELOAD", "PROCESS", "LOCK TABLES", "BINLOG MONITOR")


@pytest.fixture
def mariadb(server: MysqlServer) -> MysqlServer:
    if server.brand is not MARIADB:
        pytest.skip("mariadb-backup supports MariaDB only, as the one test for MySQL says")
    return server


def installation_for(server: MysqlServer, folder: Path, database: str) -> Installation:
    source = {"kind": "mysql", "engine": "tools", "method": "physical", "dsn": server.url(database)}
    return Installation(folder, source, level=1)


@contextmanager
def second_server(datadir: Path, place: Path) -> Iterator[MysqlServer]:
    """A new server on restored files, with a port that only this host reaches."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = place / "second.sock"
    argv = [
        *("mariadbd", "--no-defaults", "--user=root", f"--datadir={datadir}"),
        *(f"--socket={address}", f"--port={port}", "--bind-address=127.0.0.1"),
        f"--pid-file={place / 'second.pid'}",
    ]
    with (place / "second.log").open("wb") as log, subprocess.Popen(argv, stderr=log) as running:
        try:
            until(lambda: answers(address) or running.poll() is not None)
            assert running.poll() is None, (place / "second.log").read_text()[-3000:]
            yield MysqlServer(f"mysql://root@localhost/?unix_socket={address}")
        finally:
            running.terminate()
            running.wait(WAIT_SECONDS)


def answers(address: Path) -> bool:
    try:
        pymysql.connect(user="root", unix_socket=str(address)).close()
    except pymysql.Error:
        return False
    return True


def test_a_second_server_starts_on_the_copy_and_holds_the_same(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    database = mariadb.database(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(64))",
        f"INSERT INTO t SELECT seq, sha2(seq, 256) FROM {numbers(5000)}",
        "CREATE TABLE u (id int) ENGINE=Aria",
        "INSERT INTO u VALUES (1), (2)",
    )
    installation = installation_for(mariadb, tmp_path, database)
    installation.run("backup", "shop")
    (listed,) = installation.backups()
    assert listed["consistency"] == "snapshot"
    (manifest,) = installation.manifests()
    assert int(manifest["proof"]["lsn"]) >= int(manifest["proof"]["checkpoint_lsn"]) > 0
    assert installation.run("verify", "shop/latest")["verified"] is True
    restored = tmp_path / "restored"
    installation.run("restore", "shop/latest", "--to", restored.as_uri())
    with second_server(restored, tmp_path) as second:
        assert second.checksums(database) == mariadb.checksums(database)
    assert named("mariadb-backup", "mbstream") == []


def test_a_table_that_lay_elsewhere_comes_back_here_and_the_one_there_is_left_alone(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    with elsewhere(mariadb) as place:
        database = mariadb.database(
            f"CREATE TABLE t (id int PRIMARY KEY) DATA DIRECTORY='{place}'",
            f"CREATE TABLE m (id int) ENGINE=MyISAM DATA DIRECTORY='{place}'",
            "INSERT INTO t VALUES (1), (2)",
            "INSERT INTO m VALUES (3)",
        )
        before = mariadb.checksums(database)
        installation = installation_for(mariadb, tmp_path, database)
        installation.run("backup", "shop")
        mariadb.run(database, "INSERT INTO t VALUES (4)", "INSERT INTO m VALUES (5)")
        restored = tmp_path / "restored"
        installation.run("restore", "shop/latest", "--to", restored.as_uri())
        after = mariadb.checksums(database)
        with second_server(restored, tmp_path) as second:
            assert second.checksums(database) == before
            second.run(database, "INSERT INTO t VALUES (6)", "INSERT INTO m VALUES (7)")
        assert mariadb.checksums(database) == after
        mariadb.run("mysql", f"DROP DATABASE `{database}`")


@contextmanager
def elsewhere(mariadb: MysqlServer) -> Iterator[Path]:
    """A folder outside the data directory that the server may write to."""
    ((datadir,),) = mariadb.ask("mysql", "SELECT @@datadir")
    owner = Path(datadir).stat()
    folder = Path(tempfile.mkdtemp(dir="/srv"))
    os.chown(folder, owner.st_uid, owner.st_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_a_directory_with_files_is_left_alone_whatever_is_asked(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    installation = installation_for(mariadb, tmp_path, mariadb.database())
    installation.run("backup", "shop")
    target = tmp_path / "used"
    target.mkdir()
    (target / "precious").write_text("data")
    for more in ([], ["--overwrite"]):
        refused = installation.run(
            "restore", "shop/latest", "--to", target.as_uri(), *more, code=13
        )
        assert "precious" in refused["error"]
    assert [path.name for path in target.iterdir()] == ["precious"]


def test_a_damaged_copy_leaves_the_directory_as_it_was(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    installation = installation_for(mariadb, tmp_path, mariadb.database())
    installation.run("backup", "shop")
    (part,) = (path for path in installation.files() if path.name != "manifest.json")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    target = tmp_path / "restored"
    installation.run("restore", "shop/latest", "--to", target.as_uri(), code=31)
    assert not target.exists()


def test_nothing_of_a_part_that_was_replaced_is_unpacked(
    mariadb: MysqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"kind": "mysql", "engine": "tools", "method": "physical"}
    installation = encrypted_installation(
        tmp_path, source | {"dsn": mariadb.url(mariadb.database())}
    )
    installation.run("backup", "shop")
    told = tmp_path / "told"
    wrapped(tmp_path / "wrapped", "mbstream", told, monkeypatch)
    attack_files(installation, tmp_path / "restored")
    assert not told.exists()


def wrapped(folder: Path, program: str, told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record every start of `program` in the file `told`."""
    folder.mkdir()
    script = folder / program
    script.write_text(f'#!/bin/sh\necho "$0 $@" >> {told}\nexec {shutil.which(program)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_files_do_not_go_through_a_server_nor_sql_into_a_directory(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    databases = MysqlDatabases(mariadb, tmp_path)
    database = databases.make(rows=1)
    installation = installation_for(mariadb, tmp_path, database)
    installation.run("backup", "shop")
    through = installation.run("restore", "shop/latest", "--to", databases.url("x"), code=23)
    assert "file:///" in through["hint"]
    installation.job["source"] = {"engine": "native", **databases.source(database)}
    made = installation.run("backup", "shop")
    target = tmp_path / "restored"
    refused = installation.run("restore", made["backup"], "--to", target.as_uri(), code=23)
    assert "holds SQL" in refused["error"]
    assert not target.exists()


def test_the_grants_of_the_page_suffice_and_each_missing_one_is_spelled_out(
    mariadb: MysqlServer,
) -> None:
    whole = mariadb.account(f"{', '.join(RIGHTS)} ON *.*")
    granted = MysqlPhysicalSource(login(mariadb, whole), password=PASSWORD)
    assert all(not finding.problem for finding in granted.check())
    with granted.open(workers=1) as snapshot, snapshot.read(snapshot.parts[0]) as stream:
        assert sum(len(chunk) for chunk in stream) > 0
    for lacking in RIGHTS:
        user = mariadb.account(f"{', '.join(each for each in RIGHTS if each != lacking)} ON *.*")
        with pytest.raises(GrantMissing) as failure:
            MysqlPhysicalSource(login(mariadb, user), password=PASSWORD).check()
        assert f"GRANT {lacking} ON *.* TO" in failure.value.hint


def login(server: MysqlServer, user: str) -> str:
    """An address at which an account without rights on any database may log in."""
    return server.url("information_schema", user=user)


def test_only_files_of_mariadb_are_copied(server: MysqlServer) -> None:
    source = MysqlPhysicalSource(server.url("mysql"))
    if server.brand is MARIADB:
        assert {"files", "tool"} <= {finding.subject for finding in source.check()}
        return
    with pytest.raises(Unsupported, match="supports MariaDB only"):
        source.check()


def test_a_limit_that_would_blind_the_program_is_named_before_it_is_started(
    mariadb: MysqlServer, tmp_path: Path
) -> None:
    database = mariadb.database("CREATE TABLE t (id int PRIMARY KEY)")
    installation = installation_for(mariadb, tmp_path, database)
    with mariadb.connect() as connection, Globals(connection).set({"sql_select_limit": "4"}):
        error = installation.run("backup", "shop", code=Unsupported.exit_code)
    assert "while sql_select_limit is 4" in error["error"]
