"""Notifications about the end of a command, by the command line and over real sockets."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator

import pytest

from holdfast.host_state.outbox import FileOutbox
from holdfast.locking.host_lock import FlockGuard
from holdfast.model.drill import compared
from holdfast.model.errors import AccessDenied, DatabaseUnreachable, Interrupted
from holdfast.runtime.clock import now
from tests.fakes.source import table
from tests.support.command_line import CommandLine
from tests.support.receivers import Listener, listening, status

SECRET = "hunter2"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def configure(cli: CommandLine, notify: str, *, job: str = "", metrics: bool = False) -> None:
    text = cli.config.read_text()
    if metrics:
        (cli.folder / "metrics").mkdir()
        text = f"metrics_directory: {cli.folder / 'metrics'}\n{text}"
    cli.config.write_text(f"notify: {notify}\n{text}{job}")


def webhook(listener: Listener, more: str = "") -> str:
    return f'{{ops: {{kind: webhook, url: "{listener.url()}"{more}}}}}'


def test_a_failed_backup_is_told_within_the_run_and_names_its_cause(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener))
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    assert cli.holdfast("backup", "shop").exit_code == 20
    (told,) = listener.documents
    assert told["schema"] == "holdfast.event/1"
    assert (told["event"], told["command"], told["job"]) == ("failure", "backup", "shop")
    assert told["exit_code"] == 20
    assert told["error"] == "cannot reach 'shop': connection refused"
    assert told["failures_in_a_row"] == 1
    assert told["log"] == []
    assert not told["test"]


def test_a_good_backup_is_told_to_those_who_asked_for_it_with_its_start(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener, ", on: [start, success]"))
    document = cli.holdfast("backup", "shop", "--json").document
    start, success = listener.documents
    assert [start["event"], success["event"]] == ["start", "success"]
    assert start["run_id"] == success["run_id"] == document["run_id"]
    assert success["backups"] == [document["backup"]]
    assert start["seconds"] is None
    assert success["seconds"] >= 0
    assert cli.holdfast("backup", "shop").exit_code == 0


def test_a_failed_drill_is_told_with_the_row_that_failed(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener, ", on: [start, drill]"))
    backup = cli.holdfast("backup", "shop", "--json").document["backup"]
    assert cli.holdfast("drill", "shop").exit_code == 0
    assert cli.holdfast("drills", "shop").exit_code == 0
    cli.drill_server.proves = [compared("amcheck", expected="no damage", found="1 damaged")]
    assert cli.holdfast("drill", "shop").exit_code == 37
    told = [each for each in listener.documents if each["command"] == "drill"]
    assert [each["event"] for each in told] == ["start", "success", "start", "failure"]
    assert told[1]["backups"] == [backup]
    assert told[3]["error"].startswith(f"drill of {backup} failed: 1 of ")
    assert told[3]["error"].endswith(" proofs failed, among them: amcheck")
    assert {each["command"] for each in listener.documents} == {"backup", "drill"}


def test_a_good_drill_that_misses_a_goal_of_the_job_is_told_as_a_warning(
    cli: CommandLine, listener: Listener
) -> None:
    """The backup of the fake server is as old as its clock."""
    configure(cli, webhook(listener), job="    drill: {rto: 8h, rpo: 15m}\n")
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("drill", "shop", "--json")
    assert answer.exit_code == 0
    (missed,) = answer.document["drills"][0]["missed"]
    assert missed.endswith("would be lost, drill.rpo allows 15m")
    (told,) = listener.documents
    assert (told["event"], told["command"], told["warnings"]) == ("warning", "drill", [missed])
    # What was asked for by name is older on purpose.
    name = answer.document["drills"][0]["backup"]
    again = cli.holdfast("drill", "shop", "--backup", name, "--json")
    assert again.document["drills"][0]["missed"] == []
    assert missed in " ".join(cli.holdfast("drill", "shop").stdout.split())


def test_a_warning_of_a_hook_is_told_as_a_warning(cli: CommandLine, listener: Listener) -> None:
    configure(cli, webhook(listener), job='    hooks: {after: [["/bin/false"]]}\n')
    assert cli.holdfast("backup", "shop").exit_code == 0
    (told,) = listener.documents
    assert told["event"] == "warning"
    assert "/bin/false" in told["warnings"][0]


@pytest.mark.parametrize(("after", "told"), [(1, [1, 2, 3, 4]), (3, [3, 4])])
def test_failures_are_told_from_the_nth_in_a_row_on(
    cli: CommandLine, listener: Listener, after: int, told: list[int]
) -> None:
    configure(cli, webhook(listener, f", after: {after}"))
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    for _ in range(4):
        cli.holdfast("backup", "shop")
    assert [each["failures_in_a_row"] for each in listener.documents] == told
    cli.source.refuse_with = None
    cli.holdfast("backup", "shop")
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    cli.holdfast("backup", "shop")
    assert len(listener.documents) == len(told) + (after == 1), "a good run begins the count again"


def test_pings_follow_the_protocol_with_one_run_id(cli: CommandLine, listener: Listener) -> None:
    configure(cli, f'{{watch: {{kind: ping, url: "{listener.url("/uuid/{job}?create=1")}"}}}}')
    cli.holdfast("backup", "shop")
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    cli.holdfast("backup", "shop")
    cli.holdfast("prune", "shop")
    assert listener.paths == [
        "/uuid/shop/start",
        "/uuid/shop",
        "/uuid/shop/start",
        "/uuid/shop/fail",
    ]
    queries = [each.path.partition("?")[2] for each in listener.told]
    assert queries[0] == queries[1]
    assert queries[2] == queries[3] != queries[0]
    assert queries[0].startswith("create=1&rid=")
    assert len(queries[0].removeprefix("create=1&rid=").split("-")) == 5
    assert b"exit code: 20" in listener.told[3].body


def test_a_ping_can_tell_the_exit_status(cli: CommandLine, listener: Listener) -> None:
    configure(cli, f'{{watch: {{kind: ping, url: "{listener.url("/u")}", exit_status: true}}}}')
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    cli.holdfast("backup", "shop")
    assert listener.paths == ["/u/start", "/u/20"]


def test_a_skipped_run_tells_nothing_at_all(cli: CommandLine, listener: Listener) -> None:
    configure(cli, f'{{watch: {{kind: ping, url: "{listener.url("/u")}"}}}}')
    guard = FlockGuard(cli.folder / "state/locks", clock=now, run_id="1" * 32)
    with guard.hold("shop", deadline=None):
        assert cli.holdfast("backup", "shop").exit_code == 40
    assert listener.told == []


def test_a_webhook_is_signed_so_that_the_receiver_can_verify_it(
    cli: CommandLine, listener: Listener
) -> None:
    secret = cli.folder / "secret"
    secret.write_text("shared")
    secret.chmod(0o600)
    configure(cli, webhook(listener, f', on: [success], secret: {{file: "{secret}"}}'))
    cli.holdfast("backup", "shop")
    (told,) = listener.told
    fields = dict(each.split("=") for each in told.headers["Holdfast-Signature"].split(","))
    # As docs/notifications.md says it.
    expected = hmac.new(
        b"shared", fields["t"].encode() + b"." + told.body, hashlib.sha256
    ).hexdigest()
    assert fields["v1"] == expected
    assert abs(int(fields["t"]) - time.time()) < 300
    assert told.headers["Holdfast-Event"] == "success"
    assert told.headers["Holdfast-Delivery"] == told.document["id"]


def test_a_job_overrules_receivers_by_name_and_adds_its_own(
    cli: CommandLine, listener: Listener
) -> None:
    own = f'{{kind: webhook, url: "{listener.url("/own")}", "on": [success]}}'
    text = webhook(listener, ", on: [success]").replace("{ops:", "{mail:")
    configure(cli, text, job=f"    notify: {{mail: false, ops: {own}}}\n")
    cli.holdfast("backup", "shop")
    assert listener.paths == ["/own"]


def test_the_key_on_may_be_what_ansible_makes_of_it(cli: CommandLine, listener: Listener) -> None:
    configure(cli, webhook(listener, ", true: [success]"))
    cli.holdfast("backup", "shop")
    assert [each["event"] for each in listener.documents] == ["success"]


def test_notify_test_sends_one_of_each_and_marks_it_as_a_test(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener, ", on: [failure, success, drill], after: 5"))
    answer = cli.holdfast("notify", "test", "--json")
    assert answer.exit_code == 0
    assert [each["event"] for each in listener.documents] == ["failure", "drill", "success"]
    assert all(each["test"] for each in listener.documents)
    assert [each["sent"] for each in answer.document["messages"]] == [True] * 3
    assert FileOutbox(cli.folder / "state/notify").waiting() == []
    listener.answers = [status(500), status(500)]
    failed = cli.holdfast("notify", "test", "shop")
    assert failed.exit_code == 45
    assert "it answered 500" in " ".join(failed.stdout.split())


def test_notify_test_without_receivers_says_so(cli: CommandLine) -> None:
    answer = cli.holdfast("notify", "test")
    assert answer.exit_code == 0
    assert "no receivers" in answer.stdout


def test_a_secret_that_is_missing_fails_the_test_and_no_run(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, "{ops: {kind: webhook, url: {environment: NOT_SET}, on: [success]}}")
    assert cli.holdfast("backup", "shop").exit_code == 0
    answer = cli.holdfast("notify", "test", "--json")
    assert answer.exit_code == 45
    assert "NOT_SET" in answer.document["messages"][0]["problem"]


def test_a_file_with_a_secret_that_is_gone_fails_no_run_and_is_told(
    cli: CommandLine, listener: Listener
) -> None:
    gone = cli.folder / "gone"
    more = f', on: [success]}}, lost: {{kind: ping, url: {{file: "{gone}"}}, on: [success]'
    configure(cli, webhook(listener, more), metrics=True)
    answer = cli.holdfast("--log-format", "json", "backup", "shop")
    assert answer.exit_code == 0
    assert [each["event"] for each in listener.documents] == ["success"]
    assert f"cannot use url of receiver 'lost': cannot read '{gone}'" in answer.stderr
    metrics = (cli.folder / "metrics/holdfast__notifications.prom").read_text()
    assert 'holdfast_notification_failures_total{receiver="lost"} 1.0' in metrics
    found = cli.holdfast("check", "shop", "--json").document["jobs"][0]["findings"]
    problems = {each["subject"]: each["problem"] for each in found}
    assert str(gone) in problems["receiver lost"]
    assert problems["receiver ops"] == ""


def test_nothing_that_is_sent_or_logged_holds_a_secret(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PING_URL", listener.url(f"/{SECRET}"))
    notify = (
        "{a: {kind: ping, url: {environment: PING_URL}},"
        f' b: {{kind: webhook, url: "{listener.url()}", include_log: true}}}}'
    )
    configure(cli, notify)
    cli.source.refuse_with = AccessDenied(
        f"cannot log in: postgresql://shop:{SECRET}@db/shop?sslpassword={SECRET}: password={SECRET}"
        f"\nLINE 1: SELECT '{SECRET}'",
        hint=f"GRANT SELECT ON t TO shop IDENTIFIED BY '{SECRET}'",
    )
    answer = cli.holdfast("--log-format", "json", "-v", "backup", "shop")
    assert answer.exit_code == 21
    assert len(listener.told) == 3
    for told in listener.told:
        assert SECRET.encode() not in told.body
    waiting = [path.read_text() for path in (cli.folder / "state/notify").rglob("*.json")]
    assert all(SECRET not in each for each in waiting)
    (failure,) = [each.document for each in listener.told if each.body.startswith(b"{")]
    assert failure["error"].startswith("cannot log in: postgresql://")
    # The log of the host quotes the error; nothing of it may tell where pings go.
    assert "/uuid" not in answer.stderr
    assert failure["log"] != []


def test_the_log_goes_only_to_those_who_are_given_it(cli: CommandLine, listener: Listener) -> None:
    more = f', on: [success]}}, log: {{kind: webhook, url: "{listener.url("/log")}", on: [success],'
    configure(cli, webhook(listener, f"{more} include_log: true"))
    cli.holdfast("backup", "shop")
    logs = {each.path: each.document["log"] for each in listener.told}
    assert logs["/hunter2-in-the-path"] == []
    assert any("backup_begun" in line for line in logs["/log"])


def test_other_commands_are_told_too_and_looks_are_not(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener, ", on: [success, failure]"))
    cli.holdfast("backup", "shop")
    cli.holdfast("prune", "shop")
    cli.holdfast("prune", "shop", "--dry-run")
    cli.holdfast("verify", "shop/latest")
    for path in cli.repository.rglob("*.copy.*"):
        path.write_bytes(b"damaged")
    assert cli.holdfast("verify", "shop/latest").exit_code == 31
    for silent in (("list", "shop"), ("status",), ("check",), ("plan", "shop")):
        cli.holdfast(*silent)
    told = [(each["command"], each["event"]) for each in listener.documents]
    assert told == [
        ("backup", "success"),
        ("prune", "success"),
        ("verify", "success"),
        ("verify", "failure"),
    ]
    assert listener.documents[-1]["exit_code"] == 31
    assert listener.documents[-1]["error"].endswith("bad in shop/latest")


def test_a_job_that_is_not_configured_is_told_to_nobody(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener))
    assert cli.holdfast("backup", "shpo").exit_code == 11
    assert cli.holdfast("backup", "shop", "--no-such-option").exit_code == 2
    assert listener.told == []


def test_check_reads_what_receivers_need_and_sends_nothing(
    cli: CommandLine, listener: Listener
) -> None:
    more = "}, gone: {kind: ping, url: {environment: NOT_SET}}, mail: {kind: apprise, url: x"
    configure(cli, webhook(listener, more))
    answer = cli.holdfast("check", "shop", "--json")
    assert answer.exit_code == 10
    found = {each["subject"]: each["problem"] for each in answer.document["jobs"][0]["findings"]}
    assert found["receiver ops"] == ""
    assert "NOT_SET" in found["receiver gone"]
    assert "cannot use its URL" in found["receiver mail"]
    assert listener.told == []


def test_a_run_that_is_interrupted_is_told_as_a_failure(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, f'{{watch: {{kind: ping, url: "{listener.url("/u")}"}}}}')
    stopped = Interrupted("cannot continue: interrupted by SIGTERM")
    cli.source.tables = (table("orders", "1", fails_with=stopped),)
    assert cli.holdfast("backup", "shop").exit_code == 130
    assert listener.paths == ["/u/start", "/u/fail"]
    assert b"interrupted by SIGTERM" in listener.told[1].body


def test_a_run_that_is_interrupted_before_it_begins_is_no_success(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("cannot continue: interrupted by SIGTERM")

    configure(cli, f'{{watch: {{kind: ping, url: "{listener.url("/u")}"}}}}')
    monkeypatch.setattr(FileOutbox, "running", interrupted)
    assert cli.holdfast("backup", "shop").exit_code == 130
    assert listener.paths == ["/u/fail"]


def test_each_job_of_a_command_on_all_is_told_its_own_end(
    cli: CommandLine, listener: Listener
) -> None:
    text = cli.config.read_text()
    second = text[text.index("  shop:") :].replace("shop:", "wiki:").replace("=shop", "=wiki")
    cli.config.write_text(text + second)
    configure(cli, webhook(listener, ", on: [failure, success], commands: [verify]"))
    for job in ("shop", "wiki"):
        cli.holdfast("backup", job)
    for path in cli.repository.glob("wiki/**/*.copy.*"):
        path.write_bytes(b"damaged")
    assert cli.holdfast("verify", "--level", "ledger").exit_code == 31
    told = [(each["job"], each["event"]) for each in listener.documents]
    assert sorted(told) == [("shop", "success"), ("wiki", "failure")]


def test_a_stream_of_wal_that_fails_is_told(cli: CommandLine, listener: Listener) -> None:
    configure(cli, webhook(listener))
    code = cli.holdfast("wal", "receive", "shop").exit_code
    (told,) = listener.documents
    assert (told["command"], told["event"]) == ("wal receive", "failure")
    assert told["exit_code"] == code == 20
