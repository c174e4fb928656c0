"""`holdfast check`."""

from __future__ import annotations

import typer

from holdfast.cli.context import JsonOption, Session, SomeJob, acting_session_of, print_document
from holdfast.cli.documents import Document
from holdfast.cli.tables import BAD, GOOD, Coloured, Table, key, words
from holdfast.model.errors import HoldfastError
from holdfast.operations.status import CheckReport, check as check_job
from holdfast.ports.source import Finding

EXAMPLES = """\
# Test every job
holdfast check

# Test one job; print the result as JSON
holdfast check shop --json
"""


def check(context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False) -> None:
    """Test everything that a backup of JOB (or of every job) needs, and leave nothing behind.

    Configuration, repository, login, grants, programs, space: every problem is shown with its
    remedy. The exit code is that of the first problem.
    """
    session = acting_session_of(context)
    reports = [_checked(session, name) for name in session.jobs(job)]
    exit_code = next((report.exit_code for report in reports if report.exit_code), 0)
    if as_json:
        jobs = [_document(report) for report in reports]
        print_document("check", {"exit_code": exit_code, "jobs": jobs})
    else:
        rows = [
            (report.job, found.subject, _result(found), _said(found))
            for report in reports
            for found in report.findings
        ]
        columns = (key("JOB"), words("SUBJECT"), words("RESULT"), words("DETAIL"))
        session.show(Table(columns, rows))
    if exit_code:
        raise typer.Exit(exit_code)


def _checked(session: Session, job: str) -> CheckReport:
    """A job that cannot even be built must not hide the problems of the others."""
    from holdfast.wiring.jobs import check_context

    try:
        to_check = check_context(session.settings, job, chosen=session.chosen_repository)
    except HoldfastError as error:
        found = Finding(subject="config", detail="", problem=error.message, hint=error.hint)
        return CheckReport(job=job, findings=(found,), exit_code=error.exit_code)
    report = check_job(to_check)
    usable = Finding(subject="config", detail=f"'{session.config}' can be used")
    return CheckReport(job=job, findings=(usable, *report.findings), exit_code=report.exit_code)


def _result(found: Finding) -> Coloured:
    return Coloured("problem", BAD) if found.problem else Coloured("ok", GOOD)


def _said(found: Finding) -> str:
    said = found.problem or found.detail
    return f"{said}\nhint: {found.hint}" if found.hint else said


def _document(report: CheckReport) -> Document:
    return {
        "job": report.job,
        "exit_code": report.exit_code,
        "findings": [
            {
                "subject": finding.subject,
                "detail": finding.detail,
                "problem": finding.problem,
                "hint": finding.hint,
            }
            for finding in report.findings
        ],
    }
