"""Reading what the server's programs say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing
from holdfast.sources.mysql.dump.programs import described, find_backup, find_dump, find_unpacking
from holdfast.sources.mysql.server.version import ServerVersion


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
    with pytest.raises(ToolMissing, match="it says 'hello'"):
        described("/usr/bin/mysqldump", "hello\n")


def edition(kind: str, *release: int) -> ServerVersion:
    version = ".".join(str(number) for number in release)
    major, minor, *_ = release
    return ServerVersion(
        kind=kind, version=version, release=(major, minor), max_allowed_packet=1 << 24
    )


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, and programs in it that only say a version."""
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
        find_dump(edition("mysql", 9, 7, 4))
    assert "it is mariadb's" in failure.value.message
    assert "mysql-client" in failure.value.hint


@pytest.mark.parametrize(("server", "suits"), [((11, 8, 2), True), ((12, 0, 1), False)])
def test_a_dump_older_than_the_server_is_refused(
    says: Path, server: tuple[int, ...], *, suits: bool
) -> None:
    install(says, "mariadb-dump", "mariadb-dump from 11.8.6-MariaDB, client 10.19")
    if suits:
        assert find_dump(edition("mariadb", *server)).version == "11.8.6"
        return
    with pytest.raises(ToolMissing, match=r"of version 12\.0\.1 .* is of version 11\.8\.6"):
        find_dump(edition("mariadb", *server))


@pytest.mark.parametrize("server", [(11, 4, 1), (12, 0, 1)])
def test_files_are_only_copied_by_a_program_of_the_very_release(
    says: Path, server: tuple[int, ...]
) -> None:
    install(says, "mariadb-backup", "mariadb-backup based on MariaDB server 11.8.6-MariaDB")
    with pytest.raises(ToolMissing, match="cannot copy the files"):
        find_backup(edition("mariadb", *server))
    assert find_backup(edition("mariadb", 11, 8, 1)).version == "11.8.6"


def test_files_are_only_prepared_by_a_program_of_their_release(says: Path) -> None:
    install(says, "mariadb-backup", "mariadb-backup based on MariaDB server 11.8.6-MariaDB")
    with pytest.raises(ToolMissing, match="cannot run 'mbstream'"):
        find_unpacking("11.8.6")
    install(says, "mbstream", "")
    assert find_unpacking("11.8.4")[1] == str(says / "mbstream")
    with pytest.raises(ToolMissing, match=r"files of MariaDB 10\.11\.19"):
        find_unpacking("10.11.19")
