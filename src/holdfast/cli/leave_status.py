"""After each backup, verify, drill and prune, leave the state of the job in its repositories.

So any machine that may read a repository sees all hosts that write to it (`holdfast fleet`). It
never fails a command, and delays it by a bounded time only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from holdfast.cli.parameters import loaded_typer
from holdfast.cli.telling import SKIPPED, Caller, Outcome
from holdfast.model.errors import ConfigInvalid, DrillFailed, Interrupted, Reported, VerifyFailed
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.clock import now

# As in `model.host_status`, which most calls of the program do not need.
COMMANDS = frozenset({"backup", "verify", "drill", "prune"})
# The longest delay of a command by a store that hangs, and of one that somebody ended.
GRACE_SECONDS, INTERRUPTED_SECONDS = 10.0, 3.0
# What is told about the backups of another host: how they are, not that nobody could read them.
FOUND = (0, VerifyFailed.exit_code, DrillFailed.exit_code)


class StatusCaller(Caller, Protocol):
    """One call of the program."""

    @property
    def chosen_repository(self) -> str: ...


@contextmanager
def status_left(caller: StatusCaller, command: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Leave the status of each job of the command in the block, however the block ends."""
    if command not in COMMANDS or arguments.get("dry_run"):
        yield
        return
    named = arguments.get("job") or (arguments.get("backup_id") or "").partition("/")[0]
    leaving = _Leaving(caller, command, named=named)
    with afterwards(leaving.end):
        try:
            yield
        except BaseException as error:
            leaving.cause = error
            raise


class _Leaving:
    """What one call of a command leaves of the job that it named, or of all jobs."""

    def __init__(self, caller: StatusCaller, command: str, *, named: str) -> None:
        self._caller = caller
        self._command = command
        self._named = named
        self._began = now()
        self.cause: BaseException | None = None

    def end(self) -> None:
        """A wrong command line is no end: nothing has begun."""
        typer = loaded_typer()
        if typer and isinstance(self.cause, typer.TyperException | typer.Abort):
            return
        try:
            self._end()
        except Exception as error:  # noqa: BLE001 - a status never fails what it is about
            if isinstance(error, ConfigInvalid) and isinstance(self.cause, ConfigInvalid):
                # The command tells that itself: no repository is known.
                return
            told = error.message if isinstance(error, Reported) else type(error).__name__
            events.warning("host_status_not_left", error=told)

    def _end(self) -> None:
        from holdfast.model.host_status import Act
        from holdfast.wiring.fleet import happened, leaving_context

        settings, told = self._caller.settings, self._caller.told
        outcomes = {each.job: each for each in told.outcomes}
        for job in [self._named] if self._named else list(settings.jobs):
            outcome = outcomes.get(job) or Outcome.of(job, self.cause)
            if job not in settings.jobs and outcome.exit_code not in FOUND:
                continue
            context = leaving_context(settings, job, chosen=self._caller.chosen_repository)
            ended = happened(
                Act(
                    command=self._command,
                    outcome=_ending(outcome),
                    began=self._began,
                    ended=now(),
                    exit_code=outcome.exit_code,
                    error=outcome.error,
                    hint=outcome.hint,
                ),
                [each for each in told.manifests if each.job == job],
                [each for each in told.drills if each.job == job],
            )
            if not context.leave(ended, seconds=self._patience):
                # A store that does not answer must not cost this time for each job.
                return

    @property
    def _patience(self) -> float:
        is_urgent = isinstance(self.cause, Interrupted)
        return INTERRUPTED_SECONDS if is_urgent else GRACE_SECONDS


def _ending(outcome: Outcome) -> Literal["ok", "warning", "failed", "skipped"]:
    if outcome.exit_code in SKIPPED:
        return "skipped"
    if outcome.exit_code:
        return "failed"
    return "warning" if outcome.warnings else "ok"
