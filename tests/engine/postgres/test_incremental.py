"""Incremental backups of a real server, their chains, and the restored cluster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import BINARIES, Cluster, cluster, folder_for_cluster, run
from tests.support.encrypted_job import encrypted_installation
from tests.support.installation import Installation
from tests.support.pgbench_cluster import PgbenchCluster, prove, restored
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    not (BINARIES / "pg_combinebackup").exists(), reason="the server is older than 17"
)


@pytest.fixture
def pgbench(tmp_path: Path) -> Iterator[PgbenchCluster]:
    with cluster() as server:
        server.ask("ALTER SYSTEM SET summarize_wal = on")
        server.ask("SELECT pg_reload_conf()")
        until(lambda: server.ask("SHOW summarize_wal") == [("on",)])
        made = PgbenchCluster(server, tmp_path)
        made.fill(has_space=False)
        yield made


def installation_of(pgbench: PgbenchCluster, *, incremental: int = 3) -> Installation:
    return pgbench.installation(engine="tools", incremental=incremental)


def taken(installation: Installation) -> dict[str, Any]:
    (made,) = installation.run("backup", "shop")["backups"]
    return dict(made)


def pruned(installation: Installation) -> list[dict[str, Any]]:
    (done,) = installation.run("prune", "shop")["jobs"]
    return list(done["verdicts"])


def test_a_chain_taken_under_load_is_kept_whole_and_comes_back_as_one_cluster(
    pgbench: PgbenchCluster,
) -> None:
    installation = installation_of(pgbench)
    full = taken(installation)
    with pgbench.under_load():
        pgbench.server.ask("UPDATE goods SET text = 'changed' WHERE id % 10 = 0")
        first = taken(installation)
        pgbench.server.ask(
            "INSERT INTO goods SELECT id, 'late', 'row' FROM generate_series(1, 99) id"
        )
        second = taken(installation)
    assert [each["parent"] for each in (full, first, second)] == [
        "",
        full["backup"],
        first["backup"],
    ]
    assert full["notes"] == ["a full backup: no earlier backup"]
    listed = installation.run("list", "shop")["backups"]
    assert listed[0]["parent"] == first["backup"]
    installation.job["retention"] = {"last": 1}
    verdicts = pruned(installation)
    assert [each["keep"] for each in verdicts] == [True, True, True]
    assert f"parent of {second['backup']}" in verdicts[1]["because"]
    assert installation.run("verify", "shop/latest")["verified"] is True
    with restored(installation) as back:
        prove(back, pgbench)
        assert [path.name for path in back.folder.iterdir() if path.name.startswith(".data")] == []


def test_after_as_many_incrementals_as_asked_for_comes_a_full_one(pgbench: PgbenchCluster) -> None:
    installation = installation_of(pgbench, incremental=1)
    made = [taken(installation) for _ in range(3)]
    assert [bool(each["parent"]) for each in made] == [False, True, False]
    assert made[1]["stored_bytes"] < made[0]["stored_bytes"] / 2
    installation.job["retention"] = {"last": 1}
    assert [each["keep"] for each in pruned(installation)] == [True, False, False]
    with restored(installation) as back:
        prove(back, pgbench)


def test_a_chain_that_lost_its_parent_is_found_refused_and_not_continued(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = installation_of(pgbench)
    full, child = taken(installation), taken(installation)
    shutil.rmtree(installation.repository / full["backup"])
    for level in ("full", "quick"):
        told = installation.run("verify", child["backup"], "--level", level, code=31)
        assert [each["part"] for each in told["bad"]] == [f"parent {full['backup']}"]
    told = installation.run("restore", child["backup"], "--to", f"file://{tmp_path}/back", code=31)
    assert full["backup"] in told["error"]
    assert not (tmp_path / "back").exists()
    assert taken(installation)["parent"] == ""


def test_a_host_that_seals_its_backups_takes_incrementals_too(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    source = {"kind": "postgres", "method": "physical", "dsn": pgbench.server.dsn}
    installation = encrypted_installation(folder, source | {"engine": "tools", "incremental": 3})
    full, child = taken(installation), taken(installation)
    assert child["parent"] == full["backup"]
    identity = ("--identity", str(folder / "identity"))
    with restored(installation, "shop/latest", *identity) as back:
        prove(back, pgbench)
    shutil.rmtree(Path(installation.settings["state_directory"]) / "lists")
    again = taken(installation)
    assert again["parent"] == ""
    assert "it is encrypted, and this host has no copy of its content" in again["notes"][0]


def test_a_damaged_parent_leaves_nothing_of_a_restore_behind(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = installation_of(pgbench)
    full, _ = taken(installation), taken(installation)
    (stored,) = (installation.repository / full["backup"]).rglob("basebackup.tar.zst")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(content)
    place = tmp_path / "place"
    place.mkdir()
    installation.run("restore", "shop/latest", "--to", f"file://{place}/back", code=31)
    assert list(place.iterdir()) == []


def test_what_the_server_has_no_summaries_for_is_taken_in_full_and_said_so(
    pgbench: PgbenchCluster,
) -> None:
    installation = installation_of(pgbench)
    parent = taken(installation)
    pgbench.server.stop()
    for path in (pgbench.server.data / "pg_wal" / "summaries").iterdir():
        path.unlink()
    configured = pgbench.server.data / "postgresql.auto.conf"
    configured.write_text("summarize_wal = off\n")
    pgbench.server.start()
    told = installation.run("backup", "shop", code=23)
    assert "does not summarize its WAL" in told["error"]
    assert "summarize_wal = on" in told["hint"]
    run("pgbench", "-n", "-t", "200", pgbench.server.dsn)
    for _ in range(3):
        pgbench.server.ask("SELECT pg_switch_wal()")
        pgbench.server.ask("CHECKPOINT")
    pgbench.server.ask("ALTER SYSTEM SET summarize_wal = on")
    pgbench.server.ask("SELECT pg_reload_conf()")
    made = taken(installation)
    assert made["parent"] == ""
    assert f"cannot continue from '{parent['backup']}'" in made["notes"][0]
    assert taken(installation)["parent"] == made["backup"]


def test_an_incremental_is_started_where_a_recovery_is_to_end(pgbench: PgbenchCluster) -> None:
    installation = installation_of(pgbench)
    taken(installation)
    pgbench.server.ask("CREATE TABLE late AS SELECT 1 AS id")
    taken(installation)
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        argv = ("--to", f"file://{back.data}", "--target", "immediate", "--start")
        told = installation.run("restore", "shop/latest", *argv, "--start-options", f"-k {folder}")
        try:
            assert told["recovery"]["state"] == "paused"
            assert back.ask("SELECT id FROM late") == [(1,)]
        finally:
            back.stop("immediate")
