"""Incremental backups of a real server, their chains, and the cluster that comes back of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.postgres.clusters import (
    BINARIES,
    Cluster,
    cluster,
    folder_for_cluster,
    run,
)
from tests.engine.postgres.yard import Yard, prove, restored
from tests.support.encrypted_job import encrypted_site
from tests.support.main_job import Site
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    not (BINARIES / "pg_combinebackup").exists(), reason="the server is older than 17"
)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with cluster() as server:
        server.ask("ALTER SYSTEM SET summarize_wal = on")
        server.ask("SELECT pg_reload_conf()")
        until(lambda: server.ask("SHOW summarize_wal") == [("on",)])
        made = Yard(server, tmp_path)
        made.fill(has_space=False)
        yield made


def site_of(yard: Yard, *, incremental: int = 3) -> Site:
    return yard.site(engine="tools", incremental=incremental)


def taken(site: Site) -> dict[str, Any]:
    (made,) = site.run("backup", "shop")["backups"]
    return dict(made)


def pruned(site: Site) -> list[dict[str, Any]]:
    (done,) = site.run("prune", "shop")["jobs"]
    return list(done["verdicts"])


def test_a_chain_taken_under_load_is_kept_whole_and_comes_back_as_one_cluster(yard: Yard) -> None:
    site = site_of(yard)
    full = taken(site)
    with yard.under_load():
        yard.server.ask("UPDATE goods SET text = 'changed' WHERE id % 10 = 0")
        first = taken(site)
        yard.server.ask("INSERT INTO goods SELECT id, 'late', 'row' FROM generate_series(1, 99) id")
        second = taken(site)
    assert [each["parent"] for each in (full, first, second)] == [
        "",
        full["backup"],
        first["backup"],
    ]
    assert full["notes"] == ["a full backup: no earlier backup"]
    listed = site.run("list", "shop")["backups"]
    assert listed[0]["parent"] == first["backup"]
    site.job["retention"] = {"last": 1}
    verdicts = pruned(site)
    assert [each["keep"] for each in verdicts] == [True, True, True]
    assert f"parent of {second['backup']}" in verdicts[1]["because"]
    assert site.run("verify", "shop/latest")["verified"] is True
    with restored(site) as back:
        prove(back, yard)
        assert [path.name for path in back.folder.iterdir() if path.name.startswith(".data")] == []


def test_after_as_many_incrementals_as_asked_for_comes_a_full_one(yard: Yard) -> None:
    site = site_of(yard, incremental=1)
    made = [taken(site) for _ in range(3)]
    assert [bool(each["parent"]) for each in made] == [False, True, False]
    assert made[1]["stored_bytes"] < made[0]["stored_bytes"] / 2
    site.job["retention"] = {"last": 1}
    assert [each["keep"] for each in pruned(site)] == [True, False, False]
    with restored(site) as back:
        prove(back, yard)


def test_a_chain_that_lost_its_parent_is_found_refused_and_not_gone_on_from(
    yard: Yard, tmp_path: Path
) -> None:
    site = site_of(yard)
    full, child = taken(site), taken(site)
    shutil.rmtree(site.repository / full["backup"])
    for level in ("full", "quick"):
        told = site.run("verify", child["backup"], "--level", level, code=31)
        assert [each["part"] for each in told["bad"]] == [f"parent {full['backup']}"]
    told = site.run("restore", child["backup"], "--to", f"file://{tmp_path}/back", code=31)
    assert full["backup"] in told["error"]
    assert not (tmp_path / "back").exists()
    assert taken(site)["parent"] == ""


def test_a_host_that_seals_its_backups_takes_incrementals_too(yard: Yard, tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    source = {"kind": "postgres", "method": "physical", "dsn": yard.server.dsn}
    site = encrypted_site(folder, source | {"engine": "tools", "incremental": 3})
    full, child = taken(site), taken(site)
    assert child["parent"] == full["backup"]
    identity = ("--identity", str(folder / "identity"))
    with restored(site, "shop/latest", *identity) as back:
        prove(back, yard)
    shutil.rmtree(Path(site.settings["state_directory"]) / "lists")
    again = taken(site)
    assert again["parent"] == ""
    assert "it is sealed, and this host has no copy of it" in again["notes"][0]


def test_a_damaged_parent_leaves_nothing_of_a_restore_behind(yard: Yard, tmp_path: Path) -> None:
    site = site_of(yard)
    full, _ = taken(site), taken(site)
    (stored,) = (site.repository / full["backup"]).rglob("basebackup.tar.zst")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(content)
    place = tmp_path / "place"
    place.mkdir()
    site.run("restore", "shop/latest", "--to", f"file://{place}/back", code=31)
    assert list(place.iterdir()) == []


def test_what_the_server_has_no_summaries_for_is_taken_in_full_and_said_so(yard: Yard) -> None:
    site = site_of(yard)
    parent = taken(site)
    yard.server.stop()
    for path in (yard.server.data / "pg_wal" / "summaries").iterdir():
        path.unlink()
    configured = yard.server.data / "postgresql.auto.conf"
    configured.write_text("summarize_wal = off\n")
    yard.server.start()
    told = site.run("backup", "shop", code=23)
    assert "no summaries of its WAL" in told["error"]
    assert "summarize_wal = on" in told["hint"]
    run("pgbench", "-n", "-t", "200", yard.server.dsn)
    for _ in range(3):
        yard.server.ask("SELECT pg_switch_wal()")
        yard.server.ask("CHECKPOINT")
    yard.server.ask("ALTER SYSTEM SET summarize_wal = on")
    yard.server.ask("SELECT pg_reload_conf()")
    made = taken(site)
    assert made["parent"] == ""
    assert f"cannot go on from '{parent['backup']}'" in made["notes"][0]
    assert taken(site)["parent"] == made["backup"]


def test_an_incremental_is_started_where_a_recovery_is_to_end(yard: Yard) -> None:
    site = site_of(yard)
    taken(site)
    yard.server.ask("CREATE TABLE late AS SELECT 1 AS id")
    taken(site)
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        argv = ("--to", f"file://{back.data}", "--target", "immediate", "--start")
        told = site.run("restore", "shop/latest", *argv, "--start-options", f"-k {folder}")
        try:
            assert told["recovery"]["state"] == "paused"
            assert back.ask("SELECT id FROM late") == [(1,)]
        finally:
            back.stop("immediate")
