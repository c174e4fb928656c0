"""A server that cannot archive its WAL is reported before its disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.sources.postgres.files import archiver, wal
from holdfast.sources.postgres.server.login import Login
from tests.support.archive import Archive
from tests.support.clusters import cluster, standby_of
from tests.support.waiting import until


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with cluster() as server:
        yield Archive(server, tmp_path)


def checked(archive: Archive, *, code: int = 0) -> dict[str, Any]:
    """What `check` finds about the archiver."""
    (job,) = archive.installation.run("check", "shop", code=code)["jobs"]
    found: dict[str, Any] = next(each for each in job["findings"] if each["subject"] == "archiver")
    return found


def status(archive: Archive, *, code: int = 0) -> dict[str, Any]:
    job: dict[str, Any] = archive.installation.run("status", "shop", code=code)["jobs"][0]
    return job


def test_archiving_that_fails_is_told_by_check_and_status_until_it_works_again(
    archive: Archive,
) -> None:
    server = archive.server
    assert "archive_mode is off" in checked(archive)["detail"]
    server.configure("archive_mode = on\narchive_command = ''")
    server.stop()
    server.start()
    assert "no archive_command" in checked(archive, code=74)["problem"]
    server.ask("ALTER SYSTEM SET archive_command = 'true'")
    server.ask("SELECT pg_reload_conf()")
    server.ask("SELECT pg_switch_wal()")
    until(lambda: server.ask("SELECT archived_count > 0 FROM pg_stat_archiver") == [(True,)])
    assert "was archived at" in checked(archive)["detail"]
    assert status(archive)["archiver"]["problem"] is None
    server.ask("ALTER SYSTEM SET archive_command = 'false'")
    server.ask("SELECT pg_reload_conf()")
    server.ask("SELECT pg_logical_emit_message(true, 'x', 'y')")
    server.ask("SELECT pg_switch_wal()")
    until(lambda: server.ask("SELECT failed_count > 0 FROM pg_stat_archiver") == [(True,)])
    assert "every attempt to archive WAL since" in checked(archive, code=74)["problem"]
    told = status(archive, code=44)
    assert told["problem"] == told["archiver"]["problem"]
    # The counters were reset, and the next failure is reported again.
    server.ask("SELECT pg_stat_reset_shared('archiver')")
    until(lambda: server.ask("SELECT failed_count > 0 FROM pg_stat_archiver") == [(True,)])
    assert "every attempt to archive WAL has failed" in checked(archive, code=74)["problem"]
    server.ask("ALTER SYSTEM SET archive_command = 'true'")
    server.ask("SELECT pg_reload_conf()")
    until(lambda: server.ask("SELECT archived_count > 0 FROM pg_stat_archiver") == [(True,)])
    assert checked(archive)["problem"] == ""


def test_the_answer_without_the_driver_is_that_of_the_driver(archive: Archive) -> None:
    server = archive.server
    server.configure("archive_mode = on\narchive_command = 'false'")
    server.stop()
    server.start()
    server.ask("SELECT pg_switch_wal()")
    until(lambda: server.ask("SELECT failed_count > 0 FROM pg_stat_archiver") == [(True,)])
    server.ask("ALTER SYSTEM SET archive_command = 'true'")
    server.ask("SELECT pg_reload_conf()")
    until(lambda: server.ask("SELECT archived_count > 0 FROM pg_stat_archiver") == [(True,)])
    dsn = server.dsn
    by_driver = wal.archiver(Login.parse(dsn, password=None, application_name="test"))
    without = archiver.asked_on_socket(dsn, application_name="test")
    assert without is not None
    assert replace(without, now=by_driver.now) == by_driver
    server.ask("CREATE ROLE stranger LOGIN")
    server.ask("GRANT EXECUTE ON FUNCTION pg_control_system() TO stranger")
    own = Login.parse(dsn, password=None, application_name="test")
    stranger = own.with_settings(user="stranger")
    settings = {name: stranger.settings[name] for name in ("host", "user", "dbname")}
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    found = archiver.asked_on_socket(words, application_name="test")
    assert found is not None
    assert found == replace(wal.archiver(stranger), now=found.now)


def test_a_server_that_asks_for_a_password_logs_no_wrong_answer(archive: Archive) -> None:
    server = archive.server
    server.ask("CREATE ROLE monitor LOGIN PASSWORD 'secret'")
    hba = server.data / "pg_hba.conf"
    hba.write_text(f"local all monitor scram-sha-256\n{hba.read_text()}")
    server.stop()
    server.start()
    dsn = f"host={server.folder} user=monitor dbname=postgres"
    assert archiver.asked_on_socket(dsn, application_name="test") is None
    # The server's processes have logged all that they will.
    server.stop()
    assert "expected SASL response" not in server.log.read_text()
    server.start()


def test_a_standby_is_only_asked_for_what_it_archives_itself(
    archive: Archive, tmp_path: Path
) -> None:
    archive.server.configure("archive_mode = on\narchive_command = 'false'")
    archive.server.stop()
    archive.server.start()
    with standby_of(archive.server) as standby:
        folder = tmp_path / "standby"
        folder.mkdir()
        on_standby = Archive(standby, folder)
        assert "its primary does" in checked(on_standby)["detail"]
        standby.configure("archive_mode = always")
        standby.stop()
        standby.start()
        archive.server.ask("SELECT pg_logical_emit_message(true, 'x', 'y')")
        archive.server.ask("SELECT pg_switch_wal()")
        failed = "SELECT failed_count > 0 FROM pg_stat_archiver"
        until(lambda: standby.ask(failed) == [(True,)])
        assert "every attempt" in checked(on_standby, code=74)["problem"]


def test_a_login_without_rights_and_a_server_that_is_down_are_no_alarm_of_status(
    archive: Archive,
) -> None:
    server = archive.server
    server.ask("CREATE ROLE clerk LOGIN")
    server.ask("GRANT pg_read_all_settings TO clerk")
    archive.installation.job["source"]["dsn"] = server.dsn.replace("user=postgres", "user=clerk")
    assert status(archive)["archiver"]["mode"] == "off"
    server.stop()
    assert "unknown" in status(archive)["archiver"]
    server.start()
