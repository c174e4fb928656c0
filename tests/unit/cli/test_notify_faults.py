"""Receivers that fail or hang, runs that are killed: told later, and never in the way."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler

import pytest

from holdfast.cli.notify import LONGEST_SECONDS
from holdfast.host_state import outbox
from holdfast.host_state.outbox import FileOutbox
from holdfast.model.errors import (
    ConfigInvalid,
    DatabaseUnreachable,
    RepositoryFull,
    RepositoryReadOnly,
)
from holdfast.operations import notify as operation
from holdfast.operations.notify import GRACE_SECONDS, Deliveries, Delivery
from holdfast.ports.notify import Begun
from tests.support.command_line import CommandLine
from tests.support.receivers import Listener, closed_port, listening, status
from tests.support.waiting import until
from tests.unit.cli.test_notify import SECRET, configure, webhook


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.mark.parametrize(
    "fault", ["500", "404", "hang", "refused", "unresolved", "elsewhere", "loop"]
)
def test_a_receiver_that_fails_is_told_counted_and_tried_again(
    cli: CommandLine, listener: Listener, fault: str
) -> None:
    url = {
        "refused": f"http://127.0.0.1:{closed_port()}/{SECRET}",
        "unresolved": f"https://no-such-host.invalid/{SECRET}",
    }.get(fault, listener.url())
    answers = {
        "500": status(500),
        "404": status(404),
        "hang": listener.hang,
        "elsewhere": status(307, Location="http://localhost:1/other"),
        "loop": status(308, Location="/again"),
    }
    if fault in answers:
        listener.always(answers[fault])
    configure(
        cli,
        f'{{ops: {{kind: webhook, url: "{url}", on: [success], timeout: 20s}}}}',
        metrics=True,
    )
    answer = cli.holdfast("--log-format", "json", "backup", "shop")
    assert answer.exit_code == 0
    assert '"notification_failed"' in answer.stderr
    assert SECRET not in answer.stderr + answer.stdout
    metrics = (cli.folder / "metrics/holdfast__notifications.prom").read_text()
    assert 'holdfast_notification_failures_total{receiver="ops"} 1.0' in metrics
    (waiting,) = FileOutbox(cli.folder / "state/notify").waiting()
    assert waiting.event.topic == "success"
    listener.answers.clear()
    listener.released.set()
    if fault == "hang":
        until(lambda: FileOutbox(cli.folder / "state/notify").waiting() == [])
    elif url == listener.url():
        listener.told.clear()
        assert cli.holdfast("prune", "shop").exit_code == 0
        assert waiting.event.id in [each["id"] for each in listener.documents]
        assert FileOutbox(cli.folder / "state/notify").waiting() == []


def test_a_hanging_receiver_costs_the_run_no_more_than_its_grace(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run waits for is the grace, whatever the timeouts of its receivers are."""
    waited: list[float] = []
    real = Deliveries.end

    def end(self: Deliveries, *, seconds: float) -> list[Delivery]:
        waited.append(seconds)
        return real(self, seconds=seconds)

    monkeypatch.setattr(Deliveries, "end", end)
    listener.always(listener.hang)
    hangs = f'kind: webhook, url: "{listener.url()}", on: [start, success], timeout: 1m'
    configure(cli, f"{{a: {{{hangs}}}, b: {{{hangs}}}}}")
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert waited == [GRACE_SECONDS] == [1.0]
    assert [each["event"] for each in listener.documents] == ["start", "start"]
    waiting = FileOutbox(cli.folder / "state/notify").waiting()
    assert sorted(each.receiver for each in waiting) == ["a", "b"]
    assert {each.event.topic for each in waiting} == {"success"}


def test_a_run_that_was_killed_is_told_by_the_next_one(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener))
    at = datetime(2026, 11, 30, 2, tzinfo=UTC)
    left = Begun(job="shop", command="backup", run_id="ab" * 16, at=at)
    leave(cli, left)
    assert cli.holdfast("backup", "shop").exit_code == 0
    (told,) = listener.documents
    assert told["event"] == "failure"
    assert told["run_id"] == left.run_id
    assert "the run that began at 2026-11-30T02:00:00+00:00 never ended" in told["error"]
    cli.holdfast("backup", "shop")
    assert len(listener.told) == 1


def leave(cli: CommandLine, begun: Begun) -> None:
    """What a run leaves whose process is gone."""
    outbox = FileOutbox(cli.folder / "state/notify")
    with outbox.running(begun):
        (path,) = (cli.folder / "state/notify/running").iterdir()
        content = path.read_bytes()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("invocation", "told"),
    [
        ("cd" * 16, "never ended: systemd says oom-kill"),
        # A run of another unit, which was killed at another time, and one that no unit started.
        ("ef" * 16, "never ended: it was killed, or the host went down"),
        ("", "never ended: it was killed, or the host went down"),
    ],
)
def test_the_unit_of_a_killed_run_tells_it_at_once_and_why_only_of_its_own(
    cli: CommandLine,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    invocation: str,
    told: str,
) -> None:
    configure(cli, webhook(listener))
    at = datetime.now(UTC)
    leave(
        cli,
        Begun(job="shop", command="backup", run_id="ab" * 16, at=at, invocation=invocation),
    )
    monkeypatch.setenv("SERVICE_RESULT", "oom-kill")
    monkeypatch.setenv("INVOCATION_ID", "cd" * 16)
    answer = cli.holdfast("notify", "send")
    assert answer.exit_code == 0
    (document,) = listener.documents
    assert document["error"].endswith(told)
    assert cli.holdfast("notify", "send").stdout == "no message is waiting\n"


def test_a_run_remembers_the_start_of_its_unit(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Begun] = []
    real = FileOutbox.running

    def running(self: FileOutbox, begun: Begun) -> AbstractContextManager[Begun | None]:
        seen.append(begun)
        return real(self, begun)

    configure(cli, webhook(listener))
    monkeypatch.setattr(FileOutbox, "running", running)
    monkeypatch.setenv("INVOCATION_ID", "cd" * 16)
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert [each.invocation for each in seen] == ["cd" * 16]


def test_a_process_that_holds_the_lock_of_the_counts_keeps_no_failure_from_being_told(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(cli, webhook(listener))
    assert cli.holdfast("notify", "send").exit_code == 0
    FileOutbox(cli.folder / "state/notify").count_unsent("ops")
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 0.05)
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    with (cli.folder / "state/notify/.lock").open() as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        answer = cli.holdfast("--log-format", "json", "backup", "shop")
    assert answer.exit_code == 20
    assert '"notification_not_counted"' in answer.stderr
    (told,) = listener.documents
    assert told["error"] == "cannot reach 'shop': connection refused"
    assert told["failures_in_a_row"] == 0


def test_a_failure_that_cannot_be_counted_is_told_by_notify_send(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_: object) -> None:
        raise ConfigInvalid("cannot lock 'x': another process holds it")

    configure(cli, webhook(listener, ", on: [success]"))
    listener.always(status(500))
    cli.holdfast("backup", "shop")
    monkeypatch.setattr(FileOutbox, "count_unsent", stuck)
    answer = cli.holdfast("--log-format", "json", "notify", "send", "--json")
    assert answer.exit_code == 45
    assert answer.document["messages"][0]["problem"] == "cannot notify '127.0.0.1': it answered 500"
    assert '"notification_not_counted"' in answer.stderr


def test_what_waits_is_sent_by_notify_send_with_the_whole_timeout(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener, ", on: [success]"))
    listener.answers = [status(500), status(500)]
    cli.holdfast("backup", "shop")
    listener.answers = [status(500), status(500)]
    failed = cli.holdfast("notify", "send", "--json")
    assert failed.exit_code == 45
    (message,) = failed.document["messages"]
    assert (message["receiver"], message["sent"]) == ("ops", False)
    assert message["problem"] == "cannot notify '127.0.0.1': it answered 500"
    assert cli.holdfast("notify", "send").exit_code == 0


def test_many_messages_keep_no_unit_from_its_end(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit of a backup waits for this command, and fails if it takes too long."""
    waited: list[float] = []
    configure(cli, webhook(listener, ", on: [success], timeout: 1m"))
    listener.always(status(500))
    for _ in range(3):
        cli.holdfast("backup", "shop")

    def end(_self: Deliveries, *, seconds: float) -> list[Delivery]:
        waited.append(seconds)
        return []

    monkeypatch.setattr(Deliveries, "end", end)
    assert cli.holdfast("notify", "send").exit_code == 0
    assert waited == [LONGEST_SECONDS + GRACE_SECONDS]


def test_a_message_that_cannot_be_removed_is_told_without_a_trace(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RepositoryReadOnly("cannot use state directory file 'x': Read-only file system")

    configure(cli, webhook(listener, ", on: [success]"))
    monkeypatch.setattr(FileOutbox, "remove", refused)
    answer = cli.holdfast("--log-format", "json", "backup", "shop")
    assert answer.exit_code == 0
    assert len(listener.told) == 1
    assert '"error": "cannot use state directory file' in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_killed_run_is_told_although_the_disk_is_full(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RepositoryFull("cannot use state directory file 'x': No space left on device")

    configure(cli, webhook(listener), job="    overdue_after: 26h\n")
    leave(cli, Begun(job="shop", command="backup", run_id="ab" * 16, at=datetime.now(UTC)))
    monkeypatch.setattr(outbox, "replace_private", full)
    assert cli.holdfast("notify", "send").exit_code == RepositoryFull.exit_code
    (told,) = listener.documents
    assert "never ended" in told["error"]


def test_a_full_state_directory_still_tells(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RepositoryFull("cannot use state directory file: no space left")

    monkeypatch.setattr(FileOutbox, "add", full)
    configure(cli, webhook(listener, ", on: [success]"))
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert [each["event"] for each in listener.documents] == ["success"]


def test_what_a_full_disk_could_not_keep_is_waited_for(
    cli: CommandLine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could send it later, so the second that a run waits for others is not its limit."""

    def full(*_: object) -> None:
        raise RepositoryFull("cannot use state directory file: no space left")

    def late(request: BaseHTTPRequestHandler) -> None:
        threading.Event().wait(0.3)
        status(200)(request)

    monkeypatch.setattr(operation, "GRACE_SECONDS", 0.0)
    configure(cli, webhook(listener, ", on: [start, failure], timeout: 1s"))
    cli.source.refuse_with = DatabaseUnreachable("cannot reach 'shop': connection refused")
    monkeypatch.setattr(FileOutbox, "add", full)
    listener.always(late)
    answer = cli.holdfast("--log-format", "json", "backup", "shop")
    assert answer.exit_code == 20
    assert [each["event"] for each in listener.documents][-1] == "failure"
    assert "no answer yet" not in answer.stderr
    # Even then its timeout is the end of it.
    listener.always(listener.hang)
    answer = cli.holdfast("--log-format", "json", "backup", "shop")
    assert answer.exit_code == 20
    assert "it is sent again later" not in answer.stderr
    assert "no answer within 1 s" in answer.stderr or "could not be kept" in answer.stderr


def test_an_overdue_job_is_told_once_and_status_shows_it(
    cli: CommandLine, listener: Listener
) -> None:
    configure(cli, webhook(listener), job="    overdue_after: 26h\n", metrics=True)
    metric = cli.folder / "metrics/holdfast__overdue.prom"
    cli.holdfast("backup", "shop")
    assert cli.holdfast("notify", "send").stdout == "no message is waiting\n"
    assert 'holdfast_job_overdue{backup_job="shop"} 0.0' in metric.read_text()
    (path,) = (cli.folder / "state/runs").glob("*.jsonl")
    run = json.loads(path.read_text())
    path.write_text(json.dumps(run | {"finished_at": "2020-01-01T00:00:00Z"}) + "\n")
    for _ in range(2):
        assert cli.holdfast("notify", "send").exit_code == 0
        assert 'holdfast_job_overdue{backup_job="shop"} 1.0' in metric.read_text()
    (told,) = listener.documents
    assert (told["event"], told["command"], told["job"]) == ("overdue", "backup", "shop")
    assert "no good backup since 2020-01-01T00:00:00+00:00" in told["error"]
    # The data in it is as old as the fake server says, and that is what counts there.
    answer = cli.holdfast("status")
    assert answer.exit_code == 44
    assert "older than overdue_after allows" in answer.stdout
    assert cli.holdfast("status", "--max-age", "9999d").exit_code == 0
