"""Error messages name the cause and do not mislead."""

from __future__ import annotations

from holdfast.model.errors import UnknownJob
from tests.support.command_line import CommandLine


def test_a_job_that_nobody_configured_is_not_hinted_to_be_backed_up(cli: CommandLine) -> None:
    said = cli.holdfast("restore", "shopp/latest", "--to", "fake://x")
    assert said.exit_code == UnknownJob.exit_code
    assert "cannot find job 'shopp'" in said.stderr
    assert "holdfast backup" not in said.stderr
