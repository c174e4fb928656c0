"""`holdfast copy`, and commands on the copy."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine, flip_bit


@pytest.fixture
def two(cli: CommandLine) -> CommandLine:
    offsite = cli.folder / "offsite"
    offsite.mkdir()
    text = cli.config.read_text()
    line = f"  offsite: {{kind: local, path: {offsite}}}\njobs:\n"
    cli.config.write_text(text.replace("jobs:\n", line))
    assert cli.holdfast("backup", "shop").exit_code == 0
    return cli


def test_a_copy_can_be_listed_and_verified_where_it_is(two: CommandLine) -> None:
    answer = two.holdfast("copy", "shop", "--to", "offsite", "--json")
    assert answer.exit_code == 0
    document = answer.document
    assert (document["schema"], document["to"]) == ("holdfast.copy/1", "offsite")
    assert document["backups"][0]["sent"] > 0
    listed = two.holdfast("--repository", "offsite", "list", "--json").document["backups"]
    assert [each["backup"] for each in listed] == [document["backups"][0]["backup"]]
    flip_bit(next(two.repository.rglob("*.zst")))
    assert two.holdfast("--repository", "offsite", "verify", "shop/latest").exit_code == 0
    assert two.holdfast("verify", "shop/latest").exit_code == 31


def test_copies_are_checked_and_pruned_where_they_are(two: CommandLine) -> None:
    assert two.holdfast("--repository", "offsite", "check", "shop").exit_code == 0
    for _ in range(2):
        two.holdfast("backup", "shop")
    two.holdfast("copy", "shop", "--to", "offsite")
    verdicts = two.holdfast("--repository", "offsite", "prune", "--json").document["jobs"][0]
    assert [each["keep"] for each in verdicts["verdicts"]] == [True, False, False]
    assert len(two.holdfast("--repository", "offsite", "list", "--json").document["backups"]) == 1
    assert len(two.holdfast("list", "shop", "--json").document["backups"]) == 3


def test_a_second_copy_says_that_it_was_there(two: CommandLine) -> None:
    two.holdfast("copy", "shop", "--to", "offsite")
    assert "already there" in two.holdfast("copy", "shop", "--to", "offsite").stdout


def test_a_damaged_backup_is_not_copied_and_gives_the_code_of_it(two: CommandLine) -> None:
    flip_bit(next(two.repository.rglob("*.zst")))
    answer = two.holdfast("copy", "shop", "--to", "offsite")
    assert answer.exit_code == 31
    assert "not copied: cannot copy" in answer.stdout


def test_a_repository_that_is_not_configured_is_told_with_the_nearest(two: CommandLine) -> None:
    answer = two.holdfast("copy", "shop", "--to", "offsight")
    assert answer.exit_code == 10
    assert "hint: did you mean 'offsite'?" in answer.stderr


def test_a_copy_to_where_the_backups_are_is_refused(two: CommandLine) -> None:
    answer = two.holdfast("copy", "shop", "--to", "main")
    assert answer.exit_code == 10
    assert "are in 'main' already" in answer.stderr
