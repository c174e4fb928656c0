"""A restored cluster in a drill recovers as far as is wanted, and leaves its original alone."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from holdfast.model.drill import Outcome, ProofRow
from holdfast.model.errors import DrillFailed, HoldfastError, TargetOutOfReach, VerifyFailed
from holdfast.ports.drill import DrillRoom
from holdfast.sources.postgres.drill.physical import WalSupply
from tests.support.archive import Archive
from tests.support.cluster_drills import (
    POINTS,
    ask,
    contents,
    drilled,
    drilling,
    server_state,
)
from tests.support.clusters import BINARIES, Cluster, cluster, folder_for_cluster, run, started
from tests.support.drill_rooms import Drilled, is_unused, processes_in, restored, stored
from tests.support.waiting import until

MAJOR = int(BINARIES.parent.name)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with cluster() as server:
        made = Archive(server, tmp_path)
        made.begin()
        server.ask("CREATE TABLE goods (id int PRIMARY KEY, note text)")
        server.ask("INSERT INTO goods SELECT g, md5(g::text) FROM generate_series(1, 5000) g")
        yield made


def test_a_drill_replays_all_that_is_archived_and_says_how_far_it_came(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.mark(2)
    ((last,),) = archive.server.ask("SELECT max(at) FROM points")
    archive.switch()
    with drilling(archive) as (drill, _):
        found = drilled(drill, archive)
        assert (found.findings, found.bad) == ([], [])
        assert ask(drill, POINTS) == "1,2"
        assert ask(drill, "SELECT sum(id) FROM goods") == str(5000 * 5001 // 2)
        reached = drill.reached()
        assert reached is not None
        assert isinstance(last, datetime)
        assert abs((reached - last).total_seconds()) < 5
        assert found.row("amcheck of 'postgres'").outcome is Outcome.PASSED
        assert found.row("page checksums").found == "0 wrong"
        assert drill.version.split(".")[0] == str(MAJOR)


def test_a_drill_to_a_time_ends_there(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    wanted = datetime.fromisoformat(archive.time()).astimezone(UTC)
    archive.mark(2)
    archive.switch()
    with drilling(archive, until=wanted) as (drill, _):
        assert drilled(drill, archive).bad == []
        assert ask(drill, POINTS) == "1"
        reached = drill.reached()
        assert reached is not None
        assert reached <= wanted


SERVERS_OWN = {
    *("autovacuum launcher", "autovacuum worker", "background writer", "checkpointer"),
    *("client backend", "io worker", "startup", "walwriter"),
}


def test_a_cluster_without_archived_wal_is_drilled_as_of_its_backup(tmp_path: Path) -> None:
    with cluster() as server:
        server.ask("CREATE TABLE points AS SELECT 7 AS id")
        archive = Archive(server, tmp_path)
        # A host of drills lacks libraries that every session of the original loads.
        archive.installation.job["source"]["dsn"] += " options='-c session_preload_libraries='"
        server.ask("ALTER SYSTEM SET shared_preload_libraries = 'pg_cron, lacking'")
        every = "session_preload_libraries = 'lacking', 'auto_explain'"
        server.ask(f"ALTER DATABASE postgres SET {every}")
        archive.installation.run("backup", "shop")
        with drilling(archive) as (drill, _):
            found = drilled(drill, archive)
            assert found.bad == []
            assert (ask(drill, POINTS), drill.reached() is None) == ("7", False)
            at_work = ask(drill, "SELECT string_agg(backend_type, ',') FROM pg_stat_activity") or ""
        # No worker of an extension, and none of replication.
        assert set(at_work.split(",")) <= SERVERS_OWN
        row = found.row("libraries")
        assert row.outcome is Outcome.SKIPPED
        assert row.detail.startswith("not loaded, as a drill needs none of them: auto_explain, ")
        assert "this host lacks: lacking" in row.detail


def test_a_cluster_that_admits_no_superuser_fails_at_once_and_says_why(tmp_path: Path) -> None:
    with cluster() as server:
        server.ask("CREATE ROLE other SUPERUSER LOGIN")
        archive = Archive(server, tmp_path)
        archive.installation.job["source"]["dsn"] += " user=other"
        server.ask("ALTER ROLE postgres NOLOGIN")
        archive.installation.run("backup", "shop")
        with (
            drilling(archive) as (drill, _),
            pytest.raises(DrillFailed, match=r"admits no superuser.*not permitted to log in"),
        ):
            drilled(drill, archive)


def test_missing_wal_is_named_before_anything_is_restored(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    missing = archive.switch()
    archive.mark(2)
    archive.switch()
    archive.remove(missing)
    with drilling(archive) as (drill, place):
        with pytest.raises(TargetOutOfReach, match=missing):
            drilled(drill, archive)
        assert is_unused(place)


def test_a_damaged_segment_of_wal_fails_the_recovery_by_its_name(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    name = archive.switch()
    (segment,) = (
        path
        for path in archive.installation.repository.glob(f"shop.wal/*/*/{name.lower()}/*")
        if path.name != "manifest.json"
    )
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    with drilling(archive) as (drill, _), pytest.raises(VerifyFailed) as caught:
        drilled(drill, archive)
    assert name.lower() in caught.value.message.lower()


def test_a_time_that_the_wal_does_not_reach_is_told(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.switch()
    wanted = datetime.fromisoformat(archive.time()).astimezone(UTC)
    with (
        drilling(archive, until=wanted) as (drill, _),
        pytest.raises(TargetOutOfReach, match="ends before"),
    ):
        drilled(drill, archive)


@contextmanager
def space(archive: Archive, name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hf-space-"))
    statement = f"CREATE TABLESPACE {name} LOCATION '{folder}'"
    archive.server.ask(statement)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def hostile(archive: Archive, evil: Path) -> None:
    """Configure the original so that a copy that obeys would touch it, or the host.

    Its files say so; the running server itself is not told.
    """
    server = archive.server
    server.ask("SELECT pg_create_physical_replication_slot('taken', true)")
    server.configure(
        f"shared_preload_libraries = 'no_such_library'\n"
        f"session_preload_libraries = 'no_such_library'\n"
        f"archive_command = 'touch {evil}'\n"
        f"archive_cleanup_command = 'touch {evil}'\n"
        f"restore_command = 'touch {evil}; false'\n"
        f"recovery_end_command = 'touch {evil}'\n"
        f"primary_conninfo = '{server.dsn}'\n"
        f"primary_slot_name = 'taken'\n"
        f"data_directory = '{server.data}'\n"
        f"external_pid_file = '{evil}'\n"
        f"listen_addresses = '*'\n"
        f"unix_socket_directories = '{server.folder}'\n"
        f"log_directory = '{server.folder}'\nlogging_collector = on\nlog_filename = 'evil.log'"
    )
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"archive_mode = 'always'\narchive_command = 'touch {evil}'\n")
    if MAJOR >= 17:
        server.ask("CREATE TABLE logins (at timestamptz)")
        server.ask(
            "CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql"
            " AS 'BEGIN INSERT INTO logins VALUES (now()); END'"
        )


def test_the_original_beside_it_is_as_before_whatever_its_configuration_says(
    archive: Archive, tmp_path: Path
) -> None:
    server, evil = archive.server, tmp_path / "evil"
    with space(archive, "fast") as fast:
        server.ask("CREATE TABLE far TABLESPACE fast AS SELECT generate_series(1, 100) AS id")
        hostile(archive, evil)
        archive.installation.run("backup", "shop")
        archive.mark(1)
        archive.switch()
        with space(archive, "late") as late:
            server.ask("CREATE TABLE later TABLESPACE late AS SELECT generate_series(1, 50) AS id")
            server.ask("CHECKPOINT")
            archive.switch()
            kept = {"names": archive.names(), "files": contents(archive.installation.repository)}
            before, spaces = server_state(server), contents(fast, late)
            with drilling(archive) as (drill, place):
                assert drilled(drill, archive).bad == []
                assert ask(drill, "SELECT count(*) FROM far") == "100"
                assert ask(drill, "SELECT count(*) FROM later") == "50"
                assert ask(drill, "SELECT current_setting('listen_addresses')") == ""
                assert ask(drill, "SELECT current_setting('archive_mode')") == "off"
                assert ask(drill, "SELECT count(*) FROM pg_replication_slots") == "0"
                where = "SELECT string_agg(pg_tablespace_location(oid), ',') FROM pg_tablespace"
                places = (ask(drill, f"{where} WHERE spcname IN ('fast', 'late')") or "").split(",")
                assert len(places) == 2
                assert all(each.startswith(place.folder) for each in places)
                ident = "SELECT system_identifier FROM pg_control_system()"
                assert ask(drill, ident) == str(server.ask(ident)[0][0])
                assert server_state(server) == before
            assert server_state(server) == before
            assert contents(fast, late) == spaces
            assert kept == {
                "names": archive.names(),
                "files": contents(archive.installation.repository),
            }
            assert not evil.exists()
            assert not list(server.folder.rglob("evil.log"))
            server.ask("DROP TABLE later")
            server.ask("DROP TABLESPACE late")


def test_the_files_of_a_stopped_original_are_the_same_to_the_byte(
    archive: Archive, tmp_path: Path
) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.switch()
    archive.server.stop()
    before = contents(archive.server.folder)
    with drilling(archive) as (drill, _):
        assert drilled(drill, archive).bad == []
        assert contents(archive.server.folder) == before
    assert contents(archive.server.folder) == before
    archive.server.start()


def test_a_link_that_leads_out_of_the_room_keeps_the_server_from_starting(
    archive: Archive, tmp_path: Path
) -> None:
    archive.installation.run("backup", "shop")
    outside = tmp_path / "outside"
    outside.mkdir()

    def plant(place: DrillRoom) -> None:
        wal = Path(place.folder, "data", "pg_wal")
        wal.rename(outside / "pg_wal")
        wal.symlink_to(outside / "pg_wal")

    with drilling(archive) as (drill, place):
        before = partial(lambda _: plant(place))
        manifest, parts = stored(archive.installation.repository)
        with pytest.raises(DrillFailed, match=r"pg_wal.*outside"):
            restored(drill, manifest, parts, before_start=before)
        assert processes_in(place.folder) == []


def test_files_that_were_changed_after_the_restore_are_named_by_postgresql_itself(
    archive: Archive,
) -> None:
    # Otherwise the recovery would replace the pages by their images in the WAL.
    archive.server.ask("ALTER SYSTEM SET autovacuum = off")
    archive.server.ask("SELECT pg_reload_conf()")
    archive.server.ask("VACUUM FREEZE goods")
    archive.installation.run("backup", "shop")
    ((path,),) = archive.server.ask("SELECT pg_relation_filepath('goods')")
    ((index,),) = archive.server.ask("SELECT pg_relation_filepath('goods_pkey')")
    rows: list[ProofRow] = []

    with drilling(archive) as (drill, place):
        manifest, parts = stored(archive.installation.repository)
        data = Path(place.folder, "data")

        def damage(_: object) -> None:
            assert [each.outcome for each in drill.verify_files()] == [Outcome.PASSED]
            for each in (path, index):
                with (data / str(each)).open("r+b") as file:
                    file.seek(8192 + 4000)
                    content = file.read(8)
                    file.seek(8192 + 4000)
                    file.write(bytes(255 - byte for byte in content))
            rows.extend(drill.verify_files())

        restored(drill, manifest, parts, before_start=damage)
        assert [each.outcome for each in rows] == [Outcome.FAILED]
        assert str(path) in rows[0].detail
        found = Drilled(rows=list(drill.prove()))
        assert found.row("page checksums").outcome is Outcome.FAILED
        assert found.row("amcheck of index public.goods_pkey").outcome is Outcome.FAILED
        assert found.row("amcheck of table public.goods").outcome is Outcome.FAILED


def test_a_cluster_whose_superuser_has_another_name_is_asked_by_that_name(tmp_path: Path) -> None:
    with folder_for_cluster() as folder:
        server = Cluster(folder)
        server.make()
        with started(server):
            server.ask("CREATE ROLE other SUPERUSER LOGIN")
            server.ask("CREATE TABLE points AS SELECT 7 AS id")
            run(
                *("psql", "-h", str(folder), "-U", "other", "-d", "postgres", "-c"),
                'ALTER ROLE postgres RENAME TO "the Boss"',
            )
            archive = Archive(server, tmp_path)
            archive.installation.job["source"]["dsn"] = f"host={folder} user=other dbname=postgres"
            run("psql", "-h", str(folder), "-U", "other", "-d", "postgres", "-c", "CHECKPOINT")
            archive.installation.run("backup", "shop")
            with drilling(archive) as (drill, _):
                assert drilled(drill, archive).bad == []
                assert ask(drill, "SELECT current_user") == "the Boss"
                assert ask(drill, POINTS) == "7"
                assert "'the Boss'" in drill.connection


def test_an_incremental_backup_is_drilled_with_those_below_it(archive: Archive) -> None:
    if MAJOR < 17:
        pytest.skip("incremental backups came with PostgreSQL 17")
    archive.server.configure("summarize_wal = on")
    archive.server.stop()
    archive.server.start()
    archive.installation.job["source"] |= {"engine": "tools", "incremental": 3}
    archive.installation.run("backup", "shop")
    archive.server.ask("UPDATE goods SET note = 'new' WHERE id <= 10")
    archive.installation.run("backup", "shop")
    manifest, _ = stored(archive.installation.repository)
    assert manifest.parent
    with drilling(archive) as (drill, _):
        assert drilled(drill, archive).bad == []
        assert ask(drill, "SELECT count(*) FROM goods WHERE note = 'new'") == "10"


def test_an_abort_during_the_recovery_ends_it_at_once(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.switch()
    with drilling(archive) as (drill, place):
        asked, over = threading.Event(), threading.Event()

        def hang(*_: object) -> bool:
            asked.set()
            over.wait(60)
            return False

        drill._supply = WalSupply(plan=drill._supply.plan, fetching=lambda *_: hang)
        failures: list[HoldfastError] = []

        def work() -> None:
            try:
                drilled(drill, archive)
            except HoldfastError as error:
                failures.append(error)

        working = threading.Thread(target=work)
        working.start()
        until(asked.is_set)
        drill.abort()
        over.set()
        working.join(60)
        assert not working.is_alive()
        assert [type(each) for each in failures] == [DrillFailed]
        until(lambda: processes_in(place.folder) == [])


def test_what_the_server_fetches_by_is_nobody_elses_and_gone_afterwards(archive: Archive) -> None:
    archive.installation.run("backup", "shop")
    archive.switch()
    with drilling(archive) as (drill, place):
        drilled(drill, archive)
        assert [path.name for path in Path(place.sockets).glob("wal.sock")] == []
        for path in Path(place.folder).iterdir():
            assert path.lstat().st_uid == os.geteuid()
