"""Notifications about the runs of a job, and who receives which: values and pure decisions."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from holdfast.model.checked import Length
from holdfast.model.lazy_dataclass import dataclass, replace
from holdfast.model.redaction import sanitized
from holdfast.model.units import counted
from holdfast.model.values import Count, Line, Moment, Number

SCHEMA = "holdfast.event/1"
LOG_LINES = 50
BACKUPS, WARNINGS = 100, 20
STREAM = "wal receive"
DRILL = "drill"


class Topic(StrEnum):
    """What a receiver may ask for."""

    START = "start"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    DRILL = "drill"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a job. Its texts hold no secret, no row and no statement.

    `in_a_row` counts failures of this command and job up to this one.
    """

    id: Line
    topic: Topic
    command: Line
    job: Line
    host: Line
    at: Moment
    run_id: Line = ""
    backups: Annotated[tuple[Line, ...], Length(at_most=BACKUPS)] = ()
    seconds: Number | None = None
    exit_code: Count = 0
    error: Line = ""
    hint: Line = ""
    warnings: Annotated[tuple[Line, ...], Length(at_most=WARNINGS)] = ()
    in_a_row: Count = 0
    log: Annotated[tuple[Line, ...], Length(at_most=LOG_LINES)] = ()
    is_test: bool = False

    @property
    def topics(self) -> frozenset[Topic]:
        """A drill is sent to receivers of drills, and its failure to receivers of failures too."""
        drilled = self.command == DRILL and self.topic is not Topic.START
        return frozenset({self.topic, Topic.DRILL} if drilled else {self.topic})

    @property
    def title(self) -> str:
        ended = {
            Topic.START: "has begun",
            Topic.SUCCESS: "succeeded",
            Topic.WARNING: "succeeded with a warning",
            Topic.FAILURE: "failed",
            Topic.DRILL: "succeeded",
            Topic.OVERDUE: "is overdue",
        }[self.topic]
        test = "[test] " if self.is_test else ""
        return f"{test}holdfast: {self.command} of '{self.job}' {ended} on {self.host}"

    @property
    def text(self) -> str:
        """The event for people, one fact a line."""
        again = f"{counted(self.in_a_row, 'failure')} in a row" if self.in_a_row > 1 else ""
        facts = (
            ("error", self.error),
            ("hint", self.hint),
            ("exit code", str(self.exit_code) if self.exit_code else ""),
            ("", again),
            *(("warning", each) for each in self.warnings),
            *(("backup", each) for each in self.backups),
            ("seconds", "" if self.seconds is None else f"{self.seconds:g}"),
            ("at", self.at.isoformat(timespec="seconds")),
            ("run", self.run_id),
            *(("log", each) for each in self.log),
        )
        lines = [f"{name}: {value}" if name else value for name, value in facts if value]
        return "\n".join([self.title, "", *lines])

    @property
    def document(self) -> dict[str, Any]:
        """The event for programs; docs/json.md describes every field."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "event": self.topic.value,
            "test": self.is_test,
            "command": self.command,
            "job": self.job,
            "host": self.host,
            "at": self.at.isoformat(timespec="seconds"),
            "run_id": self.run_id,
            "backups": list(self.backups),
            "seconds": self.seconds,
            "exit_code": self.exit_code,
            "error": self.error,
            "hint": self.hint,
            "warnings": list(self.warnings),
            "failures_in_a_row": self.in_a_row,
            "log": list(self.log),
        }


def told_safely(event: Event) -> Event:
    """The event with each of its texts sanitized and bounded."""
    return replace(
        event,
        error=sanitized(event.error),
        hint=sanitized(event.hint),
        backups=event.backups[:BACKUPS],
        warnings=tuple(sanitized(each) for each in event.warnings[:WARNINGS]),
        log=tuple(sanitized(each) for each in event.log[-LOG_LINES:]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The events that one receiver gets.

    `commands` limits the commands whose start and end it gets; empty means all of them.
    """

    receiver: str
    on: frozenset[Topic]
    after: int = 1
    commands: frozenset[str] = frozenset()
    include_log: bool = False

    def wants(self, event: Event) -> bool:
        wanted = self.on & event.topics
        if event.topic is Topic.FAILURE and not self._is_due(event):
            return False
        # A receiver that asks for drills gets them, whatever its commands are.
        if wanted <= {Topic.DRILL, Topic.OVERDUE}:
            return bool(wanted)
        return not self.commands or event.command in self.commands

    def addressed(self, event: Event) -> Event:
        """The event as this receiver may see it."""
        return event if self.include_log else replace(event, log=())

    def _is_due(self, event: Event) -> bool:
        if event.is_test or not event.in_a_row:
            return True
        beyond = event.in_a_row - self.after
        if beyond < 0:
            return False
        # systemd starts a stream again every few seconds, and nobody wants as many mails: its first
        # failure is told, then the second, the fourth, the eighth.
        steps = beyond + 1
        return event.command != STREAM or steps & (steps - 1) == 0
