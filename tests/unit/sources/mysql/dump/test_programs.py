"""Versions and messages of the server's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing
from holdfast.sources.mysql.dump.programs import (
    DumpCommand,
    Program,
    described,
    find_backup,
    find_dump,
    find_unpacking,
    prepared_login,
)
from holdfast.sources.mysql.server.connection import Address, login_options
from holdfast.sources.mysql.server.session import ServerVersion


@pytest.mark.parametrize(
    ("said", "kind", "version"),
    [
        (
            "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)",
            "mariadb",
            "10.11.19",
        ),
        (
            "mysqldump from 11.8.6-MariaDB, client 10.19 for debian-linux-gnu (x86_64)",
            "mariadb",
            "11.8.6",
        ),
        (
            "mariadb-backup based on MariaDB server 11.8.6-MariaDB debian-linux-gnu (x86_64)",
            "mariadb",
            "11.8.6",
        ),
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "mysql", "9.7.4"),
    ],
)
def test_kind_and_version_are_read_from_every_form(said: str, kind: str, version: str) -> None:
    program = described("/usr/bin/mysqldump", said)
    assert (program.name, program.kind, program.version) == ("mysqldump", kind, version)


def test_a_program_that_says_no_version_is_not_trusted() -> None:
    with pytest.raises(ToolMissing, match="--version prints 'hello'"):
        described("/usr/bin/mysqldump", "hello\n")


def version(kind: str, *release: int) -> ServerVersion:
    number = ".".join(str(each) for each in release)
    major, minor, *_ = release
    return ServerVersion(
        kind=kind, number=number, release=(major, minor), max_allowed_packet=1 << 24
    )


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the whole PATH, with programs that only print a version."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, text: str) -> None:
    program = folder / name
    # As mariadb-backup does; the others print it to standard output.
    where = ">&2" if name == "mariadb-backup" else ""
    program.write_text(f"#!/bin/sh\necho '{text}' {where}\n")
    program.chmod(0o755)


def test_a_dump_of_the_other_kind_of_server_is_refused(says: Path) -> None:
    install(says, "mysqldump", "mysqldump from 11.8.6-MariaDB, client 10.19")
    with pytest.raises(ToolMissing) as failure:
        find_dump(version("mysql", 9, 7, 4))
    assert "it is a program of mariadb" in failure.value.message
    assert "mysql-client" in failure.value.hint


@pytest.mark.parametrize(("server", "suits"), [((11, 8, 2), True), ((12, 0, 1), False)])
def test_a_dump_older_than_the_server_is_refused(
    says: Path, server: tuple[int, ...], *, suits: bool
) -> None:
    install(says, "mariadb-dump", "mariadb-dump from 11.8.6-MariaDB, client 10.19")
    if suits:
        assert find_dump(version("mariadb", *server)).version == "11.8.6"
        return
    with pytest.raises(ToolMissing, match=r"of version 12\.0\.1 .* is of version 11\.8\.6"):
        find_dump(version("mariadb", *server))


@pytest.mark.parametrize("server", [(11, 4, 1), (12, 0, 1)])
def test_files_are_only_copied_by_a_program_of_the_very_release(
    says: Path, server: tuple[int, ...]
) -> None:
    install(says, "mariadb-backup", "mariadb-backup based on MariaDB server 11.8.6-MariaDB")
    with pytest.raises(ToolMissing, match="cannot copy the files"):
        find_backup(version("mariadb", *server))
    assert find_backup(version("mariadb", 11, 8, 1)).version == "11.8.6"


def test_files_are_only_prepared_by_a_program_of_their_release(says: Path) -> None:
    install(says, "mariadb-backup", "mariadb-backup based on MariaDB server 11.8.6-MariaDB")
    with pytest.raises(ToolMissing, match="cannot run 'mbstream'"):
        find_unpacking("11.8.6")
    install(says, "mbstream", "")
    assert find_unpacking("11.8.4")[1] == str(says / "mbstream")
    with pytest.raises(ToolMissing, match=r"files of MariaDB 10\.11\.19"):
        find_unpacking("10.11.19")


def command(kind: str = "mariadb", database: str = "shop") -> DumpCommand:
    program = Program(name="d", path="/usr/bin/d", kind=kind, version="11.8.6")
    return DumpCommand(program=program, database=database)


def test_the_login_comes_first_and_is_a_descriptor() -> None:
    assert command().whole(login=7)[:2] == ["/usr/bin/d", "--defaults-file=/dev/fd/7"]


def test_names_cannot_be_taken_for_options() -> None:
    argv = command(database="--all-databases").rows_of("--help", login=3, transactional=True)
    assert argv[-3:] == ["--", "--all-databases", "--help"]


@pytest.mark.parametrize(
    ("transactional", "how", "other"),
    [(True, "--single-transaction", "--lock-tables"), (False, "--lock-tables", "--single-t")],
)
def test_a_table_is_read_in_a_transaction_or_locked(
    transactional: bool, how: str, other: str
) -> None:
    argv = command().rows_of("t", login=3, transactional=transactional)
    assert how in argv
    assert not [each for each in argv if each.startswith(other)]
    assert {"--no-create-info", "--skip-triggers"} <= set(argv)


def test_a_whole_dump_brings_all_programs_along() -> None:
    argv = command().whole(login=3, history=True)
    assert {"--routines", "--events", "--triggers", "--dump-history"} <= set(argv)
    assert "--dump-history" not in command().whole(login=3)


def test_a_dump_from_mysql_says_nothing_about_replication() -> None:
    assert "--set-gtid-purged=OFF" in command("mysql").whole(login=3)
    assert "--set-gtid-purged=OFF" not in command("mariadb").whole(login=3)


LOCAL = Address.parse("mysql://u@localhost/d?unix_socket=/run/s", password="p")
REMOTE = Address.parse("mysql://u@db.example/d", password="p")


def test_mysqldump_has_an_option_for_it() -> None:
    assert prepared_login(LOCAL, "mysql", "SET a = 1") == {"init-command": "SET a = 1"}


def test_programs_of_mariadb_take_it_in_the_place_of_a_host() -> None:
    options = login_options(REMOTE, more=prepared_login(REMOTE, "mariadb", "SET a = 1, b = ''"))
    assert "host=\"host=db.example;init-command={SET a = 1, b = ''}\"" in options.splitlines()
    assert 'host="db.example"' not in options
    local = prepared_login(LOCAL, "mariadb", "SET a = 1")
    assert local == {"host": "host=localhost;init-command={SET a = 1}"}
