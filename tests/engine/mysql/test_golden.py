"""Backups of MariaDB that earlier releases made are restored unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.mysql.test_physical import second_server
from tests.support.golden import GoldenInstallation
from tests.support.mysql_server import MARIADB, MysqlServer, differences

FIRST, LAST_OF_SCHEMA_1 = "0.1.0/mariadb-10.11.tar", "schema-1/mariadb-11.8.tar"


@pytest.fixture(params=[FIRST, LAST_OF_SCHEMA_1])
def golden(
    server: MysqlServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[GoldenInstallation]:
    if server.brand is not MARIADB:
        pytest.skip("the golden repository was made from MariaDB, whose sequences MySQL lacks")
    installation = GoldenInstallation(tmp_path, request.param, dump=FIRST)
    for name in ("native", "tools", "tables", "server"):
        installation.job_of(name, "mysql")
    installation.settings["jobs"]["server"]["source"] |= {"engine": "tools", "method": "physical"}
    server.run(
        "mysql", "CREATE OR REPLACE USER shop_app@localhost", "CREATE OR REPLACE ROLE reader"
    )
    yield installation
    server.run("mysql", "DROP USER shop_app@localhost", "DROP ROLE reader")


def as_it_was(server: MysqlServer, golden: GoldenInstallation) -> str:
    """The same database, loaded by the stock client from the dump of that time."""
    database = server.database()
    server.load(database, golden.dump)
    return database


@pytest.mark.parametrize("job", ["native", "tools", "tables"])
def test_a_backup_of_an_earlier_release_comes_back_as_it_was(
    server: MysqlServer, golden: GoldenInstallation, job: str
) -> None:
    assert golden.run("verify", f"{job}/latest")["verified"] is True
    restored, expected = server.name(), as_it_was(server, golden)
    golden.run("restore", f"{job}/latest", "--to", server.url(restored))
    # Our scripts write the keywords of a trigger in capitals, the dump program as they were typed.
    texts = [[line.lower() for line in server.described(each)] for each in (restored, expected)]
    assert differences(*texts) == []
    assert server.checksums(restored) == server.checksums(expected)


def test_a_servers_files_of_an_earlier_release_are_started_and_hold_the_same(
    server: MysqlServer, golden: GoldenInstallation, tmp_path: Path
) -> None:
    release = golden.archive.partition("mariadb-")[2].removesuffix(".tar")
    ((version,),) = server.ask("mysql", "SELECT VERSION()")
    if not str(version).startswith(release):
        pytest.skip(f"files of MariaDB {release} are started by no other release here")
    assert golden.run("verify", "server/latest")["verified"] is True
    expected = as_it_was(server, golden)
    restored = tmp_path / "restored"
    golden.run("restore", "server/latest", "--to", restored.as_uri())
    with second_server(restored, tmp_path) as second:
        assert second.checksums("shop") == server.checksums(expected)
