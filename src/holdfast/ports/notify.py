"""Ports to receivers of notifications, and to the messages that still have to be sent."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import Protocol

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.notification import Event, Topic
from holdfast.model.values import Line, Moment
from holdfast.ports.port import Port


class Receiver(Port):
    """A receiver behind a network that may fail or hang."""

    @property
    @abstractmethod
    def kind(self) -> str: ...

    @property
    @abstractmethod
    def timeout_seconds(self) -> float:
        """How long one `send` may take; the caller stops waiting then."""

    @abstractmethod
    def check(self) -> None:
        """Raise `ConfigInvalid` or `NotificationFailed` if no message could be sent.

        Reads secrets and addresses, and sends nothing.
        """

    @abstractmethod
    def send(self, event: Event) -> None:
        """Send it once; raises `NotificationFailed` with a reason that holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event for one receiver."""

    receiver: Line
    event: Event

    @property
    def is_start(self) -> bool:
        return self.event.topic is Topic.START

    @property
    def name(self) -> str:
        return f"{self.event.at.timestamp():017.6f}-{self.event.id}-{self.receiver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A command that has begun to work on a job.

    `invocation` is what systemd calls this start of its unit; empty outside of a unit.
    """

    job: Line
    command: Line
    run_id: Line
    at: Moment
    invocation: Line = ""


class Outbox(Protocol):
    """Unsent messages, and the memory of earlier ends; survives the process."""

    def add(self, message: Message) -> None:
        """Keep a message until it is removed; the oldest ones make room for it."""
        ...

    def waiting(self) -> list[Message]:
        """All messages, the oldest first; unreadable ones are dropped."""
        ...

    def claimed(self, message: Message) -> AbstractContextManager[bool]:
        """Whether this process alone may send the message while the block runs.

        False where another process sends it now, or has sent it.
        """
        ...

    def remove(self, message: Message) -> None: ...

    def failures_in_a_row(self, job: str, command: str, *, failed: bool) -> int:
        """Count one more end of a command: how many failed in a row up to it."""
        ...

    def noted(self, name: str, number: int, *, replace: bool) -> int | None:
        """Note `number` under `name`, unless one is there that is not to be replaced.

        Returns what was noted before.
        """
        ...

    def count_unsent(self, receiver: str) -> dict[str, int]:
        """Count one more message that could not be sent; the totals by receiver."""
        ...

    def running(self, begun: Begun) -> AbstractContextManager[Begun | None]:
        """Remember the run while the block runs; yields an earlier one that never ended."""
        ...

    def never_ended(self) -> list[Begun]:
        """The runs whose process is gone without an end; each is returned once."""
        ...
