"""Load the configuration file, or raise one error that lists every problem in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from holdfast.config.document import (
    Document,
    KeyPath,
    Problem,
    did_you_mean,
    invalid,
    nearest,
    parse,
)
from holdfast.config.notify import require_files
from holdfast.config.repositories import BucketSettings
from holdfast.config.settings import JobSettings, Settings
from holdfast.config.sources import CLUSTERS_HINT, PostgresSettings
from holdfast.config.values import shown
from holdfast.model.checked import Fault, Refused
from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass

SYSTEMD_ANALYZE = "systemd-analyze"

QUOTE = "put it in quotes"
MAPPING = "must hold keys and values"

PLAIN_WORDS: dict[str, tuple[str, str]] = {
    "missing": ("missing", "add this key"),
    "text": ("must be text, not {input}", QUOTE),
    "whole": ("must be a whole number, not {input}", ""),
    "number": ("must be a number, not {input}", ""),
    "truth": ("must be true or false, not {input}", ""),
    "half": ("must not hold half of a character", "write the whole character"),
    "tuple": ("must be a list", "write [ONE, OTHER]"),
    "frozenset": ("must be a list", "write [ONE, OTHER]"),
    "short text": ("must not be empty", ""),
    "path": ("must be a path, not {input}", QUOTE),
    "mapping": (MAPPING, "indent its keys below it"),
    "least": ("must be at least {least}", ""),
    "most": ("must be at most {most}", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A valid configuration, and notes about what could not be checked here."""

    path: Path
    settings: Settings
    notes: tuple[str, ...]


def load(path: Path) -> Settings:
    """The settings in `path`; raises `ConfigInvalid` with line, key and hint of each problem."""
    settings, _ = _loaded(path)
    return settings


def _loaded(path: Path) -> tuple[Settings, Document]:
    """The settings, and the document that they were read from: the file may have changed since."""
    document = parse(_read(path))
    if document.data is None and document.problems:
        raise invalid(path, document.problems)
    problems = [*document.problems, *_dangling(document)]
    try:
        settings = Settings.read_from(document.data)
    except Refused as error:
        problems += explain(error.faults, document)
        raise invalid(path, problems) from None  # it would only repeat ours
    if problems:
        raise invalid(path, problems)
    return settings, document


def check_file(path: Path) -> CheckedFile:
    """Load `path` and ask systemd about its schedules; raises `ConfigInvalid`."""
    import shutil  # it loads three compressors

    settings, document = _loaded(path)
    for store in settings.repositories.values():
        if isinstance(store, BucketSettings):
            store.authorities()
    if problems := list(_without_page_checks(settings, document)):
        raise invalid(path, problems)
    for name, receiver in settings.notify.items():
        require_files(receiver, name)
    for job in settings.jobs.values():
        for name, own in job.notify.items():
            if own is not False:
                require_files(own, name)
    if shutil.which(SYSTEMD_ANALYZE) is None:
        note = f"schedules were not checked: this host has no {SYSTEMD_ANALYZE}"
        return CheckedFile(path=path, settings=settings, notes=(note,))
    problems = list(_wrong_schedules(settings, document))
    if problems:
        raise invalid(path, problems)
    return CheckedFile(path=path, settings=settings, notes=())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise _unreadable(path, error, "name another file with --config FILE") from error
    except PermissionError as error:
        hint = "run holdfast as the owner of the file: sudo -u holdfast holdfast ..."
        raise _unreadable(path, error, hint) from error
    except OSError as error:
        raise _unreadable(path, error, "name another file with --config FILE") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(
            f"cannot use configuration '{path}': it is not UTF-8 text", hint="save it as UTF-8"
        ) from error


def _unreadable(path: Path, error: OSError, hint: str) -> ConfigInvalid:
    cause = os.strerror(error.errno or 0)
    return ConfigInvalid(f"cannot read configuration '{path}': {cause}", hint=hint)


def _dangling(document: Document) -> Iterator[Problem]:
    """Jobs that name a missing repository; reported even if the file has other problems."""
    data = document.data if isinstance(document.data, dict) else {}
    repositories, jobs = _mapping(data.get("repositories")), _mapping(data.get("jobs"))
    for name, job in jobs.items():
        mirrors = _mapping(job).get("mirrors")
        named = [("repository", _mapping(job).get("repository"))]
        named += [("mirrors", each) for each in mirrors] if isinstance(mirrors, list) else []
        for key, wanted in named:
            if isinstance(wanted, str) and wanted not in repositories:
                yield Problem(
                    line=document.line_of(("jobs", str(name), key)),
                    where=f"jobs.{name}.{key}",
                    what=f"there is no repository '{wanted}'",
                    hint=did_you_mean(wanted, (str(each) for each in repositories)),
                )


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _without_page_checks(settings: Settings, document: Document) -> Iterator[Problem]:
    """Jobs of whole PostgreSQL clusters, where the library that checks their pages is missing."""
    from importlib.util import find_spec  # not for those who only load

    physical = [
        name
        for name, job in settings.jobs.items()
        if isinstance(job.source, PostgresSettings) and job.source.method == "physical"
    ]
    if not physical or find_spec("numpy") is not None:
        return
    for name in physical:
        keys = ("jobs", name, "source", "method")
        yield Problem(
            line=document.line_of(keys),
            where=".".join(keys),
            what="'physical' needs the library numpy, which is not installed here",
            hint=CLUSTERS_HINT,
        )


def _wrong_schedules(settings: Settings, document: Document) -> Iterator[Problem]:
    from holdfast.runtime.process import ChildFailed, output_of  # not for those who only load

    for name, job in settings.jobs.items():
        for where, schedule in _schedules(job):
            try:
                output_of([SYSTEMD_ANALYZE, "calendar", "--", schedule])
            except ChildFailed:
                keys = ("jobs", name, *where)
                yield Problem(
                    line=document.line_of(keys),
                    where=".".join(keys),
                    what=f"systemd cannot parse '{schedule}'",
                    hint=f"see: {SYSTEMD_ANALYZE} calendar '*-*-* 02:00:00'",
                )


def _schedules(job: JobSettings) -> Iterator[tuple[KeyPath, str]]:
    """The schedules of a job, each with its place below the job."""
    for where, schedule in (
        (("schedule",), job.schedule),
        (("verify", "schedule"), job.verify.schedule),
        (("drill", "schedule"), job.drill.schedule),
    ):
        if schedule is not None:
            yield where, schedule


def explain(faults: Sequence[Fault], document: Document) -> list[Problem]:
    """The faults as problems of the file; a misspelled key is reported once."""
    problems: list[Problem] = []
    missing: dict[KeyPath, Problem] = {}
    misspelled: set[KeyPath] = set()
    for fault in faults:
        path = _written_path(fault, document.data)
        if fault.kind == "unknown":
            words = fault.said["known"]
            hint = did_you_mean(path[-1], words)
            problems.append(_problem(document, path, "unknown key", hint=hint))
            misspelled.update((*path[:-1], word) for word in nearest(path[-1], words))
            continue
        below, what, hint = TELLERS.get(fault.kind, _tell_plainly)(fault)
        told = _problem(document, (*path, *below), what, hint=hint)
        if fault.kind == "missing":
            missing[path] = told
        else:
            problems.append(told)
    return [*problems, *(told for path, told in missing.items() if path not in misspelled)]


def _problem(document: Document, path: KeyPath, what: str, *, hint: str) -> Problem:
    return Problem(line=document.line_of(path), where=".".join(path), what=what, hint=hint)


def _written_path(fault: Fault, data: Any) -> KeyPath:
    """The place of `fault` without the steps that the file leaves out."""
    path: list[str] = []
    for position, step in enumerate(fault.place):
        in_list = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if in_list or (isinstance(data, dict) and step in data):
            path.append(str(step))
            data = data[step]
        elif fault.kind == "missing" and position == len(fault.place) - 1:
            path.append(str(step))
    return tuple(path)


Told = tuple[KeyPath, str, str]
"""A path below that of the error, the fault, and the hint."""


def _tell_choice(fault: Fault) -> Told:
    choices = fault.said["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    what = f"{shown(fault.value)} is not one of {', '.join(choices)}"
    return (), what, did_you_mean(str(fault.value), choices)


def _tell_wrong_kind(fault: Fault) -> Told:
    choices = fault.said["expected"].replace("'", "").split(", ")
    tag = str(fault.said["tag"])
    what = f"{shown(tag)} is not one of {', '.join(choices)}"
    return (fault.said["name"],), what, did_you_mean(tag, choices)


def _tell_no_kind(fault: Fault) -> Told:
    return (fault.said["name"],), "missing", "add this key"


def _tell_ours(fault: Fault) -> Told:
    return (), fault.what, fault.said["hint"]


def _tell_plainly(fault: Fault) -> Told:
    what, hint = PLAIN_WORDS.get(fault.kind, ("", ""))
    told = what.format(input=shown(fault.value), **fault.said) if what else fault.what
    return (), told, hint


TELLERS: dict[str, Callable[[Fault], Told]] = {
    "choice": _tell_choice,
    "tag": _tell_wrong_kind,
    "no_tag": _tell_no_kind,
    "mistake": _tell_ours,
}
