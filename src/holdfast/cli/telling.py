"""Every command passes here, and its start and end are sent to the receivers of `notify`.

This covers each command that `SILENT` does not name, so a new command cannot forget it. It never
fails a command, and delays it by at most a second: unsent messages stay in the outbox.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.cli.parameters import loaded_typer
from holdfast.model.errors import ConfigInvalid, Reported, RepositoryBusy, RunInFlight
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.runtime import events, kernel_calls
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.model.backup import Summary
    from holdfast.model.drill import DrillRecord
    from holdfast.model.notification import Event, Topic
    from holdfast.operations.notify import NotifyContext
    from holdfast.ports.notify import Begun

SILENT = frozenset(
    {
        *(
            "plan",
            "list",
            "show",
            "du",
            "check",
            "status",
            "fleet",
            "restore",
            "repair",
            "snapshot",
        ),
        *("drills", "windows"),
        *("config check", "keys identity", "keys signing"),
        *("session begin", "session join", "session heartbeat", "session end", "session abort"),
        *("session list", "keys public"),
        *("notify test", "notify send"),
        # A server calls them for each segment and again after a failure; `check` reports those.
        *("wal push", "wal get", "wal list"),
    }
)
LINE_CHARACTERS = 2000
SKIPPED = (RunInFlight.exit_code, RepositoryBusy.exit_code)
NEVER_ENDED = 1
# Set by systemd for all programs of one start of a unit, also for those of ExecStopPost=.
INVOCATION, MOST_INVOCATION = "INVOCATION_ID", 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended for one job."""

    job: str
    exit_code: int = 0
    error: str = ""
    hint: str = ""
    backups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, job: str, error: BaseException | None) -> Outcome:
        """The outcome of a command that raised `error`, or that succeeded."""
        if error is None:
            return cls(job=job)
        if isinstance(error, Reported):
            return cls(job=job, exit_code=error.exit_code, error=error.message, hint=error.hint)
        code = _code_of(error)
        if code is not None:
            return cls(job=job, exit_code=code, error=_meaning(code))
        return cls(job=job, exit_code=1, error=f"internal error: {type(error).__name__}")


def _code_of(error: BaseException) -> int | None:
    """The exit code of a command that reported its errors itself."""
    typer = loaded_typer()
    if typer is not None and isinstance(error, typer.Exit):
        return int(error.exit_code)
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else None


def _nothing() -> None:
    """Sends nothing about starts."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What a command reports about itself while it runs.

    `begun` is called once the job is locked. `manifests` are the good backups that it made. A job
    without an outcome here ends as the command does.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    manifests: list[Summary] = field(default_factory=list)
    drills: list[DrillRecord] = field(default_factory=list)
    begun: Callable[[], None] = _nothing
    run_id: str = ""

    def ended(self, job: str, exit_code: int, *, error: str = "") -> None:
        """Add the outcome for one job; without words of its own an error has those of its kind."""
        said = (error or _meaning(exit_code)) if exit_code else ""
        self.outcomes.append(Outcome(job=job, exit_code=exit_code, error=said))


class Caller(Protocol):
    """One call of the program."""

    @property
    def settings(self) -> Settings: ...

    @property
    def told(self) -> Told: ...


@contextmanager
def told(caller: Caller, command: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Send the start and the end of the command in the block."""
    if command in SILENT or arguments.get("dry_run"):
        yield
        return
    telling: Sequence[Telling] = ()
    with _quietly():
        telling = _telling(caller, command, arguments)
    if not telling:
        yield
        return
    (one,) = telling
    with afterwards(one.end):
        try:
            one.begin()
            yield
        except BaseException as error:
            one.cause = error
            raise


def _telling(caller: Caller, command: str, arguments: Mapping[str, Any]) -> list[Telling]:
    """Nothing unless somebody is told about one of the jobs."""
    # The command itself reports a configuration that cannot be used, and then nobody is known.
    try:
        settings = caller.settings
    except ConfigInvalid:
        return []
    named = arguments.get("job") or (arguments.get("backup_id") or "").partition("/")[0]
    jobs = [named] if named in settings.jobs else [] if named else list(settings.jobs)
    from holdfast.wiring import notify as wiring

    if not any(wiring.settings_of(settings, job) for job in jobs):
        return []
    return [Telling(caller.told, wiring.notify_context(settings), command, jobs=jobs)]


@contextmanager
def _quietly() -> Iterator[None]:
    """Log an error of a notification as a warning."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - telling never fails what it tells about
        events.warning("notification_failed", error=_words_of(error))


def _words_of(error: Exception) -> str:
    return error.message if isinstance(error, Reported) else type(error).__name__


class Telling:
    """What one call of a command tells about its jobs, while the block runs and at its end."""

    def __init__(
        self, said: Told, context: NotifyContext, command: str, *, jobs: list[str]
    ) -> None:
        from holdfast.model.notification import LOG_LINES
        from holdfast.operations.notify import Deliveries

        self._said = said
        self._context = context
        self._command = command
        self._jobs = jobs
        self._began = context.clock()
        self._deliveries = Deliveries(context)
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._records = ExitStack()
        self.cause: BaseException | None = None
        self._before: events.Receive = events.JSON_TO_STDERR

    def begin(self) -> None:
        self._said.run_id = kernel_calls.token_hex(16)
        self._said.begun = self._begun
        self._before = events.send_to(self._receive)
        with _quietly():
            self._remember()

    def end(self) -> None:
        """Send the end of the command; an interruption is an end like any other."""
        with afterwards(self._forget), afterwards(events.send_to, self._before), _quietly():
            self._end()

    def _remember(self) -> None:
        """Keep a record of the run while it lasts; an earlier one that never ended is reported."""
        from holdfast.ports.notify import Begun

        for job in self._jobs:
            begun = Begun(
                job=job,
                command=self._command,
                run_id=self._said.run_id,
                at=self._began,
                invocation=os.environ.get(INVOCATION, "")[:MOST_INVOCATION],
            )
            earlier = self._records.enter_context(self._context.outbox.running(begun))
            if earlier is not None:
                self._send([never_ended(earlier, self._context)])

    def _forget(self) -> None:
        with _quietly():
            self._records.close()

    def _receive(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Remember the last events, for receivers that want the log."""
        self._before(level, event, fields)
        if level != "debug":
            said = " ".join(f"{key}={value}" for key, value in fields.items())
            self._log.append(f"{level}: {event} {said}"[:LINE_CHARACTERS])

    def _begun(self) -> None:
        from holdfast.model.notification import Topic

        with _quietly():
            self._send([self._event(Topic.START, Outcome(job=job)) for job in self._jobs])

    def _end(self) -> None:
        from holdfast.operations.notify import GRACE_SECONDS

        typer = loaded_typer()
        if typer and isinstance(self.cause, typer.TyperException | typer.Abort):
            # The command line was wrong: its caller sees the message, and nothing has begun.
            return
        outcomes = {each.job: each for each in self._said.outcomes}
        ended = [outcomes.get(job) or Outcome.of(job, self.cause) for job in self._jobs]
        topics = [(each, _topic_of(each, self._command)) for each in ended]
        self._send([self._event(topic, each) for each, topic in topics if topic is not None])
        self._deliveries.end(seconds=GRACE_SECONDS)

    def _send(self, happened: list[Event]) -> None:
        from holdfast.operations.notify import queue

        unkept = [message for event in happened for message in queue(self._context, event)]
        self._deliveries.begin(unkept)

    def _event(self, topic: Topic, outcome: Outcome) -> Event:
        from holdfast.model.notification import Event, Topic

        now = self._context.clock()
        has_ended = topic is not Topic.START
        return Event(
            id=kernel_calls.token_hex(16),
            topic=topic,
            command=self._command,
            job=outcome.job,
            host=kernel_calls.host_name(),
            at=now,
            run_id=self._said.run_id,
            backups=outcome.backups,
            seconds=round((now - self._began).total_seconds(), 3) if has_ended else None,
            exit_code=outcome.exit_code,
            error=outcome.error,
            hint=outcome.hint,
            warnings=outcome.warnings,
            log=tuple(self._log) if has_ended else (),
        )


def never_ended(begun: Begun, context: NotifyContext, because: str = "") -> Event:
    """The failure of a run whose process ended without a report."""
    from holdfast.model.notification import Event, Topic

    at = begun.at.isoformat(timespec="seconds")
    cause = f": {because}" if because else ": it was killed, or the host went down"
    return Event(
        id=kernel_calls.token_hex(16),
        topic=Topic.FAILURE,
        command=begun.command,
        job=begun.job,
        host=kernel_calls.host_name(),
        at=context.clock(),
        run_id=begun.run_id,
        exit_code=NEVER_ENDED,
        error=f"the run that began at {at} never ended{cause}",
        hint="the journal and the kernel's log of that time say more",
    )


def _topic_of(outcome: Outcome, command: str) -> Topic | None:
    """None for a run that was skipped, and for the end of a stream that was asked to stop."""
    from holdfast.model.notification import STREAM, Topic

    if outcome.exit_code in SKIPPED:
        return None
    if outcome.exit_code:
        return Topic.FAILURE
    if command == STREAM:
        return None
    return Topic.WARNING if outcome.warnings else Topic.SUCCESS


def _meaning(code: int) -> str:
    """The kind of error that has this exit code, in the words of its class."""
    kinds = [*Reported.__subclasses__()]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind.exit_code == code and code > 1:
            return (kind.__doc__ or "").partition("\n")[0]
    return ""
