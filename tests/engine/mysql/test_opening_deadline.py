"""A job's timeout ends the opening of its snapshot too, and nothing waits on after it."""

from __future__ import annotations

from pathlib import Path

from tests.engine.mysql.laboratory import Laboratory
from tests.engine.mysql.test_snapshot import HINDRANCES
from tests.support.main_job import Site
from tests.support.waiting import until

TABLE = ("CREATE TABLE wide (id int PRIMARY KEY)", "INSERT INTO wide VALUES (1)")
WAITING = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock'"


def test_a_lock_that_is_never_granted_ends_the_run_at_its_deadline(
    lab: Laboratory, tmp_path: Path
) -> None:
    database = lab.database(*TABLE)
    take, release = HINDRANCES[lab.brand.name]
    site = Site(tmp_path, {"kind": "mysql", "dsn": lab.url(database), "lock_wait": "5m"}, level=1)
    site.job["timeout"] = "4s"
    with lab.connect(database) as held, held.cursor() as cursor:
        cursor.execute(take)
        told = site.run("backup", "shop", code=33)
        assert "its snapshot is not taken yet: waiting " in told["error"]
        until(lambda: lab.ask("mysql", WAITING) == [("0",)])
        cursor.execute(release)
    assert [path.name for path in site.files()] == ["failed.json"]
    site.job["timeout"] = "5m"
    site.run("backup", "shop")
