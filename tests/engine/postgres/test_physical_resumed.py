"""Base backups that outlive their process: killed runs, and the runs that continue them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.sources.postgres.files.tree import EMPTIED
from tests.engine.postgres.sessiond import Daemon
from tests.support.clusters import Cluster, folder_for_cluster, run, started
from tests.support.encrypted_job import encrypted_installation
from tests.support.installation import Installation
from tests.support.pgbench_cluster import PgbenchCluster, prove, prove_rows, restored
from tests.support.waiting import until

Held = tuple[PgbenchCluster, Installation, Daemon]
FILES = ("file", "file-pack")


@pytest.fixture
def held(pgbench: PgbenchCluster) -> Iterator[Held]:
    installation = pgbench.installation(session="daemon")
    installation.job["resumable"] = True
    with Daemon(installation).running() as daemon:
        yield pgbench, installation, daemon


def still_there(installation: Installation, kept: dict[str, int]) -> bool:
    return kept == {key: (installation.repository / key).stat().st_ino for key in kept}


def copied(daemon: Daemon, session_id: str, source: Path, to: Path, *names: str) -> None:
    """One of several copying processes, with `tar` as a script would use it."""
    daemon.ask("join", session_id)
    to.mkdir(mode=0o700, exist_ok=True)
    argv = ["tar", "-C", str(source), "--warning=none", "-cf", "-", *names]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as reading:
        subprocess.run(["tar", "-C", str(to), "-xf", "-"], stdin=reading.stdout, check=True)
    # Exit status 1: a file changed while it was read, which WAL repairs.
    assert reading.returncode in (0, 1)
    daemon.ask("heartbeat", session_id)


def complete(pgbench: PgbenchCluster, back: Cluster, space: Path, ended: dict[str, str]) -> None:
    """The labels, folders that a server expects, the new place of the tablespace, and the WAL."""
    (back.data / "backup_label").write_text(ended["backup_label"])
    for name in EMPTIED | {"pg_tblspc", "pg_wal/archive_status"}:
        (back.data / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    oid, _, place = ended["tablespace_map"].strip().partition(" ")
    assert place == str(pgbench.space)
    (back.data / "pg_tblspc" / oid).symlink_to(space)
    first = re.search(r"\(file ([0-9A-F]{24})\)", ended["backup_label"])
    assert first is not None
    for segment in (pgbench.server.data / "pg_wal").iterdir():
        if segment.is_file() and segment.name >= first[1] and len(segment.name) == 24:
            shutil.copy(segment, back.data / "pg_wal")


def killed_at(installation: Installation, failpoint: str, *arguments: str) -> str:
    """What the run told until then."""
    done = subprocess.run(
        installation.argv("backup", "shop", *arguments),
        env=os.environ | {"HOLDFAST_FAILPOINT": failpoint},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stderr


def test_a_backup_that_ends_well_leaves_no_session(held: Held) -> None:
    pgbench, installation, daemon = held
    with pgbench.under_load():
        installation.run("backup", "shop")
    (session,) = daemon.ask("list", "--all")["sessions"]
    assert session["state"] == "ended"
    with restored(installation) as back:
        prove(back, pgbench)
    assert pgbench.server.held() == 0


@pytest.mark.parametrize("failpoint", ["backup-locked", "backup-swept"])
def test_a_run_that_is_killed_before_it_began_has_nothing_to_resume(
    held: Held, failpoint: str
) -> None:
    pgbench, installation, daemon = held
    killed_at(installation, failpoint)
    assert daemon.ask("list", "--all")["sessions"] == []
    installation.run("backup", "shop", "--resume")
    with restored(installation) as back:
        prove(back, pgbench)


def test_pieces_of_a_big_file_are_shared_kept_and_come_back_as_one(held: Held) -> None:
    pgbench, installation, _ = held
    rows = "INSERT INTO huge SELECT id, repeat(md5(id::text), 30) FROM generate_series({}) id"
    pgbench.server.ask("CREATE TABLE huge (id int, text text)")
    pgbench.server.ask(rows.format("1, 300000"))
    with pgbench.under_load():
        killed_at(installation, "part-stored:1")
        pgbench.server.ask("DELETE FROM huge WHERE id % 7 = 0")
        pgbench.server.ask(rows.format("300001, 330000"))
        kept = installation.kept(*FILES)
        installation.run("backup", "shop", "--resume")
    assert still_there(installation, kept)
    parts = installation.run("show", "shop/latest")["manifest"]["parts"]
    pieces = [part["details"]["bytes"] for part in parts if "bytes" in part["details"]]
    assert sorted(pieces) == ["0-134217728", "134217728-268435456", "268435456-"]
    counted = "SELECT count(*), sum(id::bigint * length(text)) FROM huge"
    with restored(installation) as back:
        prove(back, pgbench)
        with started(back):
            assert back.ask(counted) == pgbench.server.ask(counted)


@pytest.mark.parametrize(
    "failpoint",
    ["snapshot-taken", "part-begun:2", "part-stored:1", "part-stored:3", "parts-read"],
)
def test_a_run_that_is_killed_is_resumed_under_the_same_backup(held: Held, failpoint: str) -> None:
    pgbench, installation, daemon = held
    with pgbench.under_load():
        killed_at(installation, failpoint)
        (session,) = daemon.ask("list")["sessions"]
        kept = installation.kept(*FILES)
        made = installation.run("backup", "shop", "--resume")
    shown = installation.run("show", "shop/latest")["manifest"]
    assert shown["proof"]["start_lsn"] == session["start_lsn"]
    assert shown["consistency"] == "snapshot"
    # Nothing that was stored was copied again.
    assert still_there(installation, kept)
    assert int(shown["proof"].get("resumed_parts", 0)) == len(kept)
    assert len(kept) >= {"part-stored:1": 1, "part-stored:3": 3, "parts-read": 4}.get(failpoint, 0)
    assert made["backup"] == installation.backups()[0]["backup"]
    assert daemon.told(session["session_id"])[0] == "ended"
    with restored(installation) as back:
        prove(back, pgbench)
    assert pgbench.server.held() == 0


def test_a_run_that_is_resumed_lists_no_folder_again(held: Held) -> None:
    pgbench, installation, _ = held
    with pgbench.under_load():
        killed_at(installation, "part-stored:2")
        pgbench.server.ask("CREATE TABLE younger AS SELECT generate_series(1, 1000) AS id")
        # Where a run lists folders, it would be killed.
        unharmed = {"HOLDFAST_FAILPOINT": "files-listed"}
        installation.run("backup", "shop", "--resume", environment=unharmed)
    with restored(installation) as back:
        prove(back, pgbench)
        with started(back):
            assert back.ask("SELECT count(*) FROM younger") == [(1000,)]


MANY_TABLES = """
DO $$ BEGIN FOR n IN 1..1000 LOOP
  EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY, name text)', n);
  EXECUTE format('INSERT INTO many_%s VALUES (%s, md5(%L))', n, n, n);
  IF n % 100 = 0 THEN COMMIT; END IF;
END LOOP; END $$
"""
OF_MANY = """
SELECT count(*), md5(string_agg((xpath('//name/text()', found))[1]::text, ',' ORDER BY relname))
FROM (SELECT relname, query_to_xml(format('SELECT name FROM %I', relname), true, true, '') AS found
      FROM pg_class WHERE relkind = 'r' AND relname LIKE 'many\\_%') AS tables
"""


def test_a_second_process_reads_small_files_of_a_run_and_of_the_one_that_resumes_it(
    held: Held,
) -> None:
    pgbench, installation, _ = held
    run("psql", "-qc", MANY_TABLES, pgbench.server.dsn)
    begun = '"event": "pack_process_begun"'
    with pgbench.under_load():
        assert begun in killed_at(installation, "part-stored:2")
        kept = installation.kept(*FILES)
        done = subprocess.run(
            installation.argv("backup", "shop", "--resume"),
            check=True,
            capture_output=True,
            text=True,
        )
    assert begun in done.stderr
    assert still_there(installation, kept)
    proof = installation.run("show", "shop/latest")["manifest"]["proof"]
    assert "bad_pages" not in proof
    with restored(installation) as back:
        prove(back, pgbench)
        with started(back):
            assert back.ask(OF_MANY) == pgbench.server.ask(OF_MANY)


def test_a_run_whose_plan_is_damaged_lists_the_folders_again(held: Held) -> None:
    pgbench, installation, _ = held
    with pgbench.under_load():
        killed_at(installation, "part-stored:2")
        (journal,) = (installation.folder / "state/unfinished").rglob("*.jsonl")
        first, *parts = journal.read_text().splitlines()
        head = json.loads(first)
        assert head["memo"]
        head["memo"] = head["memo"].replace("0", "1", 1)
        journal.write_text("".join(f"{line}\n" for line in (json.dumps(head), *parts)))
        kept = installation.kept(*FILES)
        killed_at(installation, "files-listed", "--resume")
        installation.run("backup", "shop", "--resume")
    assert still_there(installation, kept)
    with restored(installation) as back:
        prove(back, pgbench)


@pytest.mark.parametrize("closing", [1, 3, "parts-stored"])
def test_a_run_that_is_killed_after_the_backup_ended_is_resumed_too(
    held: Held, closing: int | str
) -> None:
    pgbench, installation, daemon = held
    parts = len(installation.run("plan", "shop")["tables"])
    killed_at(
        installation, f"part-stored:{parts + closing}" if isinstance(closing, int) else closing
    )
    (session,) = daemon.ask("list", "--all")["sessions"]
    assert session["state"] == "ended"
    # Its slot keeps the WAL for the run that resumes.
    assert pgbench.server.held() == 2
    kept = installation.kept(*FILES, "wal")
    pgbench.server.ask("CREATE TABLE younger AS SELECT generate_series(1, 1000)")
    installation.run("backup", "shop", "--resume")
    assert still_there(installation, kept)
    with restored(installation) as back:
        prove(back, pgbench)
    assert pgbench.server.held() == 0


def test_a_sealed_backup_is_resumed_by_a_host_that_cannot_open_it(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    source = {
        "kind": "postgres",
        "method": "physical",
        "dsn": pgbench.server.dsn,
        "session": "daemon",
    }
    installation = encrypted_installation(folder, source)
    installation.job["resumable"] = True
    identity = folder / "identity"
    away = identity.rename(tmp_path / "elsewhere")
    with Daemon(installation).running():
        killed_at(installation, "parts-read")
        kept = installation.kept(*FILES)
        installation.run("backup", "shop", "--resume")
        assert still_there(installation, kept)
    with restored(installation, "shop/latest", "--identity", str(away)) as back:
        prove(back, pgbench)


def test_parts_that_are_damaged_after_the_end_cannot_be_replaced(held: Held) -> None:
    pgbench, installation, _ = held
    killed_at(installation, "parts-stored")
    damaged = next(path for path in installation.files() if path.name.endswith(".tar.zst"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    refused = installation.run("backup", "shop", "--resume", code=24)
    assert "the base backup has ended" in refused["error"]
    assert installation.run("list", "shop")["backups"] == []
    pgbench.server.ask("SELECT 1")


def test_a_run_that_is_killed_once_its_manifest_was_stored_has_made_a_backup(held: Held) -> None:
    pgbench, installation, _ = held
    killed_at(installation, "manifest-stored")
    (made,) = installation.backups()
    again = installation.run("backup", "shop", "--resume")
    assert again["backup"] != made["backup"]
    with restored(installation, made["backup"]) as back:
        prove(back, pgbench)


def test_four_processes_share_one_backup_and_three_of_them_are_killed(held: Held) -> None:
    """Begun in A, which dies; copied by B and C, which die; ended by D."""
    pgbench, installation, daemon = held
    with pgbench.under_load():
        killed_at(installation, "snapshot-taken")
        (session,) = daemon.ask("list")["sessions"]
        killed_at(installation, "part-stored:2", "--resume")
        killed_at(installation, "part-stored:4", "--resume")
        installation.run("backup", "shop", "--resume")
    assert installation.run("verify", "shop/latest")["verified"] is True
    proof = installation.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["start_lsn"] == session["start_lsn"]
    assert int(proof["resumed_parts"]) >= 3
    with restored(installation) as back:
        prove(back, pgbench)


def test_processes_that_share_a_session_may_copy_side_by_side_with_tools_of_their_own(
    held: Held,
) -> None:
    """A begins and is killed, B and C copy at the same time, D ends it."""
    pgbench, installation, daemon = held
    with folder_for_cluster() as folder, pgbench.under_load():
        back = Cluster(folder)
        argv = installation.argv("session", "begin", "--job", "shop", "--kind", "backup", "--fast")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            session_id = first.stdout.readline().split()[1]
            first.kill()
        data, space = pgbench.server.data, folder / "space"
        apart = EMPTIED | {"base", "pg_tblspc", "postmaster.pid", "postmaster.opts"}
        rest = sorted(path.name for path in data.iterdir() if path.name not in apart)
        with ThreadPoolExecutor(2) as pool:
            copies = [
                pool.submit(copied, daemon, session_id, data, back.data, "base"),
                pool.submit(copied, daemon, session_id, data, back.data, *rest),
                pool.submit(copied, daemon, session_id, pgbench.space, space, "."),
            ]
            for each in copies:
                each.result()
        complete(pgbench, back, space, daemon.ask("end", session_id))
        prove_rows(back, pgbench)


def test_a_resume_after_the_backup_was_lost_is_refused_and_a_new_run_is_not(held: Held) -> None:
    pgbench, installation, daemon = held
    killed_at(installation, "part-stored:2")
    (session,) = daemon.ask("list")["sessions"]
    daemon.ask("abort", session["session_id"])
    refused = installation.run("backup", "shop", "--resume", code=24)
    assert "aborted" in refused["error"]
    installation.run("backup", "shop")
    with restored(installation) as back:
        prove(back, pgbench)


def test_a_server_restarted_under_the_copy_makes_the_run_fail_as_corrupt(held: Held) -> None:
    pgbench, installation, daemon = held
    installation.job["max_rate"] = "4MB"
    with subprocess.Popen(
        installation.argv("backup", "shop"), stderr=subprocess.PIPE, text=True
    ) as running:
        until(lambda: any(path.suffix == ".zst" for path in installation.files()))
        pgbench.server.stop()
        pgbench.server.start()
        _, told = running.communicate(timeout=120)
    assert running.returncode in (62, 64), told
    until(lambda: daemon.ask("list", "--all")["sessions"][0]["state"] == "corrupt")
    assert installation.run("list", "shop")["backups"] == []
