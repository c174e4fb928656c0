"""`holdfast drill` of MySQL and MariaDB: right data passes, every kind of wrong one is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from holdfast.runtime.events import Failpoint
from tests.support.drills import (
    bad_rows,
    count_one_row_less,
    drill_folder,
    failed,
    killed_at,
    left_in,
)
from tests.support.installation import Installation
from tests.support.mysql_server import MARIADB, MysqlServer, numbers

DRILL_FAILPOINTS = [name for name in get_args(Failpoint) if name.startswith("drill-")]
SHOP = (
    "CREATE TABLE orders (id int PRIMARY KEY, at datetime NOT NULL, note varchar(64))",
    (
        "INSERT INTO orders SELECT seq, UTC_TIMESTAMP() - INTERVAL seq MINUTE, sha2(seq, 256)"
        f" FROM {numbers(3000)}"
    ),
    (
        "CREATE TABLE items (id int PRIMARY KEY, of_order int, FOREIGN KEY (of_order)"
        " REFERENCES orders (id))"
    ),
    f"INSERT INTO items SELECT seq, seq FROM {numbers(300)}",
    "CREATE VIEW newest AS SELECT max(id) AS id FROM orders",
)


@pytest.fixture
def shop(server: MysqlServer, tmp_path: Path) -> Iterator[Installation]:
    source = {"kind": "mysql", "dsn": server.url(server.database(*SHOP))}
    installation = Installation(tmp_path, source, level=1)
    with drill_folder(installation):
        installation.run("backup", "shop")
        yield installation


@pytest.fixture
def files(server: MysqlServer, tmp_path: Path) -> Iterator[Installation]:
    if server.brand is not MARIADB:
        pytest.skip("mariadb-backup knows MariaDB only")
    dsn = server.url(server.database(*SHOP))
    source = {"kind": "mysql", "engine": "tools", "method": "physical", "dsn": dsn}
    installation = Installation(tmp_path, source, level=1)
    with drill_folder(installation):
        installation.run("backup", "shop")
        yield installation


def folder_of(installation: Installation) -> Path:
    return Path(installation.job["drill"]["folder"])


def test_a_good_backup_passes_and_its_restore_is_measured(
    server: MysqlServer, shop: Installation
) -> None:
    shop.job["drill"] |= {
        "memory_limit_mb": 600,
        "checks": [
            {"sql": "SELECT count(*) FROM orders", "equals": 3000},
            {"sql": "SELECT max(at) FROM orders", "newer_than": "26h", "name": "fresh orders"},
            {"sql": "SELECT id FROM newest"},
        ],
    }
    (drill,) = shop.run("drill", "shop")["drills"]
    assert (drill["outcome"], bad_rows(drill), drill["problem"]) == ("passed", [], None)
    names = {row["name"].partition(" ")[0] for row in drill["rows"]}
    assert {"fingerprints", "rows", "CHECK", "check:"} <= names
    assert drill["seconds"]["prepare"] > 0
    assert drill["restore_seconds"] > 0
    (newest,) = shop.backups()
    assert drill["reached"] == newest["snapshot_at"]
    assert newest["last_drill"]["drill"] == drill["drill"]


def test_the_tools_engine_is_drilled_too(server: MysqlServer, shop: Installation) -> None:
    shop.job["source"]["engine"] = "tools"
    shop.run("backup", "shop")
    (drill,) = shop.run("drill", "shop", "--check", "SELECT count(*) = 3000 FROM orders")["drills"]
    assert (drill["outcome"], bad_rows(drill), drill["problem"]) == ("passed", [], None)


def test_a_flipped_bit_fails_the_drill(shop: Installation) -> None:
    path = next(each for each in shop.files() if "data" in str(each))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    assert bad_rows(failed(shop)) == ["fingerprints"]


def test_rows_that_the_manifest_counts_otherwise_fail_the_drill(shop: Installation) -> None:
    count_one_row_less(shop, "items")
    drill = failed(shop)
    assert len(bad_rows(drill)) == 1
    assert "items" in drill["problem"]


def test_wrong_answers_fail_the_drill_by_name(shop: Installation) -> None:
    shop.job["drill"]["checks"] = [
        {"sql": "SELECT min(at) FROM orders", "newer_than": "5m", "name": "fresh orders"},
        {"sql": "SELECT count(*) FROM items", "equals": 299, "name": "items"},
        {"sql": "SELECT 1 FROM nowhere", "name": "nowhere"},
        {"sql": "SELECT count(*) FROM items", "equals": 300, "name": "all items"},
    ]
    names = ["check: fresh orders", "check: items", "check: nowhere"]
    assert bad_rows(failed(shop)) == names


def test_a_check_reads_and_writes_no_file_of_production(
    server: MysqlServer, shop: Installation
) -> None:
    ((datadir,),) = server.ask("mysql", "SELECT @@datadir")
    made = Path(str(datadir)) / "hostile"
    shop.job["drill"]["checks"] = [
        {"sql": f"SELECT LOAD_FILE('{datadir}ibdata1') IS NULL", "name": "read"},
        {"sql": f"SELECT 1 INTO OUTFILE '{made}'", "name": "write"},
    ]
    assert bad_rows(failed(shop)) == ["check: write"]
    assert not made.exists()


@pytest.mark.parametrize("failpoint", DRILL_FAILPOINTS)
def test_a_killed_drill_leaves_nothing_after_the_next_one(
    shop: Installation, failpoint: str
) -> None:
    killed_at(shop, failpoint)
    assert shop.run("drill", "shop")["drills"][0]["outcome"] == "passed"
    assert left_in(folder_of(shop)) == []


def test_files_of_a_server_are_drilled_with_every_database_of_it(files: Installation) -> None:
    files.job["drill"]["memory_limit_mb"] = 600
    (drill,) = files.run("drill", "shop")["drills"]
    assert (drill["outcome"], bad_rows(drill), drill["problem"]) == ("passed", [], None)
    assert any(row["name"].endswith(".orders") for row in drill["rows"])
    assert drill["seconds"]["recovery"] > 0


@pytest.mark.parametrize("failpoint", ["drill-restored", "drill-recovered"])
def test_a_killed_drill_of_files_leaves_nothing_after_the_next_one(
    files: Installation, failpoint: str
) -> None:
    killed_at(files, failpoint)
    assert left_in(folder_of(files)) != []
    assert files.run("drill", "shop")["drills"][0]["outcome"] == "passed"
    assert left_in(folder_of(files)) == []
