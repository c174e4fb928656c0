"""A status keeps the last error of a command, and lists the backups that are there."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.model.errors import DatabaseUnreachable
from tests.support.command_line import CommandLine
from tests.unit.cli.test_fleet import Hosts


@pytest.fixture
def hosts(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    return Hosts(cli, monkeypatch)


def test_an_error_is_told_with_its_hint_until_the_next_one(hosts: Hosts) -> None:
    def told() -> dict[str, Any]:
        (job,) = cli.holdfast("fleet", "--json").document["jobs"]
        status: dict[str, Any] = job["status"]
        return status

    cli = hosts.on("db1", "shop")
    cli.source.refuse_with = DatabaseUnreachable("cannot connect to 'db'", hint="start it")
    assert cli.holdfast("backup", "shop").exit_code == 20
    assert told()["failures"] == {}
    cli.source.refuse_with = None
    for _ in range(2):
        assert cli.holdfast("backup", "shop").exit_code == 0
    failed = told()["failures"]["backup"]
    assert (failed["error"], failed["hint"]) == ("cannot connect to 'db'", "start it")
    cli.source.refuse_with = DatabaseUnreachable("cannot connect to 'db'", hint="again")
    cli.holdfast("backup", "shop")
    assert told()["failures"] == {}
    assert told()["last"]["backup"]["hint"] == "again"


def test_pruned_backups_are_not_listed(hosts: Hosts) -> None:
    def held() -> list[str]:
        (job,) = cli.holdfast("fleet", "--json").document["jobs"]
        return [each["backup"] for each in job["status"]["holdings"]["backups"]]

    cli = hosts.on("db1", "shop")
    for _ in range(2):
        cli.holdfast("backup", "shop")
    assert len(held()) == 2
    cli.holdfast("prune", "shop")
    kept = [each["backup"] for each in cli.holdfast("list", "--json").document["backups"]]
    assert held() == kept
    assert len(kept) == 1


def test_a_secret_at_the_end_of_what_is_told_is_not_cut_into_an_unknown_one(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    address = "postgresql://bob:hunter2hunter2hunter2@db1/shop"
    long = f"cannot connect to {'the server ' * 41}{address}"
    assert long.index("hunter2") < 500 < long.index("@")
    cli.source.refuse_with = DatabaseUnreachable(long, hint=long)
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("fleet", "--json")
    assert "the server the server" in answer.stdout
    assert "hunter2" not in answer.stdout
