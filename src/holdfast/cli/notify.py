"""`holdfast notify ...`: test the receivers of notifications, and send waiting messages."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from holdfast.cli.context import (
    JsonOption,
    Session,
    SomeJob,
    acting_session_of,
    print_document,
)
from holdfast.cli.parameters import Group
from holdfast.cli.telling import INVOCATION, never_ended
from holdfast.model.errors import HoldfastError, JobNeedsAttention, NotificationFailed
from holdfast.runtime.clock import now

if TYPE_CHECKING:
    from holdfast.cli.documents import Document
    from holdfast.model.notification import Event, Topic
    from holdfast.operations.notify import Delivery, NotifyContext
    from holdfast.operations.overdue import Overdue
    from holdfast.ports.notify import Begun, Message

commands = Group(
    help="Test the receivers of notifications, and send waiting messages (docs/notifications.md).",
)

TEST_EXAMPLES = """\
# Send one of each message to every receiver
holdfast notify test

# Only the receivers of one job; print the result as JSON
holdfast notify test shop --json
"""


@commands.command("test", examples=TEST_EXAMPLES)
def send_tests(context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False) -> None:
    """Send a test message of each kind that a receiver of JOB (or of any job) asks for.

    Each message says that it is a test. The success of a ping comes last, so that the service ends
    in a good state. If a message cannot be sent, the exit code is 45.
    """
    from holdfast.operations.notify import sent_tests
    from holdfast.wiring.notify import notify_context

    session = acting_session_of(context)
    messages = list(_tests(session, session.jobs(job)))
    done = sent_tests(notify_context(session.settings), messages)
    if as_json:
        print_document("notify-test", {"messages": [_document(each) for each in done]})
    elif not messages:
        session.say("the configuration has no receivers of notifications (docs/notifications.md)")
    else:
        _show(session, done)
    _end(done)


def _tests(session: Session, jobs: Iterable[str]) -> Iterable[Message]:
    """One message for each topic of each receiver; what jobs share is tested for the first one."""
    from holdfast.model.notification import Topic
    from holdfast.operations.notify import addressed
    from holdfast.wiring.notify import rules_of, settings_of

    order = (*(each for each in Topic if each is not Topic.SUCCESS), Topic.SUCCESS)
    seen = []
    for job in jobs:
        settings = settings_of(session.settings, job)
        for rule in rules_of(session.settings, job):
            if (rule.receiver, settings[rule.receiver]) in seen:
                continue
            seen.append((rule.receiver, settings[rule.receiver]))
            for topic in order:
                yield from addressed(_test_of(topic, job, rule.commands), [rule])


def _test_of(topic: Topic, job: str, commands: Iterable[str]) -> Event:
    from holdfast.model.notification import DRILL, Event, Topic

    command = DRILL if topic is Topic.DRILL else min(commands, default="backup")
    return Event(
        id=secrets.token_hex(16),
        topic=topic,
        command=command,
        job=job,
        host=socket.gethostname(),
        at=now(),
        run_id=secrets.token_hex(16),
        exit_code=NotificationFailed.exit_code if topic is Topic.FAILURE else 0,
        error="this is a test, nothing failed" if topic is Topic.FAILURE else "",
        is_test=True,
    )


# A program of `ExecStopPost=` that takes longer than TimeoutStopSec (90 s unless the unit says
# otherwise) makes its unit fail, also after a good backup.
LONGEST_SECONDS = 80.0

SEND_EXAMPLES = """\
# Send messages that could not be sent before
holdfast notify send

# The same; print the result as JSON
holdfast notify send --json
"""


@commands.command(examples=SEND_EXAMPLES)
def send(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Send waiting messages, and report runs that were killed and jobs that are overdue.

    The units of backups call this when they end, also after a run that was killed, and a timer does
    every hour. A receiver has its whole timeout here. A message that cannot be sent stays, and the
    exit code is 45.
    """
    from holdfast.wiring.notify import notify_context

    session = acting_session_of(context)
    telling = notify_context(session.settings)
    happened = [
        never_ended(each, telling, _said_by_systemd(each)) for each in telling.outbox.never_ended()
    ]
    failed: HoldfastError | None = None
    try:
        happened += _overdue(session, telling)
    except HoldfastError as error:
        # Such as a full disk, which may be what killed the runs: they are told first.
        failed = error
    done = _sent(telling, happened)
    if failed is not None:
        raise failed
    if as_json:
        print_document("notify-send", {"messages": [_document(each) for each in done]})
    elif done:
        _show(session, done)
    else:
        session.say("no message is waiting")
    _end(done)


def _sent(telling: NotifyContext, happened: Iterable[Event]) -> list[Delivery]:
    from holdfast.operations.notify import GRACE_SECONDS, Deliveries, queue

    unkept = [message for event in happened for message in queue(telling, event)]
    deliveries = Deliveries(telling)
    longest = min(deliveries.begin(unkept), LONGEST_SECONDS)
    return deliveries.end(seconds=longest + GRACE_SECONDS)


def _overdue(session: Session, telling: NotifyContext) -> list[Event]:
    """The jobs without a good backup for longer than they may be, each told once."""
    from holdfast.host_state.runs import FileRunHistory
    from holdfast.operations.overdue import overdue

    history = FileRunHistory(session.settings.state_directory / "runs")
    found = {
        name: overdue(history, telling.outbox, name, after=job.overdue_after, now=telling.clock())
        for name, job in session.settings.jobs.items()
        if job.overdue_after is not None
    }
    telling.gauges.show_overdue({name: each is not None for name, each in found.items()})
    new = [each for each in found.values() if each is not None and each.is_new]
    return [_overdue_event(each, telling) for each in new]


def _overdue_event(found: Overdue, telling: NotifyContext) -> Event:
    from holdfast.model.notification import Event, Topic

    since = found.since.isoformat(timespec="seconds")
    return Event(
        id=secrets.token_hex(16),
        topic=Topic.OVERDUE,
        command="backup",
        job=found.job,
        host=socket.gethostname(),
        at=telling.clock(),
        exit_code=JobNeedsAttention.exit_code,
        error=f"this host has made no good backup since {since}",
        hint=f"holdfast status {found.job} shows the last run, systemctl list-timers its timer",
    )


def _said_by_systemd(begun: Begun) -> str:
    """Why the run's unit ended, as systemd tells the programs of ExecStopPost= (systemd.exec(5)).

    Empty for a run of another unit, or of an earlier start of this one.
    """
    if not begun.invocation or begun.invocation != os.environ.get(INVOCATION):
        return ""
    result = os.environ.get("SERVICE_RESULT", "")
    return "" if result in ("", "success") else f"systemd says {result}"


def _show(session: Session, done: Iterable[Delivery]) -> None:
    from holdfast.cli.tables import BAD, GOOD, Coloured, Table, key, number, words

    rows = [
        (
            each.message.receiver,
            each.kind,
            each.message.event.job,
            each.message.event.topic.value,
            Coloured("failed", BAD) if each.problem else Coloured("sent", GOOD),
            f"{each.seconds:.1f}",
            each.problem,
        )
        for each in done
    ]
    columns = (
        key("RECEIVER"),
        words("KIND", drop=2),
        key("JOB"),
        words("EVENT"),
        words("OUTCOME"),
        number("SECONDS", drop=1),
        words("PROBLEM"),
    )
    session.show(Table(columns, rows))


def _document(delivery: Delivery) -> Document:
    return {
        "receiver": delivery.message.receiver,
        "kind": delivery.kind,
        "job": delivery.message.event.job,
        "event": delivery.message.event.topic.value,
        "sent": not delivery.problem,
        "seconds": delivery.seconds,
        "problem": delivery.problem,
    }


def _end(done: Iterable[Delivery]) -> None:
    if any(each.problem for each in done):
        raise typer.Exit(NotificationFailed.exit_code)
