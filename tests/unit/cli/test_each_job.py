"""Commands that clean up job by job report a failed job and continue with the others."""

from __future__ import annotations

import pytest

from holdfast.model.errors import RepositoryUnreachable
from tests.support.command_line import CommandLine


@pytest.fixture
def two_jobs(cli: CommandLine) -> CommandLine:
    """Job `gone` comes first, and its repository is missing."""
    text = cli.config.read_text()
    text = text.replace(
        "jobs:\n",
        "jobs:\n"
        '  gone: {source: {kind: postgres, dsn: "dbname=gone"}, repository: away,'
        " retention: {last: 1}}\n",
    ).replace(
        "repositories:\n", f"repositories:\n  away: {{kind: local, path: {cli.folder}/away}}\n"
    )
    cli.config.write_text(text)
    assert cli.holdfast("backup", "shop").exit_code == 0
    return cli


@pytest.mark.parametrize("command", ["prune", "repair"])
def test_a_job_that_fails_keeps_no_other_from_being_tidied(
    two_jobs: CommandLine, command: str
) -> None:
    answer = two_jobs.holdfast(command)
    assert answer.exit_code == RepositoryUnreachable.exit_code
    assert "shop: freed 0 B" in answer.stdout
    assert "gone: cannot " in answer.stdout


@pytest.mark.parametrize("command", ["prune", "repair"])
def test_a_document_names_the_job_that_failed_beside_the_others(
    two_jobs: CommandLine, command: str
) -> None:
    document = two_jobs.holdfast(command, "--dry-run", "--json").document
    assert document["schema"] == f"holdfast.{command}/1"
    assert document["dry_run"] is True
    assert [each["job"] for each in document["jobs"]] == ["shop"]
    assert [each["job"] for each in document["failed_jobs"]] == ["gone"]


@pytest.mark.parametrize("command", ["prune", "repair"])
def test_the_error_of_the_only_job_is_raised(two_jobs: CommandLine, command: str) -> None:
    answer = two_jobs.holdfast(command, "gone")
    assert answer.exit_code == RepositoryUnreachable.exit_code
    assert "\nerror: cannot " in f"\n{answer.stderr}"
