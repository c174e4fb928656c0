"""Notify the receivers of a job: messages are stored until they are sent, and block no run.

A message is written into the outbox before anything is sent. So a receiver that fails or hangs, and
a host that loses its power, only delay it: waiting messages are sent with the next event.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.model.errors import HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.notification import Event, Rule, Topic, told_safely
from holdfast.ports.notify import Message, Outbox, Receiver
from holdfast.runtime import events
from holdfast.runtime.kernel import start

if TYPE_CHECKING:
    from holdfast.ports.host_state import Gauges
    from holdfast.ports.run import Clock

# The longest delay of a run by a receiver that hangs.
GRACE_SECONDS = 1.0
KEPT_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyContext:
    """The dependencies of notifications.

    `rules` are those of a job, `receiver` the one of that name that a job has (None if it has none
    any more); building it may raise, as its secret may be missing.
    """

    rules: Callable[[str], Sequence[Rule]]
    receiver: Callable[[str, str], Receiver | None]
    outbox: Outbox
    gauges: Gauges
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The result of one message; `problem` is empty if it was sent."""

    message: Message
    kind: str = ""
    problem: str = ""
    seconds: float = 0.0


def queue(context: NotifyContext, event: Event) -> list[Message]:
    """Put `event` into the outbox, once for each receiver that wants it.

    Returns the messages that could not be kept there: a full disk is something to tell, too.
    """
    unkept: list[Message] = []
    for message in addressed(_counted(context, event), context.rules(event.job)):
        try:
            context.outbox.add(message)
        except HoldfastError as error:
            events.warning("notification_not_kept", receiver=message.receiver, error=error.message)
            unkept.append(message)
    return unkept


def _counted(context: NotifyContext, event: Event) -> Event:
    """The event with the number of failures in a row, 0 where that is unknown."""
    in_a_row = 0
    try:
        if event.topic is not Topic.START:
            _forget_start(context.outbox, event)
        if event.topic not in (Topic.START, Topic.OVERDUE) and not event.is_test:
            is_failure = event.topic is Topic.FAILURE
            in_a_row = context.outbox.failures_in_a_row(event.job, event.command, failed=is_failure)
    except HoldfastError as error:
        events.warning("notification_not_counted", job=event.job, error=error.message)
    return told_safely(replace(event, in_a_row=in_a_row))


def addressed(event: Event, rules: Iterable[Rule]) -> list[Message]:
    """The messages for the receivers that want the event."""
    return [
        Message(receiver=rule.receiver, event=rule.addressed(event))
        for rule in rules
        if rule.wants(event)
    ]


def _forget_start(outbox: Outbox, event: Event) -> None:
    """Remove the start of a run that has ended: sent later, it would look like another start."""
    for message in outbox.waiting():
        if message.event.topic is Topic.START and message.event.run_id == event.run_id:
            outbox.remove(message)


class Deliveries:
    """Sends what waits, each receiver in its own thread; nobody has to wait for the end.

    One receiver gets its messages one after the other, also those of a later `begin`: a start that
    arrives after its end would look like another start.
    """

    def __init__(self, context: NotifyContext) -> None:
        self._context = context
        self._unkept: list[Message] = []
        self._unkept_seconds = 0.0
        self._threads: list[_Sending] = []
        self._last: dict[Receiver, _Sending] = {}

    def begin(self, unkept: Sequence[Message] = ()) -> float:
        """Send what waits now, and what the outbox could not keep; returns how long it may take."""
        longest = 0.0
        self._unkept += unkept
        for receiver, messages in self._waiting(unkept).items():
            thread = _Sending(receiver, messages, self._claimed, after=self._last.get(receiver))
            longest = max(longest, receiver.timeout_seconds * len(messages))
            ends = [each for each in unkept if each in messages and not each.is_start]
            self._unkept_seconds = max(self._unkept_seconds, receiver.timeout_seconds * len(ends))
            self._threads.append(thread)
            self._last[receiver] = thread
            start(thread)
        return longest

    def end(self, *, seconds: float) -> list[Delivery]:
        """Wait at most that long; what is not sent by then stays in the outbox.

        What the outbox could not keep is waited for as long as its receiver may take: nobody could
        send it later.
        """
        seconds = max(seconds, self._unkept_seconds)
        done = _ended(self._threads, seconds=seconds, unkept=self._unkept)
        for each in done:
            _tell(self._context, each)
        return done

    def _waiting(self, unkept: Sequence[Message]) -> Mapping[Receiver, list[Message]]:
        """What to send to each receiver, the oldest first; what is outdated is removed."""
        found: dict[Receiver, list[Message]] = {}
        oldest = self._context.clock() - KEPT_FOR
        for message in [*self._kept(), *unkept]:
            receiver = self._context.receiver(message.event.job, message.receiver)
            if receiver is None or message.event.at < oldest:
                self._context.outbox.remove(message)
            else:
                found.setdefault(receiver, []).append(message)
        return found

    def _kept(self) -> list[Message]:
        try:
            return self._context.outbox.waiting()
        except HoldfastError as error:
            events.warning("notifications_not_read", error=error.message)
            return []

    def _claimed(self, receiver: Receiver, message: Message) -> Delivery | None:
        """Send the message unless another process does; None where that has it."""
        if message in self._unkept:
            return sent(receiver, message)
        try:
            with self._context.outbox.claimed(message) as is_ours:
                if not is_ours:
                    return None
                delivery = sent(receiver, message)
                if not delivery.problem:
                    self._context.outbox.remove(message)
                return delivery
        except HoldfastError as error:
            # In this thread nobody else would tell it.
            return Delivery(message=message, kind=receiver.kind, problem=error.message)


class _Sending(threading.Thread):
    """Sends the messages of one receiver; unless `goes_on`, until one of them cannot be sent.

    It begins when the thread `after` has ended.
    """

    def __init__(
        self,
        receiver: Receiver,
        messages: Sequence[Message],
        send: Callable[[Receiver, Message], Delivery | None],
        *,
        after: threading.Thread | None = None,
        goes_on: bool = False,
    ) -> None:
        # A daemon: the process may end although a receiver hangs.
        super().__init__(name="notification", daemon=True)
        self.receiver = receiver
        self.done: list[Delivery] = []
        self.sending: Message | None = None
        self._messages = messages
        self._send = send
        self._after = after
        self._goes_on = goes_on

    def run(self) -> None:
        if self._after is not None:
            self._after.join()
        for message in self._messages:
            self.sending = message
            delivery = self._send(self.receiver, message)
            self.done += [delivery] if delivery is not None else []
            self.sending = None
            if delivery is not None and delivery.problem and not self._goes_on:
                return


def _ended(
    threads: Sequence[_Sending], *, seconds: float, unkept: Sequence[Message] = ()
) -> list[Delivery]:
    """What the threads have sent, and what hangs after `seconds`."""
    ends = time.monotonic() + seconds
    found: list[Delivery] = []
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
        hanging = thread.sending if thread.is_alive() else None
        found += thread.done
        if hanging is not None:
            then = (
                "it could not be kept for later" if hanging in unkept else "it is sent again later"
            )
            waited = f"cannot notify '{hanging.receiver}': no answer yet; {then}"
            kind = thread.receiver.kind
            found.append(Delivery(message=hanging, kind=kind, problem=waited, seconds=seconds))
    return found


def sent_tests(context: NotifyContext, messages: Iterable[Message]) -> list[Delivery]:
    """Send each test message once, to all receivers at a time; the outbox is not used."""
    by_receiver: dict[Receiver, list[Message]] = {}
    found: list[Delivery] = []
    for message in messages:
        try:
            receiver = context.receiver(message.event.job, message.receiver)
        except HoldfastError as error:
            found.append(Delivery(message=message, problem=error.message))
        else:
            if receiver is not None:
                by_receiver.setdefault(receiver, []).append(message)
    threads = [
        _Sending(receiver, each, sent, goes_on=True) for receiver, each in by_receiver.items()
    ]
    for thread in threads:
        start(thread)
    longest = max(
        (each.timeout_seconds * len(by_receiver[each]) for each in by_receiver), default=0
    )
    return found + _ended(threads, seconds=longest + GRACE_SECONDS)


def sent(receiver: Receiver, message: Message) -> Delivery:
    """Send one message; a failure is a result, whatever a library raises."""
    began, problem = time.monotonic(), ""
    try:
        receiver.send(message.event)
    except HoldfastError as error:
        problem = error.message
    except Exception as error:  # noqa: BLE001 - never in the way of a run; it is told
        problem = f"cannot notify '{message.receiver}': {type(error).__name__}"
    seconds = round(time.monotonic() - began, 3)
    return Delivery(message=message, kind=receiver.kind, problem=problem, seconds=seconds)


def _tell(context: NotifyContext, delivery: Delivery) -> None:
    event, receiver = delivery.message.event, delivery.message.receiver
    fields = {"receiver": receiver, "job": event.job, "topic": event.topic.value}
    if not delivery.problem:
        events.info("notification_sent", **fields, seconds=delivery.seconds)
        return
    events.warning("notification_failed", **fields, error=delivery.problem)
    try:
        totals = context.outbox.count_unsent(receiver)
    except HoldfastError as error:
        events.warning("notification_not_counted", receiver=receiver, error=error.message)
    else:
        context.gauges.show_notifications(totals)
