"""The program as a whole: options, help, and how every error ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.cli.program import COMMANDS
from holdfast.model.errors import DatabaseUnreachable
from tests.support.command_line import CommandLine


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so tests give up root's rights for a moment."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_an_unknown_job_ends_with_its_code_and_the_nearest_name(cli: CommandLine) -> None:
    answer = cli.holdfast("backup", "shopp")
    assert answer.exit_code == 11
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        "error: cannot find job 'shopp': it is not configured",
        "hint: did you mean 'shop'?",
    ]


def test_with_json_an_error_is_a_document_on_stdout(cli: CommandLine) -> None:
    answer = cli.holdfast("status", "shopp", "--json")
    assert answer.exit_code == 11
    assert answer.document == {
        "schema": "holdfast.error/1",
        "error": "cannot find job 'shopp': it is not configured",
        "hint": "did you mean 'shop'?",
        "exit_code": 11,
        "notes": [],
    }


def test_a_misspelled_configuration_is_told_with_file_line_and_key(cli: CommandLine) -> None:
    cli.config.write_text(cli.config.read_text().replace("source:", "sorce:"))
    answer = cli.holdfast("list")
    assert answer.exit_code == 10
    assert answer.stderr.splitlines() == [
        f"error: cannot use configuration '{cli.config}': line 6: jobs.shop.sorce: unknown key",
        "hint: did you mean 'source'?",
    ]


def test_a_missing_configuration_says_how_to_name_another(cli: CommandLine) -> None:
    answer = cli.bare("--config", "/nowhere/holdfast.yaml", "list")
    assert answer.exit_code == 10
    assert "cannot read configuration '/nowhere/holdfast.yaml'" in answer.stderr
    assert "hint: name another file with --config FILE" in answer.stderr


@pytest.mark.parametrize("command", [["list"], ["config", "check", "holdfast.yaml"]], ids=" ".join)
def test_a_configuration_that_may_not_be_read_says_who_may(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    cli.config.chmod(0)
    monkeypatch.chdir(cli.folder)
    with as_nobody():
        answer = cli.bare("--config", "holdfast.yaml", *command)
    assert answer.exit_code == 10
    assert answer.stderr.splitlines() == [
        "error: cannot read configuration 'holdfast.yaml': Permission denied",
        "hint: run holdfast as the owner of the file: sudo -u holdfast holdfast ...",
    ]


def test_an_error_of_the_database_keeps_its_own_code(cli: CommandLine) -> None:
    cli.source.refuse_with = DatabaseUnreachable(
        "cannot reach database 'shop': connection refused", hint="is the server running?"
    )
    answer = cli.holdfast("backup", "shop")
    assert answer.exit_code == 20
    assert "error: cannot reach database 'shop': connection refused\n" in answer.stderr
    assert "hint: is the server running?\n" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_bug_ends_with_1_and_shows_where_only_when_asked(cli: CommandLine) -> None:
    cli.source.plan = lambda: 1 / 0  # type: ignore[assignment,method-assign,return-value]  # a broken driver
    answer = cli.holdfast("plan", "shop")
    assert answer.exit_code == 1
    assert "error: cannot continue: ZeroDivisionError: division by zero\n" in answer.stderr
    assert "Traceback" not in answer.stderr
    verbose = cli.bare("-v", "--config", str(cli.config), "plan", "shop")
    assert "Traceback" in verbose.stderr


def test_a_wrong_command_line_ends_with_2_and_shows_the_usage(cli: CommandLine) -> None:
    answer = cli.holdfast("backup")
    assert answer.exit_code == 2
    assert "Missing argument" in answer.stderr


# An escape sequence, the same in one character (C1), and one that turns the direction of writing.
@pytest.mark.parametrize("hostile", ["\x1b[31m", "\x9b31m", "\u202e"])
@pytest.mark.parametrize("options", [(), ("-v",)])
def test_control_characters_of_an_error_do_not_reach_the_terminal(
    cli: CommandLine, hostile: str, options: tuple[str, ...]
) -> None:
    answer = cli.bare(*options, "--config", str(cli.config), "backup", f"{hostile}shop")
    assert hostile[0] not in answer.stderr
    assert hostile.encode("unicode_escape").decode() in answer.stderr
    assert ("Traceback" in answer.stderr) == bool(options)


@pytest.mark.parametrize("hostile", ["\x1b[31m", "\x9b31m", "\u202e", "\U000e0001"])
def test_a_document_has_them_escaped_and_means_the_same(cli: CommandLine, hostile: str) -> None:
    answer = cli.holdfast("backup", f"{hostile}shöp", "--json")
    assert hostile[0] not in answer.stdout
    assert f"{hostile}shöp" in answer.document["error"]
    assert "shöp" in answer.stdout


def test_a_program_that_cannot_be_loaded_says_why_without_them(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.cli.invocation.run", refuse)
    answer = cli.bare("-v")
    assert (answer.exit_code, "\x9b" in answer.stderr) == (1, False)
    assert answer.stderr.endswith("error: cannot run holdfast: ImportError: \\x9b31m\n")


def refuse(_arguments: list[str]) -> int:
    raise ImportError("\x9b31m")


def test_the_version_is_said(cli: CommandLine) -> None:
    answer = cli.bare("--version")
    assert answer.exit_code == 0
    assert answer.stdout.startswith("holdfast 0.")


@pytest.mark.parametrize(
    "command",
    [[name] for name, where in COMMANDS.items() if not where.endswith(":commands")]
    + [["config", "check"], ["wal", "push"]],
    ids=" ".join,
)
def test_the_help_of_every_command_shows_how_it_is_used(
    cli: CommandLine, command: list[str]
) -> None:
    answer = cli.bare(*command, "--help")
    assert answer.exit_code == 0
    assert f"holdfast {' '.join(command)}" in answer.stdout.split("Usage:")[1].split("\n", 1)[1]
    assert "--json" in answer.stdout


def test_the_help_of_the_program_lists_its_commands_and_the_exit_codes(cli: CommandLine) -> None:
    answer = cli.bare("--help")
    assert all(name in answer.stdout for name in COMMANDS)
    assert "docs/errors.md" in answer.stdout


def test_help_does_not_wait_for_what_only_a_command_needs() -> None:
    program = (
        "import atexit, sys; sys.argv = ['holdfast', '--help']\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "from holdfast.cli.main import main; main()\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert {f"holdfast.cli.{name}" for name in COMMANDS} <= set(loaded)
    assert not {"psycopg", "pymysql", "pydantic", "structlog"} & set(loaded)


@pytest.mark.parametrize("asked", [["--version"], ["list", "--help"], ["restore", "--help"]])
def test_a_command_does_not_wait_for_another_one_to_load(asked: list[str]) -> None:
    program = (
        f"import atexit, sys; sys.argv = ['holdfast', *{asked}]\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "from holdfast.cli.main import main; main()\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert {f"holdfast.cli.{name}" for name in COMMANDS} & set(loaded) == {
        f"holdfast.cli.{name}" for name in asked if name in COMMANDS
    }
    if asked == ["--version"]:
        assert not {"rich.console", "holdfast.model.backup", "holdfast.catalog"} & set(loaded)


def test_a_command_that_nobody_knows_is_told_with_what_it_may_have_meant(cli: CommandLine) -> None:
    answer = cli.bare("bakup", "shop")
    assert answer.exit_code == 2
    assert "'backup'" in answer.stderr
