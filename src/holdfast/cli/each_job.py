"""The frame of commands that clean up after one job, or after every job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import typer

from holdfast.cli.context import Session, acting_session_of, print_document
from holdfast.cli.documents import Document, of_failed_jobs
from holdfast.cli.telling import Outcome
from holdfast.model.lazy_dataclass import dataclass


class JobReport(Protocol):
    """The result for one job."""

    @property
    def exit_code(self) -> int: ...


Report = TypeVar("Report", bound=JobReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class EachJob(Generic[Report]):
    """A command that acts on each job and reports on all of them at the end.

    `run` acts, or with a dry run only says what it would do; `show` and `document` present the
    result.
    """

    command: str
    run: Callable[[Session, str, bool], Report]
    show: Callable[[Session, Report], None]
    document: Callable[[Report], Document]

    def __call__(
        self, context: typer.Context, job: str | None, *, dry_run: bool, as_json: bool
    ) -> None:
        """Run the command for JOB or every job; an error in one job does not stop the others.

        The exit code is that of the first error. Jobs that failed entirely come before the others.
        """
        session = acting_session_of(context)
        reports, errors = session.of_each_job(job, lambda name: self._run(session, name, dry_run))
        session.told.outcomes += [Outcome.of(name, error) for name, error in errors.items()]
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

    def _run(self, session: Session, job: str, dry_run: bool) -> Report:  # noqa: FBT001 - as `run` has it
        report = self.run(session, job, dry_run)
        session.told.ended(job, report.exit_code)
        return report
