"""WAL archived by a real server, and clusters recovered to points in time with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archive import Archive, points
from tests.support.clusters import Cluster, cluster, folder_for_cluster, run, started
from tests.support.waiting import until


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with cluster() as server:
        made = Archive(server, tmp_path)
        made.begin()
        yield made


def require_readable(archive: Archive) -> None:
    """Everything that the server archived, of every kind, is read back and found good."""
    nightly = ("verify", "shop", "--level", "ledger", "--budget", "10m")
    (job,) = archive.installation.run(*nightly)["jobs"]
    assert (job["bad"], job["left"]) == ([], 0)
    assert job["wal_files"] == len(archive.names())


def test_what_a_server_archives_under_load_has_no_gap_and_comes_back(archive: Archive) -> None:
    run("pgbench", "-iq", "-s", "1", archive.server.dsn)
    archive.installation.run("backup", "shop")
    run("pgbench", "-n", "-c", "2", "-t", "600", archive.server.dsn)
    archive.mark(1)
    last = archive.switch()
    (line,) = archive.lines()
    assert (line["last"], line["missing"]) == (last, [])
    assert line["segments"] > 2
    assert archive.installation.run("verify", "shop/latest")["verified"] is True
    require_readable(archive)
    with archive.recovered("--target", "latest") as (back, told):
        assert told["recovery"]["state"] == "open"
        assert points(back) == [1]
        ((accounts, history),) = back.ask(
            "SELECT sum(abalance), (SELECT sum(delta) FROM pgbench_history) FROM pgbench_accounts"
        )
        assert accounts == history
        run("pg_amcheck", "--install-missing", "--heapallindexed", back.dsn)


@pytest.mark.parametrize("kind", ["time", "lsn", "name"])
def test_a_cluster_comes_back_to_a_time_a_position_and_a_name(archive: Archive, kind: str) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    target = {"lsn": archive.mark(2), "time": archive.time(), "name": "noon"}
    archive.server.ask("SELECT pg_create_restore_point('noon')")
    archive.mark(3)
    archive.switch()
    with archive.recovered(f"--target-{kind}", target[kind]) as (back, told):
        assert told["recovery"]["state"] == "paused"
        assert points(back) == [1, 2]
        assert back.ask("SELECT pg_is_in_recovery()") == [(True,)]
        assert back.ask("SHOW archive_mode") == [("off",)]
    promoted = ("--target-action", "promote")
    with archive.recovered(f"--target-{kind}", target[kind], *promoted) as (back, told):
        assert told["recovery"]["state"] == "open"
        assert points(back) == [1, 2]
        back.ask("INSERT INTO points VALUES (9)")


def test_a_target_may_end_in_a_shutdown_or_as_soon_as_the_cluster_is_consistent(
    archive: Archive,
) -> None:
    archive.installation.run("backup", "shop")
    lsn = archive.mark(1)
    archive.mark(2)
    archive.switch()
    stopping = ("--target-lsn", lsn, "--target-action", "shutdown")
    with archive.recovered(*stopping) as (back, told):
        assert told["recovery"]["state"] == "shut down"
        assert not (back.data / "postmaster.pid").exists()
    with archive.recovered("--target", "immediate") as (back, told):
        assert told["recovery"]["state"] == "paused"
        assert points(back) == []


def test_a_target_before_the_end_of_the_backup_is_refused_and_names_one_that_suits(
    archive: Archive, tmp_path: Path
) -> None:
    first = archive.installation.run("backup", "shop")["backup"]
    lsn, at = archive.mark(1), archive.time()
    archive.installation.run("backup", "shop")
    # A time is reached only if a later commit exists.
    archive.mark(2)
    archive.switch()
    for target in (("--target-lsn", lsn), ("--target-time", at)):
        argv = ("restore", "shop/latest", "--to", f"file://{tmp_path}/back", *target)
        told = archive.installation.run(*argv, code=73)
        assert "is not consistent before" in told["error"]
        assert first in told["hint"]
        assert not (tmp_path / "back").exists()
        with archive.recovered(*target, backup=first) as (back, _):
            assert points(back) == [1]
    future = ("--target-time", "2999-01-01 00:00:00Z")
    told = archive.installation.run(*argv[:4], *future, code=73)
    assert "in the future" in told["error"]


def test_a_missing_segment_is_found_by_verify_and_refused_by_a_recovery_beyond_it(
    archive: Archive, tmp_path: Path
) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    lost, _ = archive.switch(), archive.switch()
    lsn = archive.mark(2)
    archive.switch()
    archive.remove(lost)
    told = archive.installation.run("verify", "shop/latest", code=31)
    assert [each["part"] for each in told["bad"]] == [f"wal {lost}"]
    told = archive.installation.run("verify", "shop/latest", "--level", "quick", code=31)
    assert [each["part"] for each in told["bad"]] == [f"wal {lost}"]
    (line,) = archive.lines()
    assert line["missing"] == [{"first": lost, "last": lost, "segments": 1}]
    argv = ("restore", "shop/latest", "--to", f"file://{tmp_path}/back")
    for target in (("--target-lsn", lsn), ("--target", "latest")):
        assert lost in archive.installation.run(*argv, *target, code=73)["error"]
    # Only the WAL shows when a name was set: the server ends, and its last message is reported.
    with archive.recovered("--target-name", "never", code=32) as (_, told):
        assert "recovery ended before configured recovery target was reached" in told["error"]


def test_damaged_wal_stops_a_recovery_instead_of_ending_it(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    name = archive.switch()
    archive.mark(2)
    archive.switch()
    (stored,) = archive.installation.repository.glob(f"shop.wal/*/*/{name.lower()}/*.zst")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with archive.recovered("--target", "latest", code=32) as (back, told):
        assert "restore_command" in told["error"] or "could not restore file" in told["error"]
        log = Path(f"{back.data}-start.log").read_text()
        assert f"cannot trust part '{name}'" in log


def test_a_recovery_follows_the_timeline_of_a_promotion(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.switch()
    with archive.recovered("--target", "latest") as (back, _):
        other = archive.continued_by(back)
        other.mark(2)
        other.switch()
        assert "00000002.history" in archive.names()
    assert [(each["timeline"], each["missing"]) for each in archive.lines()] == [(1, []), (2, [])]
    assert archive.installation.run("verify", "shop/latest")["verified"] is True
    require_readable(archive)
    with archive.recovered("--target", "latest") as (back, _):
        assert points(back) == [1, 2]
    archive.mark(3)
    archive.switch()
    with archive.recovered("--target", "latest", "--target-timeline", "current") as (back, _):
        assert points(back) == [1, 3]
    refused = ("restore", "shop/latest", "--to", "file:///nowhere/back", "--target", "latest")
    told = archive.installation.run(*refused, "--target-timeline", "7", code=73)
    assert "timeline 7" in told["error"]


@pytest.mark.parametrize("failpoint", ["wal-stored", "wal-archived"])
def test_a_push_that_is_killed_is_made_good_by_the_next_one(
    archive: Archive, failpoint: str
) -> None:
    name = archive.switch()
    archive.remove(name)
    path = archive.server.data / "pg_wal" / name
    argv = archive.installation.argv("wal", "push", "shop", str(path))
    killed = subprocess.run(
        argv, env=os.environ | {"HOLDFAST_FAILPOINT": failpoint}, check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert (name in archive.names()) == (failpoint == "wal-archived")
    archive.installation.run("wal", "push", "shop", str(path))
    back = archive.server.folder / "back"
    cluster = archive.lines()[0]["cluster"]
    done = subprocess.run(
        archive.installation.argv("wal", "get", "shop", name, str(back), "--cluster", cluster),
        check=False,
    )
    assert done.returncode == 0
    assert back.read_bytes() == path.read_bytes()


def test_a_copy_of_the_server_that_archives_too_is_refused_and_harms_nothing(
    archive: Archive,
) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    name = archive.switch()
    with folder_for_cluster() as folder:
        copy = Cluster(folder)
        archive.installation.run("restore", "shop/latest", "--to", f"file://{copy.data}")
        copy.configure("")
        with started(copy):
            # It archives on the same timeline, with the command of the first one.
            copy.ask("CREATE TABLE mine (id int)")
            copy.ask("SELECT pg_switch_wal()")
            until(lambda: "holds another file of that name" in copy.log.read_text())
    assert archive.names()[-1] == name
    assert archive.installation.run("verify", "shop/latest")["verified"] is True
    with archive.recovered("--target", "latest") as (back, _):
        assert points(back) == [1]


def test_prune_keeps_what_the_oldest_kept_backup_needs(archive: Archive) -> None:
    archive.installation.job["retention"] = {"last": 2}
    made = []
    for number in range(3):
        made.append(archive.installation.run("backup", "shop")["backup"])
        archive.mark(number)
        archive.switch()
    before = archive.names()
    (pruned,) = archive.installation.run("prune", "shop")["jobs"]
    (told,) = pruned["wal"]
    assert (told["because"], told["files"] > 0) == (f"{made[1]} begins there", True)
    assert archive.names() == [each for each in before if each >= told["first_kept"]]
    assert archive.installation.run("verify", made[1])["verified"] is True
    with archive.recovered("--target", "latest", backup=made[1]) as (back, _):
        assert points(back) == [0, 1, 2]


def test_encrypted_wal_is_opened_by_its_identity_only(archive: Archive, tmp_path: Path) -> None:
    installation = archive.installation
    key = tmp_path / "restore.key"
    recipient = installation.run("keys", "identity", str(key))["public_key"]
    installation.settings["repositories"]["main"]["encryption"] = {"recipients": [recipient]}
    archive.installation.run("backup", "shop")
    archive.mark(1)
    name = archive.switch()
    (stored,) = installation.repository.glob(f"shop.wal/*/*/{name.lower()}/*.age")
    assert stored.read_bytes().startswith(b"age-encryption.org/v1")
    with archive.recovered("--target", "latest", "--identity", str(key)) as (back, _):
        assert points(back) == [1]


def test_a_cluster_whose_configuration_is_elsewhere_is_started_too(
    archive: Archive,
) -> None:
    elsewhere = archive.server.folder / "etc"
    elsewhere.mkdir()
    for name in ("postgresql.conf", "pg_hba.conf"):
        shutil.move(archive.server.data / name, elsewhere / name)
    archive.installation.run("backup", "shop")
    lsn = archive.mark(1)
    for name in ("postgresql.conf", "pg_hba.conf"):
        shutil.move(elsewhere / name, archive.server.data / name)
    archive.switch()
    with archive.recovered("--target-lsn", lsn) as (back, _):
        # The first run of tests asks as the server's own user, as `peer` wants it.
        assert points(back) == [1]
        assert back.ask("SHOW max_connections") == [("60",)]


def test_a_server_that_cannot_start_is_told_with_its_last_words(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    with archive.recovered(server="-c nonsense=1", code=32) as (_, told):
        assert "nonsense" in told["error"]


def test_a_recovery_that_takes_too_long_is_told_what_it_waits_for(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    # Each segment starts a program, so ten of them take several times as long as may be waited.
    for number in range(1, 11):
        archive.mark(number)
        archive.switch()
    options = ("--target", "latest", "--start-timeout", "1s")
    with archive.recovered(*options, code=33) as (_, told):
        assert "replaying WAL until latest" in told["error"]


def test_a_segment_that_is_still_written_to_is_refused_and_blocks_nothing(
    archive: Archive, tmp_path: Path
) -> None:
    archive.switch()
    archive.installation.run("backup", "shop")
    archive.mark(1)
    ((name, cluster_id),) = archive.server.ask(
        "SELECT pg_walfile_name(pg_current_wal_insert_lsn()), system_identifier::text"
        " FROM pg_control_system()"
    )
    path = archive.server.data / "pg_wal" / str(name)
    refused = archive.installation.run("wal", "push", "shop", str(path), code=71)
    assert "has not finished it" in refused["error"]
    assert name not in archive.names()
    # As an earlier release did, which accepted any file.
    status = tmp_path / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    (status / f"{name}.ready").touch()
    early = shutil.copy(path, status.parent)
    archive.installation.run("wal", "push", "shop", str(early), "--cluster", str(cluster_id))
    assert name in archive.names()
    archive.mark(2)
    assert archive.switch() == name
    archive.switch()
    (line,) = archive.lines()
    assert line["missing"] == []
    with archive.recovered("--target", "latest") as (back, _):
        assert points(back) == [1, 2]


def test_two_recoveries_on_one_host_bring_both_clusters_back(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    for number in range(6):
        archive.mark(number)
        archive.switch()
    with folder_for_cluster() as one, folder_for_cluster() as other:
        copies = [Cluster(one), Cluster(other)]
        # In parallel: neither may take the segments that the other has fetched ahead.
        runs = [
            subprocess.Popen(
                archive.installation.argv(
                    *("restore", "shop/latest", "--to", f"file://{copy.data}"),
                    *("--target", "latest", "--start", "--start-timeout", "10m"),
                    *("--start-options", f"-k {copy.folder}"),
                )
            )
            for copy in copies
        ]
        try:
            assert [each.wait() for each in runs] == [0, 0]
            for copy in copies:
                assert points(copy) == list(range(6))
                log = Path(f"{copy.data}-start.log").read_text()
                assert log.count("restored log file") >= 6
                assert "error" not in log
        finally:
            for each, copy in zip(runs, copies, strict=True):
                each.wait()
                if (copy.data / "postmaster.pid").exists():
                    copy.stop("immediate")


def test_another_cluster_under_a_jobs_name_is_refused_until_it_is_named(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.switch()
    before = archive.names()
    with cluster() as other:
        beside = archive.on(other)
        archive.installation.job["source"]["dsn"] = other.dsn
        refused = archive.installation.run("backup", "shop", code=75)
        ((identifier,),) = other.ask("SELECT system_identifier FROM pg_control_system()")
        assert f"system_identifier: {identifier}" in refused["hint"]
        assert archive.installation.run("check", "shop", code=75)["exit_code"] == 75
        beside.begin()
        other.ask("SELECT pg_switch_wal()")
        until(lambda: other.ask("SELECT failed_count > 0 FROM pg_stat_archiver") == [(True,)])
        assert archive.names() == before
        archive.installation.job["source"]["system_identifier"] = identifier
        beside.installation.argv()
        other.ask("SELECT pg_logical_emit_message(true, 'x', 'y')")
        # Wakes the archiver, which waits a minute after three failures.
        other.ask("SELECT pg_switch_wal()")
        until(lambda: other.ask("SELECT archived_count > 0 FROM pg_stat_archiver") == [(True,)])
        archive.installation.run("check", "shop")
        archive.installation.run("backup", "shop")
        # The replaced server is then refused.
        archive.installation.job["source"]["dsn"] = archive.server.dsn
        archive.installation.run("backup", "shop", code=75)


def test_backups_of_a_job_that_was_renamed_come_back_with_its_wal(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.switch()
    archive.installation.settings["jobs"]["store"] = archive.installation.settings["jobs"].pop(
        "shop"
    )
    assert archive.installation.run("wal", "list", "shop")["timelines"]
    name = archive.installation.run("list", "shop")["backups"][0]["backup"]
    with archive.recovered("--target", "latest", backup=name) as (back, told):
        assert told["recovery"]["state"] == "open"
        assert points(back) == [1]
