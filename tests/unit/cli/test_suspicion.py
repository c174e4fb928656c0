"""A backup that is much smaller or larger than usual is good, and everybody who asks is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.source import table
from tests.support.command_line import CommandLine
from tests.support.configs import JOB, refused, settings
from tests.support.receivers import listening

SMALL = "suspicion: {smallest: 1}"


@pytest.fixture(autouse=True)
def _an_hour_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups are sorted by the second in their name, and these tests make several in one."""
    clock = FakeClock(step=timedelta(hours=1))
    monkeypatch.setattr("holdfast.wiring.jobs.now", clock)


def shrunk(cli: CommandLine, *options: str) -> tuple[int, str]:
    """Three usual backups, and one of a table that lost half of its rows and more."""
    usual = table("orders", *(f"{number},ann" for number in range(10)))
    cli.source.tables = (usual,)
    for _ in range(3):
        answer = cli.holdfast("backup", "shop")
        assert (answer.exit_code, "suspicious" in answer.stdout) == (0, False)
    cli.source.tables = (table("orders", "1,ann"),)
    answer = cli.holdfast("backup", "shop", *options)
    return answer.exit_code, answer.stdout


def test_it_is_told_by_the_run_by_status_by_list_and_as_a_metric(cli: CommandLine) -> None:
    cli.configure(SMALL)
    (cli.folder / "metrics").mkdir()
    text = cli.config.read_text()
    cli.config.write_text(f"metrics_directory: {cli.folder / 'metrics'}\n{text}")
    code, told = shrunk(cli)
    why = "it has 1 row, and the median of the 3 backups before it is 10"
    newest = cli.holdfast("list", "shop", "--json").document["backups"][0]
    assert code == 0
    assert f"warning: backup {newest['backup']} is suspicious: {why}" in told
    assert newest["suspicion"] == why
    assert f"suspicious: {newest['backup']}: {why}" in cli.holdfast("list").stdout
    answer = cli.holdfast("status", "shop")
    assert answer.exit_code == 0
    assert f"shop: suspicious: {newest['backup']}: {why}" in answer.stdout
    (job,) = cli.holdfast("status", "--json").document["jobs"]
    assert job["suspicious"] == [{"backup": newest["backup"], "problem": why}]
    assert job["last_run"]["outcome"] == "ok"
    metrics = (cli.folder / "metrics/holdfast_shop.prom").read_text()
    assert 'holdfast_run_suspicious_backups{backup_job="shop"} 1.0' in metrics
    assert 'holdfast_run_ok{backup_job="shop"} 1.0' in metrics


def test_receivers_hear_of_it_as_a_warning(cli: CommandLine) -> None:
    with listening() as listener:
        cli.configure(SMALL)
        text = cli.config.read_text()
        notify = f'notify: {{ops: {{kind: webhook, url: "{listener.url()}"}}}}\n'
        cli.config.write_text(notify + text)
        assert shrunk(cli, "--json")[0] == 0
        (told,) = listener.documents
        assert told["event"] == "warning"
        assert "is suspicious: it has 1 row" in told["warnings"][0]


@pytest.mark.parametrize("line", ["suspicion: off", "suspicion: {smallest: 1, share: 95%}", ""])
def test_nobody_hears_of_it_where_it_is_off_or_small_or_within_the_share(
    cli: CommandLine, line: str
) -> None:
    if line:
        cli.configure(line)
    code, told = shrunk(cli)
    assert (code, "suspicious" in told) == (0, False)


def test_a_job_overrules_single_keys_of_the_rule_for_all_jobs(tmp_path: Path) -> None:
    common = "suspicion: {share: 30%, smallest: 1MiB}\n"
    rule = settings(tmp_path, f"{common}{JOB}    suspicion: {{share: 80%}}\n").suspicion_of("shop")
    assert rule is not None
    assert (rule.share, rule.smallest_bytes, rule.of_last) == (0.8, 1 << 20, 7)
    assert settings(tmp_path, f"suspicion: off\n{JOB}").suspicion_of("shop") is None
    own = settings(tmp_path, f"suspicion: off\n{JOB}    suspicion: {{}}\n").suspicion_of("shop")
    assert own is not None
    assert own.share == 0.5


@pytest.mark.parametrize("value", ["{share: 0%}", "{share: 0.5}", "{of_last: 2}", "sometimes"])
def test_what_is_no_rule_is_refused(tmp_path: Path, value: str) -> None:
    assert "suspicion" in refused(tmp_path, f"{JOB}    suspicion: {value}\n")[0]
