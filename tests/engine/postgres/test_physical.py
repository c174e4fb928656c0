"""Clusters copied file by file while they are written to, and started again elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.main_job import Site
from tests.engine.postgres.clusters import (
    BINARIES,
    Cluster,
    cluster,
    folder_for_cluster,
    run,
    started,
)
from tests.engine.postgres.sessiond import Daemon
from tests.engine.waiting import until

BALANCES = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
       (SELECT sum(bbalance) FROM pgbench_branches),
       coalesce((SELECT sum(delta) FROM pgbench_history), 0)
"""
STILL_ROWS = "SELECT count(*), md5(string_agg(goods::text, ',' ORDER BY id)) FROM goods"


class Yard:
    """A cluster with a tablespace and pgbench's tables, and a site that backs it up."""

    def __init__(self, server: Cluster, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.space = server.folder / "space"

    def fill(self, *, scale: int = 3, has_space: bool = True) -> None:
        argv = ["pgbench", "-iq", "-s", str(scale)]
        if has_space:
            self.space.mkdir()
            create = f"CREATE TABLESPACE space LOCATION '{self.space}'"
            run("psql", "-qc", create, self.server.dsn)
            argv.append("--tablespace=space")
        run(*argv, self.server.dsn)
        self.server.ask(
            "CREATE TABLE goods AS SELECT id, md5(id::text) AS name, repeat('x', 500) AS text"
            " FROM generate_series(1, 20000) id"
        )
        self.server.ask("CREATE INDEX ON goods (name)")
        self.server.ask("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 1000) AS id")

    def site(self, name: str = "site", **source: Any) -> Site:
        folder = self.folder / name
        folder.mkdir()
        settings = {"kind": "postgres", "method": "physical", "dsn": self.server.dsn, **source}
        site = Site(folder, settings, level=1)
        site.job["max_concurrent_processes"] = 2
        return site

    @contextmanager
    def under_load(self) -> Iterator[None]:
        argv = [str(BINARIES / "pgbench"), "-n", "-c", "2", "-T", "600", self.server.dsn]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                until(lambda: bool(self.server.ask("SELECT 1 FROM pgbench_history LIMIT 1")))
                yield
                assert running.poll() is None
            finally:
                running.terminate()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with cluster() as server:
        made = Yard(server, tmp_path)
        made.fill()
        yield made


@contextmanager
def restored(site: Site, backup: str = "shop/latest") -> Iterator[Cluster]:
    """The cluster that comes back, before it is started."""
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        site.run("restore", backup, "--to", f"file://{back.data}")
        yield back


def prove(back: Cluster, yard: Yard) -> None:
    """It is whole by its manifest, starts, is consistent, and its indexes agree with its rows."""
    assert "successfully verified" in run("pg_verifybackup", str(back.data))
    back.configure("")
    with started(back):
        ((accounts, tellers, branches, history),) = back.ask(BALANCES)
        assert accounts == tellers == branches == history
        assert back.ask(STILL_ROWS) == yard.server.ask(STILL_ROWS)
        assert back.ask("SELECT count(*) FROM fleeting") == [(0,)]
        places = back.ask(
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'"
        )
        assert all(str(place).startswith(str(back.folder)) for (place,) in places)
        assert len(places) == yard.space.exists()
        run("pg_amcheck", "--install-missing", "--heapallindexed", back.dsn)
        back.ask("INSERT INTO goods VALUES (0, 'new', 'row')")


def test_a_cluster_under_load_comes_back_whole_with_its_tablespace(yard: Yard) -> None:
    site = yard.site()
    with yard.under_load():
        made = site.run("backup", "shop")
    assert site.run("verify", "shop/latest")["verified"] is True
    with restored(site) as back:
        prove(back, yard)
    proof = site.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["page_checksums"].endswith("pages verified")
    assert int(proof["page_checksums"].split()[0]) > 4000
    assert "bad_pages" not in proof
    assert made["server"]["kind"] == "postgres-cluster"
    assert yard.server.held() == 0


def test_parts_are_read_by_stock_tools(yard: Yard, tmp_path: Path) -> None:
    site = yard.site()
    site.run("backup", "shop")
    parts = site.run("show", "shop/latest")["manifest"]["parts"]
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    spaces: dict[str, str] = {}
    for part in sorted(parts, key=lambda part: part["kind"] != "file-pack"):
        content = subprocess.run(
            ["zstd", "-dc", str(site.repository / part["key"])], check=True, capture_output=True
        ).stdout
        if part["kind"] == "file-pack":
            subprocess.run(["tar", "-x", "-C", str(copy)], input=content, check=True)
            continue
        path = part["details"]["path"]
        spaces |= json.loads(part["details"].get("tablespaces", "{}"))
        if path != "tablespace_map":
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_bytes(content)
    assert list(spaces.values()) == [str(yard.space)]
    assert "successfully verified" in run("pg_verifybackup", str(copy))


def test_a_damaged_page_is_found_named_and_told(yard: Yard) -> None:
    ((path,),) = yard.server.ask("SELECT pg_relation_filepath('goods')")
    yard.server.ask("CHECKPOINT")
    yard.server.stop()
    with (yard.server.data / str(path)).open("r+b") as file:
        file.seek(7 * 8192 + 4000)
        file.write(b"\xff\x00\xff\x00\xa5")
    yard.server.start()
    site = yard.site()
    site.run("backup", "shop")
    proof = site.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["bad_pages"] == f"{path}: 7"


def test_two_backups_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    with cluster(wal_senders=1) as server:
        yard = Yard(server, tmp_path)
        yard.fill()
        sites = [yard.site("one"), yard.site("two")]
        with yard.under_load():
            running = [
                subprocess.Popen(site.argv("backup", "shop"), stderr=subprocess.DEVNULL)
                for site in sites
            ]
            assert [each.wait(120) for each in running] == [0, 0]
        for site in sites:
            with restored(site) as back:
                prove(back, yard)
        assert server.held() == 0


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_shut_down_half_way_ends_the_run_and_leaves_nothing(
    yard: Yard, mode: str
) -> None:
    site = yard.site()
    # Slow enough to be caught at work.
    site.job["max_rate"] = "4MB"
    with subprocess.Popen(
        site.argv("backup", "shop"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        until(lambda: any(path.suffix == ".zst" for path in site.files()))
        yard.server.stop(mode)
        _, told = running.communicate(timeout=120)
    assert running.returncode in (20, 62, 64), told
    assert "Traceback" not in told
    assert [path.name for path in site.files()] == ["failed.json"]
    assert site.run("list", "shop")["backups"] == []


def test_a_failed_run_ends_the_backup_on_the_server(yard: Yard) -> None:
    site = yard.site()
    site.job["max_rate"] = "4MB"
    with subprocess.Popen(site.argv("backup", "shop"), stderr=subprocess.DEVNULL) as running:
        until(lambda: any(path.suffix == ".zst" for path in site.files()))
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 130
    until(lambda: yard.server.held() == 0)
    assert [path.name for path in site.files()] == ["failed.json"]


def test_more_workers_than_open_files_allow_are_refused_with_the_numbers(yard: Yard) -> None:
    site = yard.site()
    site.job["max_concurrent_processes"] = 1000
    argv = ["prlimit", "--nofile=256:256", *site.argv("backup", "shop", "--json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 10, done.stdout + done.stderr
    assert "open files, 256 are allowed" in told["error"]
    assert "max_concurrent_processes" in told["hint"]
    assert yard.server.held() == 0


def test_a_server_without_a_free_connection_is_told_with_the_numbers(yard: Yard) -> None:
    yard.server.ask("CREATE ROLE clerk LOGIN IN ROLE pg_monitor CONNECTION LIMIT 2")
    site = yard.site(dsn=f"host={yard.server.folder} user=clerk dbname=postgres")
    told = site.run("backup", "shop", code=20)
    assert "1 connections are free, 2 are needed" in told["error"]


def test_a_slot_that_cannot_be_had_is_no_failure(yard: Yard) -> None:
    yard.server.ask("ALTER SYSTEM SET max_replication_slots = 0")
    yard.server.stop()
    yard.server.start()
    site = yard.site()
    site.run("backup", "shop")
    proof = site.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["wal_reserved_by"] == "nothing"
    with restored(site) as back:
        prove(back, yard)


def test_a_folder_with_something_in_it_is_not_touched(yard: Yard, tmp_path: Path) -> None:
    site = yard.site()
    site.run("backup", "shop")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("mine")
    told = site.run("restore", "shop/latest", "--to", f"file://{taken}", code=13)
    assert "contains files" in told["error"]
    assert [path.name for path in taken.iterdir()] == ["precious"]
    site.run("restore", "shop/latest", "--to", "postgresql:///shop", code=23)
    site.run("restore", "shop/latest", "--to", "file:relative", code=23)


def test_a_restore_that_meets_a_damaged_part_leaves_no_cluster(yard: Yard, tmp_path: Path) -> None:
    site = yard.site()
    site.run("backup", "shop")
    part = max(site.files(), key=lambda path: path.stat().st_size)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert site.run("verify", "shop/latest", code=31)["bad"]
    target = tmp_path / "back"
    site.run("restore", "shop/latest", "--to", f"file://{target}", code=31)
    assert not target.exists()
    assert list(tmp_path.glob("back-tablespaces/*")) == []


def test_check_and_plan_say_what_would_be_done(yard: Yard) -> None:
    site = yard.site()
    (checked,) = site.run("check", "shop")["jobs"]
    found = {each["subject"]: each["detail"] for each in checked["findings"]}
    assert found["page checksums"] == "are on"
    planned = site.run("plan", "shop")
    assert json.dumps(planned).count("file-pack") >= 1


def test_a_login_without_the_right_is_told_the_grant_and_a_standby_is_refused(yard: Yard) -> None:
    yard.server.ask("CREATE ROLE clerk LOGIN IN ROLE pg_monitor")
    site = yard.site(dsn=f"host={yard.server.folder} user=clerk dbname=postgres")
    assert "GRANT EXECUTE" in site.run("backup", "shop", code=22)["hint"]


def test_a_cluster_comes_back_over_the_wire_too(tmp_path: Path) -> None:
    with cluster(wal_senders=1) as server:
        yard = Yard(server, tmp_path)
        yard.fill(has_space=False)
        site = yard.site(engine="tools")
        with yard.under_load():
            site.run("backup", "shop")
        proof = site.run("show", "shop/latest")["manifest"]["proof"]
        assert "one stream" in proof["copied_by"]
        with restored(site) as back:
            prove(back, yard)


def test_what_the_wire_cannot_do_is_refused_with_the_numbers(yard: Yard, tmp_path: Path) -> None:
    site = yard.site(engine="tools")
    assert "1 tablespaces" in site.run("backup", "shop", code=23)["error"]
    with cluster(wal_senders=0) as server:
        bare = Yard(server, tmp_path / "bare")
        bare.folder.mkdir()
        told = bare.site(engine="tools").run("backup", "shop", code=20)
        assert "0 WAL senders are free, 1 is needed" in told["error"]
        server.ask("CREATE ROLE clerk LOGIN")
        dsn = f"host={server.folder} user=clerk dbname=postgres"
        refused = bare.site("clerk", engine="tools", dsn=dsn).run("check", "shop", code=22)
        assert "REPLICATION" in json.dumps(refused)


class TestWithTheDaemon:
    """Runs that are killed, and what the daemon makes of them."""

    @pytest.fixture
    def held(self, yard: Yard) -> Iterator[tuple[Yard, Site, Daemon]]:
        site = yard.site(session="daemon")
        site.job["resumable"] = True
        with Daemon(site).running() as daemon:
            yield yard, site, daemon

    def test_a_backup_that_ends_well_leaves_no_session(
        self, held: tuple[Yard, Site, Daemon]
    ) -> None:
        yard, site, daemon = held
        with yard.under_load():
            site.run("backup", "shop")
        (session,) = daemon.ask("list", "--all")["sessions"]
        assert session["state"] == "ended"
        with restored(site) as back:
            prove(back, yard)
        assert yard.server.held() == 0

    @pytest.mark.parametrize(
        "failpoint", ["snapshot-taken", "part-begun:2", "part-stored:3", "parts-read"]
    )
    def test_a_run_that_is_killed_is_resumed_under_the_same_backup(
        self, held: tuple[Yard, Site, Daemon], failpoint: str
    ) -> None:
        yard, site, daemon = held
        with yard.under_load():
            killed = subprocess.run(
                site.argv("backup", "shop"),
                env=os.environ | {"HOLDFAST_FAILPOINT": failpoint},
                check=False,
                capture_output=True,
            )
            assert killed.returncode == -signal.SIGKILL
            (session,) = daemon.ask("list")["sessions"]
            stored = {path.name for path in site.files()}
            made = site.run("backup", "shop", "--resume")
        proof = site.run("show", "shop/latest")["manifest"]["proof"]
        if failpoint != "snapshot-taken":
            assert proof["start_lsn"] == session["start_lsn"]
        if failpoint == "parts-read":
            alone = [name for name in stored if not name.endswith(".tar.zst")]
            assert int(proof["resumed_parts"]) == len([n for n in alone if n.endswith(".zst")])
        assert made["backup"] == site.backups()[0]["backup"]
        with restored(site) as back:
            prove(back, yard)
        daemon.ask("list")

    def test_a_resume_after_the_backup_was_lost_is_refused_and_a_new_run_is_not(
        self, held: tuple[Yard, Site, Daemon]
    ) -> None:
        yard, site, daemon = held
        subprocess.run(
            site.argv("backup", "shop"),
            env=os.environ | {"HOLDFAST_FAILPOINT": "part-stored:2"},
            check=False,
            capture_output=True,
        )
        (session,) = daemon.ask("list")["sessions"]
        daemon.ask("abort", session["session_id"])
        refused = site.run("backup", "shop", "--resume", code=24)
        assert "aborted" in refused["error"]
        site.run("backup", "shop")
        with restored(site) as back:
            prove(back, yard)

    def test_a_server_restarted_under_the_copy_makes_the_run_fail_as_corrupt(
        self, held: tuple[Yard, Site, Daemon]
    ) -> None:
        yard, site, daemon = held
        site.job["max_rate"] = "4MB"
        with subprocess.Popen(
            site.argv("backup", "shop"), stderr=subprocess.PIPE, text=True
        ) as running:
            until(lambda: any(path.suffix == ".zst" for path in site.files()))
            yard.server.stop()
            yard.server.start()
            _, told = running.communicate(timeout=120)
        assert running.returncode in (62, 64), told
        until(lambda: daemon.ask("list", "--all")["sessions"][0]["state"] == "corrupt")
        assert site.run("list", "shop")["backups"] == []
