"""The frame of a command that tidies up after one job, or after every job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import typer

from holdfast.cli.context import Session, acting_session_of, print_document
from holdfast.cli.documents import Document, of_failed_jobs


class JobReport(Protocol):
    """What was done for one job."""

    @property
    def exit_code(self) -> int: ...


Report = TypeVar("Report", bound=JobReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class EachJob(Generic[Report]):
    """A command that does something for each job, and tells of all of them at the end.

    `run` does it, or only says what it would do where it is to be a dry run; `show` and `document`
    tell what came of it.
    """

    command: str
    run: Callable[[Session, str, bool], Report]
    show: Callable[[Session, Report], None]
    document: Callable[[Report], Document]

    def __call__(
        self, context: typer.Context, job: str | None, *, dry_run: bool, as_json: bool
    ) -> None:
        """What is wrong with one job is no reason to leave the others, and is told.

        The exit code is that of the first thing that went wrong: a job that could not be done at
        all comes before others.
        """
        session = acting_session_of(context)
        reports, errors = session.of_each_job(job, lambda name: self.run(session, name, dry_run))
        if as_json:
            jobs = [self.document(report) for report in reports]
            content = {"dry_run": dry_run, "jobs": jobs} | of_failed_jobs(errors)
            print_document(self.command, content)
        else:
            for report in reports:
                self.show(session, report)
            session.tell_failed(errors)
        codes = [
            *(error.exit_code for error in errors.values()),
            *(each.exit_code for each in reports),
        ]
        exit_code = next((code for code in codes if code), 0)
        if exit_code:
            raise typer.Exit(exit_code)
