"""Run the hooks of a job around one of its runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import (
    HoldfastError,
    HookRefused,
    Interrupted,
    RepositoryBusy,
    RunInFlight,
    TasksRefused,
    ToolMissing,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.source import Finding
from holdfast.runtime import events
from holdfast.runtime.bounded_call import Called, call
from holdfast.runtime.cleanup import noted_on

if TYPE_CHECKING:
    from holdfast.operations.context import Hook, JobSpec

# A variable of more than 128 KiB is refused by the kernel (MAX_ARG_STRLEN, execve(2)).
MOST_IDS_CHARACTERS = 100_000
# The rest of our environment may hold secrets.
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the run went: its backups, and why it failed."""

    backups: tuple[str, ...] = ()
    error: BaseException | None = None

    @property
    def variables(self) -> dict[str, str]:
        code = 1 if self.error else 0
        if isinstance(self.error, HoldfastError | Interrupted):
            code = self.error.exit_code
        return {
            "HOLDFAST_OUTCOME": "failed" if self.error else "ok",
            "HOLDFAST_EXIT_CODE": str(code),
            "HOLDFAST_ERROR": str(self.error or ""),
            "HOLDFAST_BACKUP_ID": self.backups[-1] if self.backups else "",
            "HOLDFAST_BACKUP_IDS": _newest_of(self.backups),
        }


@dataclass(slots=True, kw_only=True)
class RunHooks:
    """The hooks of one run, each stage at most once; what went wrong after the run is a warning."""

    job: JobSpec
    run_id: str
    warnings: list[str] = field(default_factory=list)
    has_failed: bool = False

    @contextmanager
    def on_error(self) -> Iterator[None]:
        """Run the `failed` hooks if the block fails before the job is locked.

        A run that is skipped runs no hook: another run of the job has hooks of its own.
        """
        try:
            yield
        except (RunInFlight, RepositoryBusy):
            raise
        except BaseException as error:
            with noted_on(error):
                self._after_failure(Ending(error=error))
            raise

    @contextmanager
    def around(self, ending: Callable[[], Ending]) -> Iterator[None]:
        """Run `before`, the block, and then `after` or `failed`; raises `HookRefused`."""
        try:
            self._before()
            yield
            ended = ending()
            if ended.error is None:
                self._each("after", self.job.hooks.after, ended.variables)
        except BaseException as error:
            with noted_on(error):
                self._after_failure(Ending(backups=ending().backups, error=error))
            raise
        self._after_failure(ended)

    def _before(self) -> None:
        for hook in self.job.hooks.before:
            problem = _problem_of(hook, self._environment("before", {}))
            if problem:
                raise HookRefused(
                    f"cannot begin job '{self.job.name}': its hook '{hook.argv[0]}' {problem}",
                    hint="no backup was begun; the log shows what the hook wrote",
                )

    def _after_failure(self, ended: Ending) -> None:
        if self.has_failed or ended.error is None:
            return
        self.has_failed = True
        self._each("failed", self.job.hooks.failed, ended.variables)

    def _each(self, stage: str, hooks: Iterable[Hook], variables: Mapping[str, str]) -> None:
        """Run all of them, also after one that fails: each may undo something of its own."""
        for hook in hooks:
            problem = _problem_of(hook, self._environment(stage, variables))
            if problem:
                events.warning("hook_failed", stage=stage, hook=hook.told, problem=problem)
                self.warnings.append(f"hook '{hook.argv[0]}' ({stage}) {problem}")

    def _environment(self, stage: str, variables: Mapping[str, str]) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        about = {
            "HOLDFAST_HOOK": stage,
            "HOLDFAST_JOB": self.job.name,
            "HOLDFAST_RUN_ID": self.run_id,
            **variables,
        }
        # The kernel takes no null byte; an error may quote one.
        return passed | {name: value.replace("\0", "") for name, value in about.items()}


def _newest_of(backups: Sequence[str]) -> str:
    """The IDs, oldest first; of thousands only the newest that fit into a variable."""
    text = " ".join(backups)
    if len(text) <= MOST_IDS_CHARACTERS:
        return text
    return text[-MOST_IDS_CHARACTERS:].partition(" ")[2]


def _problem_of(hook: Hook, environment: Mapping[str, str]) -> str:
    """Run the hook; why it failed, empty if it did not."""
    try:
        called = call(hook.argv, env=environment, timeout_seconds=hook.timeout.total_seconds())
    except (ToolMissing, TasksRefused) as error:
        return error.message
    except OSError as error:
        return f"cannot be run: {os.strerror(error.errno or 0)}"
    events.info(
        "hook_done",
        stage=environment["HOLDFAST_HOOK"],
        hook=hook.told,
        status=called.status,
        seconds=called.seconds,
        output=called.output,
    )
    return _told(called, hook)


def _told(called: Called, hook: Hook) -> str:
    if not called.in_time:
        return f"was ended after {hook.timeout.total_seconds():g} s"
    if called.status < 0:
        return f"was ended by signal {-called.status}"
    return f"ended with status {called.status}" if called.status else ""


def missing(hooks: Iterable[Hook]) -> list[Finding]:
    """One finding for all hooks; raises `ToolMissing` for a program that this user cannot run."""
    found = list(hooks)
    for hook in found:
        if not Path(hook.argv[0]).is_file() or not os.access(hook.argv[0], os.X_OK):
            raise ToolMissing(
                f"cannot run hook '{hook.told}': '{hook.argv[0]}' is not there, or this user may"
                " not run it",
                hint="install it, correct the path, or chmod a+rx it",
            )
    return [Finding(subject="hooks", detail=f"{len(found)} can be run")] if found else []
