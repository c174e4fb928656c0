"""What the dump program is asked for."""

from __future__ import annotations

import pytest

from holdfast.sources.mysql.dump.dump_command import DumpCommand
from holdfast.sources.mysql.dump.programs import Program


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
