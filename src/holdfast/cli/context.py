"""What commands share: the settings, stdout, and common options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

from holdfast.cli import completion
from holdfast.cli.leave_status import status_left
from holdfast.cli.parameters import Argument, Option
from holdfast.cli.telling import Told, told
from holdfast.model.errors import BackupNotFound, HoldfastError, UnknownJob
from holdfast.runtime import streams

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.cli.tables import Table
    from holdfast.config.settings import Settings
    from holdfast.model.backup import Manifest
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository

Found = TypeVar("Found")
Value = TypeVar("Value")
Command = Callable[..., None]


class Caller(Protocol):
    """What each command gets first: the context of typer, or of `program`."""

    obj: Any


def size_option(text: str | int) -> int:
    """`256MiB` or `1GB` as bytes."""
    from holdfast.config.values import parse_size  # only where the option is used

    return _parsed(parse_size, text)


def duration_option(text: str | timedelta) -> timedelta:
    """`30m` or `1h30m` as a time span."""
    if isinstance(text, timedelta):
        return text
    from holdfast.config.values import parse_duration

    return _parsed(parse_duration, text)


def _parsed(parse: Callable[[object], Value], text: object) -> Value:
    from holdfast.model.checked import Mistake

    try:
        return parse(text)
    except Mistake as error:
        import typer  # only for a mistake

        raise typer.BadParameter(f"{error.what}: {error.hint}") from error


JsonOption = Annotated[
    bool, Option("--json", help="Print one JSON document (docs/json.md) instead of text.")
]
BackupId = Annotated[
    str,
    Argument(
        help="JOB/20261120T020000Z-1a2b3c4d or JOB/latest.",
        metavar="BACKUP_ID",
        autocompletion=completion.backups,
    ),
]
Database = Annotated[
    str,
    Option("--database", metavar="NAME", help="The database for JOB/latest, if JOB has several."),
]
Identity = Annotated[
    Path | None,
    Option(
        "--identity",
        metavar="FILE",
        readable=False,
        help="The identity that opens an encrypted backup. Default: HOLDFAST_IDENTITY_FILE, or the"
        " credential holdfast-identity.",
    ),
]
JobName = Annotated[
    str,
    Argument(help="A job of the configuration.", metavar="JOB", autocompletion=completion.jobs),
]
SomeJob = Annotated[
    str | None,
    Argument(
        help="A job of the configuration. Default: all jobs.",
        metavar="JOB",
        autocompletion=completion.jobs,
    ),
]
ChunkSize = Annotated[
    int | None,
    Option(
        "--chunk-size",
        metavar="SIZE",
        parser=size_option,
        help="Split tables larger than this (256MiB, 1GiB) instead of the configured size.",
    ),
]
DryRun = Annotated[bool, Option("--dry-run", help="Only show what would be removed, and why.")]


class Session:
    """One call of the program; the settings and everything else are built on demand.

    The imports inside are the heavy half of the program. `holdfast --help` works without them.
    """

    def __init__(self, config: Path, *, chosen_repository: str = "") -> None:
        self.config = config
        self.chosen_repository = chosen_repository
        self.told = Told()

    def within(self, repository: str) -> Session:
        """The same call with another repository."""
        found = Session(self.config, chosen_repository=repository)
        found.told = self.told
        return found

    @cached_property
    def settings(self) -> Settings:
        from holdfast.config.load import load

        return load(self.config)

    @contextmanager
    def telling(self, command: str, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Tell receivers and repositories of the command's jobs how the block ends."""
        with status_left(self, command, arguments), told(self, command, arguments):
            yield

    def jobs(self, chosen: str | None) -> list[str]:
        """The chosen job, or all jobs; raises `UnknownJob`."""
        from holdfast.wiring import repositories as wiring

        if chosen is None:
            return list(self.settings.jobs)
        wiring.job_settings(self.settings, chosen)
        return [chosen]

    def repository(self, job: str) -> Repository:
        from holdfast.wiring import reading

        return reading.repository_of(self.settings, job, chosen=self.chosen_repository)

    def manifest(self, backup_id: str, database: str) -> Manifest:
        """The manifest of `JOB/NAME` or `JOB/latest`; raises `BackupNotFound`."""
        from holdfast.catalog.catalog import LATEST, Catalog

        job, _, name = backup_id.partition("/")
        try:
            repository = self.repository(job)
            return Catalog(repository).find(self.named(backup_id, database), database=database)
        except BackupNotFound as error:
            # A job that is no longer configured may have backups; one that never was has none.
            if name == LATEST and job not in self.settings.jobs:
                raise UnknownJob(
                    f"cannot find job '{job}': it is not configured, and has no backup",
                    hint="holdfast status lists the jobs",
                ) from error
            raise

    def named(self, backup_id: str, database: str) -> str:
        """Resolve `JOB/latest` to its name without reading every manifest.

        Raises `BackupNotFound`.
        """
        from holdfast.catalog.catalog import LATEST, newest_of
        from holdfast.model.backup import JOB_NAME

        job, _, name = backup_id.partition("/")
        if name != LATEST or not JOB_NAME.fullmatch(job):
            return backup_id
        from holdfast.wiring import reading

        summaries = (
            reading.index_of(self.settings, job, chosen=self.chosen_repository)
            .overview(job)
            .summaries
        )
        return newest_of(summaries, job, database).backup_id

    def repositories(self, job: str | None) -> list[str]:
        """The name of the repository of `job`, or of all repositories."""
        from holdfast.wiring import repositories as wiring

        if job is None and not self.chosen_repository:
            return list(self.settings.repositories)
        return [wiring.store_name(self.settings, job or "", chosen=self.chosen_repository)]

    def of_each_repository(
        self, job: str | None, look: Callable[[str], Found]
    ) -> tuple[dict[str, Found], dict[str, HoldfastError]]:
        """What `look` finds in each repository by name, and the errors of those it cannot read.

        If there is only one repository, its error is raised.
        """
        return _each(self.repositories(job), look)

    def require_known(self, job: str | None, *, holds_something: bool) -> None:
        """Raise `UnknownJob` if JOB is not configured and has nothing stored either.

        Backups outlive their job's configuration: a job with any of them is known.
        """
        from holdfast.wiring import repositories as wiring

        if job is not None and not holds_something:
            wiring.job_settings(self.settings, job)

    def of_each_job(
        self, job: str | None, work: Callable[[str], Found]
    ) -> tuple[list[Found], dict[str, HoldfastError]]:
        """The results of `work` for JOB or every job, and the errors of jobs for which it failed.

        An error in one job does not stop the others. If there is only one job, its error is raised.
        """
        found, errors = _each(self.jobs(job), work)
        return list(found.values()), errors

    def tell_failed(self, errors: Mapping[str, HoldfastError]) -> None:
        """Say for which jobs the command failed, and why."""
        for name, error in errors.items():
            self.say(f"{name}: {error.message}")
            if error.hint:
                self.say(f"  hint: {error.hint}")

    def tell_unseen(self, errors: Mapping[str, HoldfastError]) -> None:
        """Say which repositories could not be read, and why."""
        for name, error in errors.items():
            self.say(f"not read: repository '{name}': {error.message}")
            if error.hint:
                self.say(f"hint: {error.hint}")

    def reading_slots(self, job: str) -> int:
        from holdfast.wiring import limits

        return limits.reading_budget(self.settings, job).slots

    def identities(self, file: Path | None) -> Identities | None:
        from holdfast.wiring import keys

        return keys.identities_from(file)

    @cached_property
    def console(self) -> Console:
        from holdfast.cli.tables import console_on

        return console_on(sys.stdout)

    def say(self, line: str, style: str = "") -> None:
        text = streams.folded(streams.printable(line), sys.stdout)
        self._print([text], style)

    def _print(self, lines: Sequence[str], style: str = "") -> None:
        from holdfast.cli.tables import is_plain

        if is_plain(sys.stdout):
            sys.stdout.writelines(f"{line}\n" for line in lines)
            return
        for line in lines:
            self.console.print(line, style=style or None)

    def tell(self, facts: Sequence[tuple[str, str]]) -> None:
        """Print one line per fact, its name in front."""
        from holdfast.cli.tables import facts_in

        self._print(facts_in(facts, self.console.width if sys.stdout.isatty() else None))

    def show(self, table: Table) -> None:
        from holdfast.cli.tables import PIPE_COLUMNS, is_plain

        plain = is_plain(sys.stdout)
        width = PIPE_COLUMNS if plain else self.console.width
        fitting, hidden = table.fitted(width)
        lines = fitting.as_lines(width) if plain else None
        if lines is not None:
            self._print(lines)
        else:
            self.console.print(fitting.as_rich(width), soft_wrap=False)
        if hidden:
            self.say(f"not shown at {width} columns: {', '.join(hidden)}", "dim")


def _each(
    names: Sequence[str], work: Callable[[str], Found]
) -> tuple[dict[str, Found], dict[str, HoldfastError]]:
    found: dict[str, Found] = {}
    errors: dict[str, HoldfastError] = {}
    for name in names:
        try:
            found[name] = work(name)
        except HoldfastError as error:
            if len(names) == 1:
                raise
            errors[name] = error
    return found, errors


def session_of(context: Caller) -> Session:
    session = context.obj
    if not isinstance(session, Session):
        raise TypeError("a command was called without its session")
    return session


def acting_session_of(context: Caller) -> Session:
    """The session of a command that is called for its effect: its text output is extra."""
    streams.code_is_the_answer()
    return session_of(context)


def print_document(command: str, content: dict[str, Any]) -> None:
    """Print the one JSON document of a call; its schema names the version of its fields."""
    streams.output_is_the_answer()
    document = {"schema": f"holdfast.{command}/1", **content}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.write(streams.printable_json(text) + "\n")


def print_rows(command: str, content: dict[str, Any], **rows: Iterable[dict[str, Any]]) -> None:
    """As `print_document`, with one list more at its end: one row at a time is in memory."""
    ((key, found),) = rows.items()
    streams.output_is_the_answer()
    document = {"schema": f"holdfast.{command}/1", **content, key: []}
    beginning = json.dumps(document, indent=2, ensure_ascii=False).removesuffix("]\n}")
    sys.stdout.write(streams.printable_json(beginning))
    separator = ending = ""
    for row in found:
        # A line break within a text is escaped: all others are between two lines.
        text = json.dumps([row], indent=2, ensure_ascii=False)[1:-2].replace("\n", "\n  ")
        sys.stdout.write(separator + streams.printable_json(text))
        separator, ending = ",", "\n  "
    sys.stdout.write(f"{ending}]\n}}\n")


def end_unseen(unseen: Mapping[str, HoldfastError]) -> None:
    first = next(iter(unseen.values()), None)
    if first is not None:
        raise SystemExit(first.exit_code)


def grouped(build: Callable[..., Any], *, name: str) -> Callable[[Command], Command]:
    """Add the options of `build` to a command, which receives the built value as `name`."""

    import inspect  # not for commands without such options, which a server calls

    def decorated(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        options = inspect.signature(build, eval_str=True).parameters

        @wraps(command)
        def called(**arguments: Any) -> None:
            said = {each: arguments.pop(each) for each in options}
            command(**arguments, **{name: build(**said)})

        parameters = [each for each in own.parameters.values() if each.name != name]
        parameters += options.values()
        called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # known to inspect only
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorated
