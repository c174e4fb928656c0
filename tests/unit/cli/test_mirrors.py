"""A job with mirrors, on the command line."""

from __future__ import annotations

import shutil

import pytest

from tests.support.command_line import CommandLine
from tests.unit.cli.test_killed_prune import killed

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def configure(cli: CommandLine, *, mirrors: str = "mirrors: [offsite]", offsite: str = "") -> None:
    text = cli.config.read_text()
    line = f"  offsite: {{kind: local, path: {cli.folder / 'offsite'}{offsite}}}\njobs:\n"
    text = text.replace("jobs:\n", line, 1)
    own = "    repository: main\n"
    cli.config.write_text(text.replace(own, f"{own}    {mirrors}\n", 1))


@pytest.fixture
def two(cli: CommandLine) -> CommandLine:
    (cli.folder / "offsite").mkdir()
    configure(cli)
    return cli


def test_both_repositories_have_the_backup(two: CommandLine) -> None:
    document = two.holdfast("backup", "shop", "--json").document
    assert document["without"] == []
    for options in ((), ("--repository", "offsite")):
        assert two.holdfast(*options, "verify", "shop/latest").exit_code == 0
        (listed,) = two.holdfast(*options, "list", "shop", "--json").document["backups"]
        assert listed["backup"] == document["backup"]
    assert two.source.opened == 1


def test_lists_of_several_repositories_say_which_one_a_line_is_of(two: CommandLine) -> None:
    two.holdfast("backup", "shop")
    listed = two.holdfast("list", "--json").document["backups"]
    assert sorted(each["repository"] for each in listed) == ["main", "offsite"]
    assert "REPOSITORY" in two.holdfast("list").stdout
    assert "REPOSITORY" not in two.holdfast("list", "shop").stdout
    used = two.holdfast("du", "--json").document["jobs"]
    assert [(each["job"], each["repository"]) for each in used] == [
        ("shop", "main"),
        ("shop", "offsite"),
    ]


@pytest.mark.parametrize("command", ["list", "du"])
def test_a_repository_that_is_gone_does_not_hide_the_others(two: CommandLine, command: str) -> None:
    two.holdfast("backup", "shop")
    shutil.rmtree(two.folder / "offsite")
    answer = two.holdfast(command)
    assert answer.exit_code == 50
    assert "shop" in answer.stdout
    assert "not read: repository 'offsite'" in answer.stdout
    document = two.holdfast(command, "--json").document
    assert [each["repository"] for each in document["unseen"]] == ["offsite"]
    assert two.holdfast(command, "shop").exit_code == 0


def test_a_missing_mirror_is_named_and_a_copy_completes_it(two: CommandLine) -> None:
    (two.folder / "offsite").rmdir()
    answer = two.holdfast("backup", "shop")
    assert answer.exit_code == 50
    assert "cannot store the backup of job 'shop' in repository 'offsite'" in answer.stdout
    assert "then run holdfast copy shop --to offsite" in answer.stdout
    assert two.holdfast("verify", "shop/latest").exit_code == 0
    status = two.holdfast("status", "shop", "--json").document["jobs"][0]
    assert (status["last_run"]["outcome"], status["last_run"]["exit_code"]) == ("failed", 50)
    (two.folder / "offsite").mkdir()
    assert two.holdfast("copy", "shop", "--to", "offsite").exit_code == 0
    assert two.holdfast("--repository", "offsite", "verify", "shop/latest").exit_code == 0


def test_the_own_repository_may_be_gone_before_the_run_begins(two: CommandLine) -> None:
    two.repository.rename(two.folder / "lost")
    answer = two.holdfast("backup", "shop")
    assert answer.exit_code == 50
    assert "cannot store the backup of job 'shop' in repository 'main'" in answer.stdout
    assert two.holdfast("--repository", "offsite", "verify", "shop/latest").exit_code == 0


def test_the_own_repository_may_be_lost_and_the_mirror_restores(two: CommandLine) -> None:
    two.holdfast("backup", "shop")
    shutil.rmtree(two.repository)
    answer = two.holdfast(
        "--repository", "offsite", "restore", "shop/latest", "--to", "fake://target"
    )
    assert answer.exit_code == 0, answer.stderr
    assert two.target.tables["public.orders"] == b"1,ann\n2,bob\n"


def test_check_tells_of_each_repository(two: CommandLine) -> None:
    (two.folder / "offsite").rmdir()
    answer = two.holdfast("check", "shop", "--json")
    assert answer.exit_code == 50
    subjects = [each["subject"] for each in answer.document["jobs"][0]["findings"]]
    assert subjects[1:3] == ["repository", "repository offsite"]


def test_working_in_one_repository_by_name_leaves_the_others_alone(two: CommandLine) -> None:
    assert two.holdfast("--repository", "offsite", "backup", "shop").exit_code == 0
    assert two.holdfast("list", "shop", "--json").document["backups"] == []


@pytest.mark.parametrize(
    ("mirrors", "offsite", "problem"),
    [
        ("mirrors: [ofsite]", "", "there is no repository 'ofsite'"),
        ("mirrors: [main]", "", "a mirror is named twice"),
        ("mirrors: [offsite]\n    resumable: true", "", "cannot be used with mirrors"),
        (
            "mirrors: [offsite]",
            f", encryption: {{recipients: [{RECIPIENT}]}}",
            "another encryption than its repository",
        ),
    ],
)
def test_mirrors_that_cannot_be_are_told(
    cli: CommandLine, mirrors: str, offsite: str, problem: str
) -> None:
    configure(cli, mirrors=mirrors, offsite=offsite)
    answer = cli.bare("config", "check", str(cli.config))
    assert answer.exit_code == 10
    assert problem in answer.stdout + answer.stderr


@pytest.mark.parametrize(
    "failpoint",
    ["lease-put", "lease-held:2", "backup-swept", "part-stored", "parts-stored", "manifest-stored"],
)
def test_after_a_kill_anywhere_the_next_run_makes_both_whole(
    two: CommandLine, failpoint: str
) -> None:
    killed(two, failpoint, "backup", "shop")
    for options in ((), ("--repository", "offsite")):
        listed = two.holdfast(*options, "list", "--json").document
        assert listed["damaged"] == []
        for each in listed["backups"]:
            assert two.holdfast(*options, "verify", each["backup"]).exit_code == 0
    assert two.holdfast("backup", "shop").exit_code == 0
    assert _stored(two, "repository") == _stored(two, "offsite")
    for options in ((), ("--repository", "offsite")):
        (found,) = two.holdfast(*options, "repair", "--json").document["jobs"]
        assert found["leftovers"] == []


def _stored(cli: CommandLine, folder: str) -> dict[str, bytes]:
    home = cli.folder / folder
    found = (path for path in (home / "shop").rglob("*") if path.is_file())
    return {str(path.relative_to(home)): path.read_bytes() for path in found}
