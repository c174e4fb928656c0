"""Following docs/restore-emergency.md word by word restores the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.mysql.test_physical import second_server
from tests.support.emergency_page import follow, stored
from tests.support.encrypted_job import encrypted_installation
from tests.support.installation import Installation
from tests.support.mysql_server import MARIADB, MysqlServer, differences, numbers

PREPARE = "7. Prepare"
DATABASE = "10. A MySQL or MariaDB database"
SERVER = "11. A MariaDB server"


@pytest.mark.parametrize("make", [Installation, encrypted_installation])
def test_a_database_comes_back_without_holdfast(
    server: MysqlServer, tmp_path: Path, make: Callable[..., Installation]
) -> None:
    database, restored = server.corpus(), server.name()
    installation = make(tmp_path, {"kind": "mysql", "dsn": server.url(database)})
    installation.run("backup", "shop")
    client, *login = server.client("")
    values = {"database": restored, "mysql": " ".join([client, *login[:2]])}
    told = follow(PREPARE, DATABASE, values=stored(installation) | values)
    assert "all files are intact" in told
    assert f"restored into {restored}" in told
    assert differences(server.described(database), server.described(restored)) == []
    assert server.checksums(restored) == server.checksums(database)


@pytest.mark.parametrize("make", [Installation, encrypted_installation])
def test_a_server_comes_back_without_holdfast(
    server: MysqlServer, tmp_path: Path, make: Callable[..., Installation]
) -> None:
    if server.brand is not MARIADB:
        pytest.skip("mariadb-backup supports MariaDB only")
    database = server.database(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(64))",
        f"INSERT INTO t SELECT seq, sha2(seq, 256) FROM {numbers(5000)}",
    )
    source = {"kind": "mysql", "engine": "tools", "method": "physical", "dsn": server.url(database)}
    installation = make(tmp_path, source)
    installation.run("backup", "shop")
    data = tmp_path / "restored"
    told = follow(PREPARE, SERVER, values=stored(installation) | {"data": str(data)})
    assert f"ready: {data}" in told
    with second_server(data, tmp_path) as second:
        assert second.checksums(database) == server.checksums(database)
