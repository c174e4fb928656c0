"""Everything that can be said about a configuration without running a job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.config.authorities import require_authorities
from holdfast.config.document import parse
from holdfast.config.load import load
from holdfast.config.problems import Problem, invalid
from holdfast.config.settings import Settings
from holdfast.runtime.process import ChildFailed, output_of

SYSTEMD_ANALYZE = "systemd-analyze"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A configuration that can be used, and what could not be looked at here."""

    path: Path
    settings: Settings
    notes: tuple[str, ...]


def check_file(path: Path) -> CheckedFile:
    """Load `path` and ask systemd about its schedules; raises `ConfigInvalid`."""
    settings = load(path)
    for store in settings.repositories.values():
        if (named := getattr(store, "ca_file", None)) is not None:
            require_authorities(named)
    if shutil.which(SYSTEMD_ANALYZE) is None:
        note = f"schedules were not checked: there is no {SYSTEMD_ANALYZE} here"
        return CheckedFile(path=path, settings=settings, notes=(note,))
    problems = list(_wrong_schedules(path, settings))
    if problems:
        raise invalid(path, problems)
    return CheckedFile(path=path, settings=settings, notes=())


def _wrong_schedules(path: Path, settings: Settings) -> Iterator[Problem]:
    lines = parse(path.read_text(encoding="utf-8"))
    for name, job in settings.jobs.items():
        if job.schedule is None:
            continue
        try:
            output_of([SYSTEMD_ANALYZE, "calendar", "--", job.schedule])
        except ChildFailed:
            yield Problem(
                line=lines.line_of(("jobs", name, "schedule")),
                where=f"jobs.{name}.schedule",
                what=f"systemd does not understand '{job.schedule}'",
                hint=f"see: {SYSTEMD_ANALYZE} calendar '*-*-* 02:00:00'",
            )
