"""`holdfast fleet` names the hosts that need attention, from what they left in the repository."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.host_statuses import HostStatuses
from holdfast.model.errors import DatabaseUnreachable
from holdfast.model.tuning_verdict import SCHEMA
from holdfast.repositories.local import LocalRepository
from holdfast.runtime import kernel_calls
from tests.support.command_line import Answer, CommandLine
from tests.support.fleets import status_of
from tests.unit.cli.test_disks import FILL, on_small_disk

ANALYZE = shutil.which("systemd-analyze")
MASKED, RUNNING = "inactive", "active"


class Hosts:
    """Hosts with a job and a state directory each, that share the repository of `cli`."""

    def __init__(self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli = cli
        self._monkeypatch = monkeypatch
        self._config = cli.config.read_text()
        self._bin = cli.folder / "bin"
        self._bin.mkdir()
        monkeypatch.setenv("PATH", str(self._bin))
        self.timers(RUNNING)

    def timers(self, state: str, *, due_in: timedelta = timedelta(hours=1)) -> None:
        """Have a stand-in for systemd say that, and when each calendar elapses."""
        due = datetime.now(UTC) + due_in
        self._program("systemctl", f"echo {state}")
        self._program("systemd-analyze", f"echo '    Next elapse: Mon {due:%Y-%m-%d %H:%M:%S} UTC'")

    def _program(self, name: str, line: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def on(self, host: str, job: str, *, more: str = "", schedule: str = "02:00") -> CommandLine:
        state = self.cli.folder / "states" / host
        state.mkdir(parents=True, exist_ok=True)
        text = self._config.replace(f"{self.cli.folder}/state\n", f"{state}\n")
        text = text.replace("  shop:\n", f"  {job}:\n    schedule: '{schedule}'\n{more}")
        self.cli.config.write_text(text)
        self._monkeypatch.setattr(socket, "gethostname", lambda: host)
        self._monkeypatch.setattr(kernel_calls, "host_name", lambda: host)
        return self.cli

    def expect(self, **hosts: list[str]) -> str:
        path = self.cli.folder / "fleet.json"
        path.write_text(json.dumps({"schema": "holdfast.expected-hosts/1", "hosts": hosts}))
        return str(path)


@pytest.fixture
def hosts(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    return Hosts(cli, monkeypatch)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the clock of the reader ahead."""

    def ahead(span: timedelta) -> None:
        monkeypatch.setattr("holdfast.cli.fleet.now", lambda: datetime.now(UTC) + span)

    return ahead


def states(answer: Answer) -> dict[str, tuple[str, str | None]]:
    return {each["host"]: (each["state"], each["why"]) for each in answer.document["jobs"]}


def data_in(page: Path) -> list[dict[str, Any]]:
    """The jobs in the data of a page."""
    _, _, data = page.read_text().partition('id="data">')
    jobs: list[dict[str, Any]] = json.loads(data.partition("</script>")[0])["jobs"]
    return jobs


def test_of_four_hosts_the_three_in_need_are_named_with_the_reason(
    hosts: Hosts, at: Callable[[timedelta], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its timer is masked after its last run: nothing on it will ever say so.
    hosts.on("silent", "crm")
    assert hosts.cli.holdfast("backup", "crm").exit_code == 0
    # Its own disk is full, whatever room the repository has.
    monkeypatch.undo()
    monkeypatch.setenv("PATH", os.defpath)
    full = kernel_calls.host_name()
    state = hosts.cli.folder / "states" / full
    hosts_of_full = hosts.on(full, "files", schedule="2200-01-01")
    ended = on_small_disk(hosts_of_full, state, "backup", "files", before=FILL.format(state))
    assert ended.code == 51, ended.stderr
    # The healthy one told something since.
    healthy = status_of("healthy", "shop")
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=4)
    HostStatuses(LocalRepository(hosts.cli.repository)).commit(
        status_of("healthy", "shop", at=later, dues=(), newest=healthy.newest)
    )
    at(timedelta(hours=5))
    expected = hosts.expect(healthy=["shop"], silent=["crm"], **{full: ["files"]}, never=["app"])
    answer = hosts.cli.holdfast("fleet", "--expect", expected, "--json")
    assert answer.exit_code == 44
    found = states(answer)
    assert {host: state for host, (state, _) in found.items()} == {
        "never": "missing",
        "silent": "silent",
        full: "full",
        "healthy": "ok",
    }
    assert "and it has told nothing since" in str(found["silent"][1])
    assert "No space left on device" in str(found[full][1])
    assert "it never reported" in str(found["never"][1])
    shown = hosts.cli.holdfast("fleet", "--expect", expected)
    assert shown.exit_code == 44
    lines = [line.split()[0] for line in shown.stdout.splitlines()]
    assert lines[1:5] == ["never", "silent", full, "healthy"], "worst first"
    assert "3 of 4 jobs of 4 hosts need attention" in shown.stdout
    page = hosts.cli.folder / "fleet.html"
    assert hosts.cli.holdfast("fleet", "--expect", expected, "--html", str(page)).exit_code == 44
    on_page = [(each["host"], each["state"], each["why"] or None) for each in data_in(page)]
    assert on_page == [(host, state, why) for host, (state, why) in found.items()]


def test_a_healthy_fleet_ends_with_0(hosts: Hosts) -> None:
    for host, job in (("db1", "shop"), ("db2", "crm")):
        hosts.on(host, job)
        assert hosts.cli.holdfast("backup", job).exit_code == 0
    answer = hosts.cli.holdfast("fleet", "--expect", hosts.expect(db1=["shop"], db2=[]))
    assert answer.exit_code == 0, answer.stdout
    assert "2 jobs of 2 hosts: all good" in answer.stdout


def test_every_kind_of_run_is_told(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop", more="    overdue_after: 9999d\n")
    cli.holdfast("backup", "shop")
    assert cli.holdfast("drill", "shop").exit_code == 0
    assert cli.holdfast("verify", "shop").exit_code == 0
    assert cli.holdfast("prune", "shop").exit_code == 0
    (job,) = cli.holdfast("fleet", "--json").document["jobs"]
    status = job["status"]
    assert (job["host"], job["job"], job["state"], job["repositories"]) == (
        "db1",
        "shop",
        "ok",
        ["main"],
    )
    assert {name: each["outcome"] for name, each in status["last"].items()} == dict.fromkeys(
        ("backup", "drill", "verify", "prune"), "ok"
    )
    backup = cli.holdfast("list", "--json").document["backups"][0]
    assert status["newest"]["backup"] == backup["backup"] == status["drilled"]["backup"]
    assert status["newest"]["stored_bytes"] == backup["stored_bytes"]
    assert status["drilled"]["rto_seconds"] >= 0
    assert status["timers"]["backup"]["active"] is True
    assert status["overdue_after_seconds"] == 9999 * 86400
    assert status["free_bytes"] > 0
    assert [each["runs"] for each in status["days"]] == [1]
    assert [each["backup"] for each in status["holdings"]["backups"]] == [backup["backup"]]
    assert (status["holdings"]["count"], status["holdings"]["windows"]) == (1, [])
    assert [(each["passed"], each["backup"]) for each in status["drills"]] == [
        (True, backup["backup"])
    ]
    assert len(list(cli.repository.glob("_status/shop/*"))) == 1


def test_the_verdict_of_the_last_tuning_travels_with_the_next_run(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hosts.cli.folder / "verdict.json"
    monkeypatch.setattr("holdfast.wiring.fleet.VERDICT_FILE", file)
    cli = hosts.on("db1", "shop")
    verdict = {"at": "2026-11-30T12:00:00+00:00", "outcome": "failed", "counts": {"failed": 1}}
    reasons = ["sysctl vm.swappiness: the kernel refused it"]
    file.write_text(json.dumps({"schema": SCHEMA} | verdict | {"reasons": reasons}))
    assert cli.holdfast("backup", "shop").exit_code == 0
    answer = cli.holdfast("fleet", "--json")
    assert answer.exit_code == 44
    (job,) = answer.document["jobs"]
    assert (job["state"], job["status"]["tuning"]) == ("untuned", verdict | {"reasons": reasons})
    shown = cli.holdfast("fleet").stdout
    assert "its last tuning (2026-11-30 12:00Z) failed: sysctl vm.swappiness" in shown
    # The host is undone, or somebody damaged the file: a run is as good, and nothing old is told.
    for content in (None, "{"):
        file.unlink() if content is None else file.write_text(content)
        assert cli.holdfast("verify", "shop").exit_code == 0
        (job,) = cli.holdfast("fleet", "--json").document["jobs"]
        assert (job["state"], job["status"]["tuning"]) == ("ok", None)


def test_a_failed_run_is_told_with_its_error_and_hint_but_no_secret(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    cli.source.refuse_with = DatabaseUnreachable(
        "cannot connect to postgresql://shop:geheim@db/shop: SELECT secret FROM rows",
        hint="check password=geheim2",
    )
    assert cli.holdfast("backup", "shop").exit_code == 20
    (job,) = cli.holdfast("fleet", "--json").document["jobs"]
    assert job["state"] == "failed"
    assert job["why"].startswith("its last backup failed: cannot connect to")
    stored = cli.stored(".status.json").read_text() + job["why"]
    assert "geheim" not in stored
    assert "SELECT" not in stored


def test_a_timer_that_is_masked_at_the_last_run_is_told_at_once(hosts: Hosts) -> None:
    hosts.timers(MASKED)
    cli = hosts.on("db1", "shop")
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("fleet")
    assert answer.exit_code == 44
    assert "its backup has a schedule, and its timer does not run" in answer.stdout
    assert "systemctl enable --now holdfast-backup-shop.timer" in answer.stdout


def test_a_verify_does_not_put_off_when_the_backup_is_due(hosts: Hosts) -> None:
    def due() -> str:
        (job,) = cli.holdfast("fleet", "--json").document["jobs"]
        return str(job["status"]["timers"]["backup"]["next"])

    cli = hosts.on("db1", "shop")
    cli.holdfast("backup", "shop")
    first = due()
    hosts.timers(RUNNING, due_in=timedelta(days=9))
    cli.holdfast("verify", "shop")
    assert due() == first
    cli.holdfast("backup", "shop")
    assert due() > first


def test_damage_is_told_after_a_verify(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    cli.holdfast("backup", "shop")
    cli.stored("items.copy.zst").unlink()
    assert cli.holdfast("verify", "shop/latest").exit_code == 31
    assert states(cli.holdfast("fleet", "--json"))["db1"][0] == "damaged"


def test_ages_may_be_limited_by_the_call(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    cli.holdfast("backup", "shop")
    undrilled = cli.holdfast("fleet", "--max-drill-age", "30d", "--json")
    assert (undrilled.exit_code, states(undrilled)["db1"][0]) == (44, "undrilled")
    # The backup in memory shows a moment of 2026-11-20.
    old = cli.holdfast("fleet", "--max-age", "1s", "--json")
    assert (old.exit_code, states(old)["db1"][0]) == (44, "overdue")
    cli.holdfast("drill", "shop")
    assert cli.holdfast("fleet", "--max-drill-age", "30d").exit_code == 0


@pytest.mark.parametrize(
    "call",
    [
        ["prune", "shop", "--dry-run"],
        ["list"],
        ["status"],
        ["fleet"],
        ["verify", "nobody"],
        ["drill", "nobody/latest"],
        ["backup"],
    ],
    ids=" ".join,
)
def test_nothing_is_left_by_what_is_no_run(hosts: Hosts, call: list[str]) -> None:
    cli = hosts.on("db1", "shop")
    cli.holdfast(*call)
    assert not (cli.repository / "_status").exists()


def test_a_run_is_as_good_where_no_status_can_be_left(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    (cli.repository / "_status").write_text("in the way")
    answer = cli.holdfast("backup", "shop")
    assert answer.exit_code == 0
    assert "host_status_not_left" in answer.stderr


def test_a_bug_in_leaving_a_status_fails_no_run(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    cli = hosts.on("db1", "shop")
    monkeypatch.setattr("holdfast.wiring.fleet.leaving_context", faulty)
    answer = cli.holdfast("backup", "shop")
    assert answer.exit_code == 0
    assert '"error": "ZeroDivisionError"' in answer.stderr


def test_a_wrong_configuration_is_told_once(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    cli.config.write_text("jobs: {shop: {sauce: {}}}\n")
    answer = cli.holdfast("backup", "shop")
    assert answer.exit_code == 10
    assert answer.stderr.count("sauce: unknown key") == 1


def test_mirrors_get_it_too_and_one_that_is_gone_is_no_reason_to_miss_it(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop", more="    mirrors: [offsite]\n")
    text = cli.config.read_text()
    offsite = cli.folder / "offsite"
    offsite.mkdir()
    line = f"  offsite: {{kind: local, path: {offsite}}}\njobs:\n"
    cli.config.write_text(text.replace("jobs:\n", line, 1))
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert len(list(offsite.glob("_status/shop/*"))) == 1
    (job,) = cli.holdfast("fleet", "--json").document["jobs"]
    assert job["repositories"] == ["main", "offsite"]
    shutil.rmtree(offsite)
    answer = cli.holdfast("fleet", "--json")
    assert answer.exit_code == 50
    assert [each["repository"] for each in answer.document["unseen"]] == ["offsite"]
    assert states(answer)["db1"][0] == "ok"
    assert cli.holdfast("fleet", "--repository", "main").exit_code == 0
    assert cli.holdfast("fleet", "--repository", "offsite").exit_code == 50
    assert cli.holdfast("fleet", "--repository", "ofsite").exit_code == 10


def test_a_host_that_is_gone_is_forgotten_on_request_only(hosts: Hosts) -> None:
    for host, job in (("db1", "shop"), ("db2", "crm")):
        hosts.on(host, job)
        hosts.cli.holdfast("backup", job)
        hosts.cli.holdfast("prune", job)
    answer = hosts.cli.holdfast("fleet", "--forget", "db1")
    assert (answer.exit_code, answer.stdout.strip()) == (0, "db1: removed 1 status")
    assert states(hosts.cli.holdfast("fleet", "--json")).keys() == {"db2"}
    assert len(hosts.cli.holdfast("list", "--json").document["backups"]) == 2


@pytest.mark.parametrize("content", [None, "", '{"schema": "holdfast.expected-hosts/1"}'])
def test_a_wrong_file_of_expected_hosts_ends_with_10(hosts: Hosts, content: str | None) -> None:
    path = hosts.cli.folder / "expected.json"
    if content is not None:
        path.write_text(content)
    answer = hosts.cli.holdfast("fleet", "--expect", str(path))
    assert answer.exit_code == 10
    assert f"cannot read the expected hosts in '{path}'" in answer.stderr


def test_a_fleet_that_told_nothing_says_so(cli: CommandLine) -> None:
    answer = cli.holdfast("fleet")
    assert answer.exit_code == 0
    assert "no host has left its state so far" in answer.stdout


def test_lists_and_sizes_do_not_show_statuses(hosts: Hosts) -> None:
    cli = hosts.on("db1", "shop")
    cli.holdfast("backup", "shop")
    assert [each["job"] for each in cli.holdfast("du", "--json").document["jobs"]] == ["shop"]
    document = cli.holdfast("list", "--json").document
    assert (len(document["backups"]), document["damaged"]) == (1, [])
    assert cli.holdfast("repair", "--dry-run", "--json").document["jobs"][0]["leftovers"] == []


def test_a_host_that_drills_for_others_needs_no_job_of_its_own(hosts: Hosts) -> None:
    hosts.on("db1", "shop").holdfast("backup", "shop")
    cli = hosts.on("drills", "other")
    assert cli.holdfast("drill", "shop").exit_code == 0
    found = states(cli.holdfast("fleet", "--json"))
    assert found == {"db1": ("ok", None)}
    (job,) = cli.holdfast("fleet", "--json").document["jobs"]
    assert job["status"]["drilled"]["backup"].startswith("shop/")


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd")
def test_the_calendar_of_systemd_says_when_a_status_is_due(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(str(ANALYZE)).parent))
    cli = hosts.on("db1", "shop")
    cli.holdfast("backup", "shop")
    (job,) = cli.holdfast("fleet", "--json").document["jobs"]
    timer = job["status"]["timers"]["backup"]
    due = datetime.fromisoformat(timer["next"])
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
    assert datetime.fromisoformat(timer["latest"]) - due == timedelta(hours=3)
