"""Every `--json` document is valid, versioned, and described field by field in docs/json.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/json.md").read_text()
# Their keys are names of limits, of tools and of facts of a source.
FREE_FORM = {"allowed", "facts", "manifest", "states"}

CALLS = [
    ("plan", ["plan", "shop"]),
    ("backup", ["backup", "shop"]),
    ("list", ["list"]),
    ("show", ["show", "shop/latest"]),
    ("verify", ["verify", "shop/latest"]),
    ("restore", ["restore", "shop/latest", "--to", "fake://target"]),
    ("verify", ["verify", "shop/latest", "--level", "quick"]),
    ("verify-job", ["verify", "shop"]),
    ("verify-ledger", ["verify", "shop", "--level", "ledger", "--budget", "1m"]),
    ("du", ["du"]),
    ("windows", ["windows", "shop"]),
    ("prune", ["prune", "--dry-run"]),
    ("repair", ["repair", "--dry-run"]),
    ("check", ["check"]),
    ("status", ["status"]),
    ("fleet", ["fleet"]),
    ("drill-report", ["drill", "shop"]),
    ("drills", ["drills", "shop"]),
]


def keys_of(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from keys_of(item)
    if isinstance(value, dict):
        for key, inside in value.items():
            yield key
            if key not in FREE_FORM:
                yield from keys_of(inside)


def described(schema: str) -> set[str]:
    """The words in backticks of the schema's own section and of the objects that all share."""
    sections = DOCUMENT.split("\n## ")
    shared = [
        each for each in sections if each.startswith(("A backup", "A damaged backup", "A drill"))
    ]
    (own,) = [each for each in sections if each.startswith(f"{schema}\n")]
    return {word for section in (own, *shared) for word in re.findall(r"`([^`]+)`", section)}


@pytest.mark.parametrize(
    ("command", "arguments"), CALLS, ids=["-".join(arguments) for _, arguments in CALLS]
)
def test_every_field_is_described(cli: CommandLine, command: str, arguments: list[str]) -> None:
    cli.holdfast("backup", "shop")
    if command in ("list", "show", "status", "fleet", "drills"):
        assert cli.holdfast("drill", "shop").exit_code == 0
    answer = cli.holdfast(*arguments, "--json")
    assert answer.exit_code == 0
    document = answer.document
    assert document.pop("schema") == f"holdfast.{command}/1"
    assert set(keys_of(document)) <= described(f"holdfast.{command}/1")


def test_the_check_of_a_configuration_is_described(cli: CommandLine) -> None:
    document = cli.bare("config", "check", str(cli.config), "--json").document
    assert document.pop("schema") == "holdfast.config-check/1"
    assert document["jobs"] == ["shop"]
    assert set(keys_of(document)) <= described("holdfast.config-check/1")


def test_an_error_is_described(cli: CommandLine) -> None:
    document = cli.holdfast("show", "shop/latest", "--json").document
    assert document.pop("schema") == "holdfast.error/1"
    assert set(document) == {"error", "hint", "exit_code", "notes"} <= described("holdfast.error/1")
    assert document["exit_code"] == 12


def test_a_listed_backup_carries_its_consistency_and_its_size(cli: CommandLine) -> None:
    made = cli.holdfast("backup", "shop", "--json").document
    (listed,) = cli.holdfast("list", "--json").document["backups"]
    assert (listed.pop("repository"), listed.pop("last_drill")) == ("main", None)
    assert listed.pop("suspicion") is None
    assert made["backups"] == [listed]
    assert listed.items() <= made.items()
    assert (listed["consistency"], listed["parts"], listed["rows"]) == ("snapshot", 2, 3)


def test_damage_is_told_with_the_code_in_the_document_too(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    cli.stored("items.copy.zst").unlink()
    answer = cli.holdfast("verify", "shop/latest", "--json")
    assert answer.exit_code == answer.document["exit_code"] == 31
    assert [bad["part"] for bad in answer.document["bad"]] == ["data/public.items.copy"]
