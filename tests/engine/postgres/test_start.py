"""The started server is the restored one, whatever its original configuration says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archive import Archive, points
from tests.support.clusters import BINARIES, Cluster, cluster, folder_for_cluster
from tests.support.installation import Installation
from tests.support.waiting import until

MAJOR = int(BINARIES.parent.name)


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as made:
        made.ask("CREATE TABLE goods AS SELECT generate_series(1, 1000) AS id")
        yield made


def installation_of(server: Cluster, folder: Path) -> Installation:
    return Installation(
        folder, {"kind": "postgres", "method": "physical", "dsn": server.dsn}, level=1
    )


def state_of(folder: Path) -> dict[str, str]:
    """Every file with its content, every folder and link."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "none"
        for path in sorted(folder.rglob("*"))
        if not path.is_socket()
    }


def test_a_configuration_that_names_the_original_opens_the_restored_one_and_nothing_else(
    server: Cluster, tmp_path: Path
) -> None:
    elsewhere = server.folder / "etc"
    elsewhere.mkdir()
    (elsewhere / "hba").write_text("local all all reject\n")
    included = elsewhere / "conf.d"
    included.mkdir()
    settings = {
        "data_directory": server.data,
        "hba_file": elsewhere / "hba",
        "ident_file": elsewhere / "ident",
        "external_pid_file": elsewhere / "pid",
        "log_directory": elsewhere / "log",
        "unix_socket_directories": server.folder,
        "archive_command": f"touch {elsewhere}/archived",
    }
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    lines += ["logging_collector = on", "archive_mode = on"]
    if MAJOR < 15:
        lines.append(f"stats_temp_directory = '{elsewhere}'")
    (included / "all.conf").write_text("\n".join(lines))
    installation = installation_of(server, tmp_path)
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(f"include_dir = '{included}'\n")
    installation.run("backup", "shop")
    server.stop()
    before = state_of(server.folder)
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        told = installation.run("restore", "shop/latest", "--to", f"file://{back.data}", "--start")
        assert told["recovery"]["state"] == "open"
        back.folder = back.data
        try:
            assert back.ask("SELECT count(*), sum(id) FROM goods") == [(1000, 500500)]
            assert back.ask("SHOW data_directory") == [(str(back.data),)]
            assert back.ask("SHOW listen_addresses") == [("",)]
            back.ask("DELETE FROM goods")
            back.ask("SELECT pg_switch_wal()")
            back.ask("CHECKPOINT")
        finally:
            back.stop("fast")
        assert state_of(server.folder) == before
    server.start()


def test_what_an_earlier_recovery_or_a_standby_left_in_the_configuration_has_no_say(
    server: Cluster, tmp_path: Path
) -> None:
    archive = Archive(server, tmp_path)
    archive.begin()
    evil = server.folder / "evil"
    included = server.folder / "conf.d"
    included.mkdir()
    (included / "recovery.conf").write_text(
        "recovery_target_xid = '5'\n"
        "recovery_target_inclusive = off\n"
        "recovery_target_action = 'shutdown'\n"
        "recovery_min_apply_delay = '1h'\n"
        "hot_standby = off\n"
        f"restore_command = 'touch {evil}; false'\n"
        f"recovery_end_command = 'touch {evil}'\n"
        f"archive_cleanup_command = 'touch {evil}'\n"
        f"primary_conninfo = '{server.dsn}'\n"
        "primary_slot_name = 'taken'\n"
    )
    server.configure(f"include_dir = '{included}'")
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write("RECOVERY_TARGET_XID = '6'\n")
        if MAJOR < 16:
            file.write(f"promote_trigger_file = '{server.folder}'\n")
    server.stop()
    server.start()
    archive.installation.run("backup", "shop")
    archive.mark(1)
    lsn = archive.mark(2)
    archive.mark(3)
    archive.switch()
    with archive.recovered("--target-lsn", lsn) as (back, told):
        assert (told["recovery"]["state"], points(back)) == ("paused", [1, 2])
    with archive.recovered() as (back, told):
        assert (told["recovery"]["state"], points(back)) == ("open", [])
    with folder_for_cluster() as folder:
        # By hand, without our options on its command line.
        copy = Cluster(folder)
        where = ("--to", f"file://{copy.data}", "--target-lsn", lsn, "--target-action", "promote")
        archive.installation.run("restore", "shop/latest", *where)
        copy.configure("hot_standby = on")
        copy.start()
        try:
            until(lambda: copy.ask("SELECT pg_is_in_recovery()") == [(False,)])
            assert points(copy) == [1, 2]
        finally:
            copy.stop("immediate")
    assert not evil.exists()


def test_words_that_would_open_another_folder_are_overruled(
    server: Cluster, tmp_path: Path
) -> None:
    installation = installation_of(server, tmp_path)
    installation.run("backup", "shop")
    server.stop()
    before = state_of(server.folder)
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        words = f"-D {server.data} -c data_directory={server.data}"
        installation.run(
            *("restore", "shop/latest", "--to", f"file://{back.data}"),
            *("--start", "--start-options", words),
        )
        back.folder = back.data
        try:
            assert back.ask("SHOW data_directory") == [(str(back.data),)]
        finally:
            back.stop("fast")
    assert state_of(server.folder) == before
    server.start()


def test_a_restored_server_runs_beside_the_living_one_on_the_same_port_and_takes_none_of_its_work(
    server: Cluster, tmp_path: Path
) -> None:
    server.ask("ALTER SYSTEM SET wal_level = logical")
    server.stop()
    server.start()
    server.ask("CREATE PUBLICATION p FOR TABLE goods")
    server.ask("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    server.ask("CREATE DATABASE taker")
    server.ask("CREATE TABLE goods (id int)", dbname="taker")
    server.ask(
        f"CREATE SUBSCRIPTION takes CONNECTION '{server.dsn}' PUBLICATION p"
        " WITH (create_slot = false, slot_name = 's', copy_data = false)",
        dbname="taker",
    )
    until(lambda: server.ask("SELECT active FROM pg_replication_slots") == [(True,)])
    installation = installation_of(server, tmp_path)
    installation.run("backup", "shop")
    taken = server.ask("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'")
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        installation.run("restore", "shop/latest", "--to", f"file://{back.data}", "--start")
        back.folder = back.data
        try:
            assert back.ask("SELECT count(*) FROM goods") == [(1000,)]
            workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical rep%'"
            assert back.ask(workers) == [(0,)]
        finally:
            back.stop("fast")
    assert server.ask("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'") == taken


def test_a_configuration_that_no_server_takes_is_told_before_one_is_started(
    server: Cluster, tmp_path: Path
) -> None:
    installation = installation_of(server, tmp_path)
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("include '/nowhere/at/all.conf'\n")
    installation.run("backup", "shop")
    with folder_for_cluster() as folder:
        data = folder / "data"
        told = installation.run(
            "restore", "shop/latest", "--to", f"file://{data}", "--start", code=32
        )
        assert "/nowhere/at/all.conf" in told["error"]
        assert not Path(f"{data}-start.log").exists()
        bad = ("--start", "--start-options", "-c 'x")
        installation.run("restore", "shop/latest", "--to", f"file://{folder}/other", *bad, code=10)
        assert not (folder / "other").exists()


def test_what_a_server_does_by_hand_that_start_overrules_is_told_after_a_restore(
    server: Cluster, tmp_path: Path
) -> None:
    (server.data / "conf.d").mkdir()
    (server.data / "conf.d/place.conf").write_text(f"data_directory = '{server.data}'\n")
    server.configure("include_dir = 'conf.d'\narchive_mode = on\narchive_command = 'true'")
    server.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
    server.ask("ALTER SYSTEM SET recovery_target_name = 'noon'")
    server.stop()
    server.start()
    installation = installation_of(server, tmp_path)
    installation.run("backup", "shop")
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        told = installation.run("restore", "shop/latest", "--to", f"file://{folder}/plain")
        notes = " | ".join(told["notes"])
        assert f"opens '{server.data}'" in notes
        assert "archive_mode = on" in notes
        assert "recovery_target_name = 'noon'" in notes
        told = installation.run("restore", "shop/latest", "--to", f"file://{back.data}", "--start")
        (note,) = told["notes"]
        assert f"opens '{server.data}'" in note
        back.folder = back.data
        try:
            # The server waits for no standby of the original.
            back.ask("SET statement_timeout = '30s'; DELETE FROM goods")
            assert back.ask("SHOW data_directory") == [(str(back.data),)]
        finally:
            back.stop("fast")
