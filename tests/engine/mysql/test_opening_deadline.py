"""A job's timeout covers the opening of its snapshot, and no session waits afterwards."""

from __future__ import annotations

from pathlib import Path

from tests.engine.mysql.test_snapshot import HINDRANCES
from tests.support.installation import Installation
from tests.support.mysql_server import MysqlServer
from tests.support.waiting import until

TABLE = ("CREATE TABLE wide (id int PRIMARY KEY)", "INSERT INTO wide VALUES (1)")
WAITING = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock'"


def test_a_lock_that_is_never_granted_ends_the_run_at_its_deadline(
    server: MysqlServer, tmp_path: Path
) -> None:
    database = server.database(*TABLE)
    take, release = HINDRANCES[server.brand.name]
    installation = Installation(
        tmp_path, {"kind": "mysql", "dsn": server.url(database), "lock_wait": "5m"}, level=1
    )
    installation.job["timeout"] = "4s"
    with server.connect(database) as held, held.cursor() as cursor:
        cursor.execute(take)
        told = installation.run("backup", "shop", code=33)
        assert "the snapshot was not taken yet: waiting " in told["error"]
        until(lambda: server.ask("mysql", WAITING) == [("0",)])
        cursor.execute(release)
    assert [path.name for path in installation.files()] == ["failed.json"]
    installation.job["timeout"] = "5m"
    installation.run("backup", "shop")
