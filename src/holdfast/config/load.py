"""Load the configuration file, or raise one error that lists every problem in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from holdfast.config.document import (
    Document,
    KeyPath,
    Problem,
    did_you_mean,
    invalid,
    nearest,
    parse,
)
from holdfast.config.repositories import BucketSettings
from holdfast.config.settings import JobSettings, Settings
from holdfast.config.values import shown
from holdfast.model.errors import ConfigInvalid

SYSTEMD_ANALYZE = "systemd-analyze"

KnownKeys = dict[int, frozenset[str]]
"""The keys that each mapping of the document may have, by the mapping's `id`."""

QUOTE = "put it in quotes"
MAPPING = "must hold keys and values"

PLAIN_WORDS: dict[str, tuple[str, str]] = {
    "missing": ("missing", "add this key"),
    "string_type": ("must be text, not {input}", QUOTE),
    "int_type": ("must be a whole number, not {input}", ""),
    "string_too_short": ("must not be empty", ""),
    "path_type": ("must be a path, not {input}", QUOTE),
    "model_type": (MAPPING, "indent its keys below it"),
    "model_attributes_type": (MAPPING, "indent its keys below it"),
    "dict_type": (MAPPING, "indent its keys below it"),
    "greater_than_equal": ("must be at least {ge}", ""),
    "less_than_equal": ("must be at most {le}", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A valid configuration, and notes about what could not be checked here."""

    path: Path
    settings: Settings
    notes: tuple[str, ...]


def load(path: Path) -> Settings:
    """The settings in `path`; raises `ConfigInvalid` with line, key and hint of each problem."""
    document = parse(_read(path))
    if document.data is None and document.problems:
        raise invalid(path, document.problems)
    known: KnownKeys = {}
    problems = [*document.problems, *_dangling(document)]
    try:
        settings = Settings.model_validate(document.data, context=known)
    except ValidationError as error:
        problems += explain(error.errors(include_url=False), document, known)
        raise invalid(path, problems) from None  # pydantic's own words would only repeat ours
    if problems:
        raise invalid(path, problems)
    return settings


def check_file(path: Path) -> CheckedFile:
    """Load `path` and ask systemd about its schedules; raises `ConfigInvalid`."""
    settings = load(path)
    for store in settings.repositories.values():
        if isinstance(store, BucketSettings):
            store.authorities()
    if shutil.which(SYSTEMD_ANALYZE) is None:
        note = f"schedules were not checked: this host has no {SYSTEMD_ANALYZE}"
        return CheckedFile(path=path, settings=settings, notes=(note,))
    problems = list(_wrong_schedules(path, settings))
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


def _wrong_schedules(path: Path, settings: Settings) -> Iterator[Problem]:
    from holdfast.runtime.process import ChildFailed, output_of  # not for those who only load

    lines = parse(path.read_text(encoding="utf-8"))
    for name, job in settings.jobs.items():
        for where, schedule in _schedules(job):
            try:
                output_of([SYSTEMD_ANALYZE, "calendar", "--", schedule])
            except ChildFailed:
                keys = ("jobs", name, *where)
                yield Problem(
                    line=lines.line_of(keys),
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


def explain(errors: Sequence[ErrorDetails], document: Document, known: KnownKeys) -> list[Problem]:
    """The errors of pydantic as problems of the file; a misspelled key is reported once."""
    problems: list[Problem] = []
    missing: dict[KeyPath, Problem] = {}
    misspelled: set[KeyPath] = set()
    for error in errors:
        path, around = _written_path(error["loc"], document.data, error["type"])
        if error["type"] == "extra_forbidden":
            words = known.get(id(around), frozenset())
            hint = did_you_mean(path[-1], words)
            problems.append(_problem(document, path, "unknown key", hint=hint))
            misspelled.update((*path[:-1], word) for word in nearest(path[-1], words))
            continue
        below, what, hint = TELLERS.get(error["type"], _tell_plainly)(error)
        told = _problem(document, (*path, *below), what, hint=hint)
        if error["type"] == "missing":
            missing[path] = told
        else:
            problems.append(told)
    return [*problems, *(told for path, told in missing.items() if path not in misspelled)]


def _problem(document: Document, path: KeyPath, what: str, *, hint: str) -> Problem:
    return Problem(line=document.line_of(path), where=".".join(path), what=what, hint=hint)


def _written_path(loc: tuple[str | int, ...], data: Any, kind: str) -> tuple[KeyPath, Any]:
    """`loc` without the steps that pydantic adds: names of union members, `[key]`.

    Also returns the innermost mapping that contains the last step.
    """
    path: list[str] = []
    around = data
    for position, step in enumerate(loc):
        if isinstance(data, dict) and step in data:
            path.append(str(step))
            around, data = data, data[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            path.append(str(step))
            data = data[step]
        elif kind == "missing" and position == len(loc) - 1:
            path.append(str(step))
    return tuple(path), around


Told = tuple[KeyPath, str, str]
"""A path below that of the error, the fault, and the hint."""


def _tell_choice(error: ErrorDetails) -> Told:
    choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    what = f"{shown(error['input'])} is not one of {', '.join(choices)}"
    return (), what, did_you_mean(str(error["input"]), choices)


def _tell_wrong_kind(error: ErrorDetails) -> Told:
    choices = error["ctx"]["expected_tags"].replace("'", "").split(", ")
    tag = error["ctx"]["tag"]
    what = f"{shown(tag)} is not one of {', '.join(choices)}"
    return (_discriminator(error),), what, did_you_mean(tag, choices)


def _tell_no_kind(error: ErrorDetails) -> Told:
    return (_discriminator(error),), "missing", "add this key"


def _discriminator(error: ErrorDetails) -> str:
    return str(error["ctx"]["discriminator"]).strip("'")


def _tell_ours(error: ErrorDetails) -> Told:
    return (), error["ctx"]["what"], error["ctx"]["hint"]


def _tell_plainly(error: ErrorDetails) -> Told:
    what, hint = PLAIN_WORDS.get(error["type"], (error["msg"].lower(), ""))
    return (), what.format(input=shown(error["input"]), **error.get("ctx", {})), hint


TELLERS: dict[str, Callable[[ErrorDetails], Told]] = {
    "literal_error": _tell_choice,
    "enum": _tell_choice,
    "union_tag_invalid": _tell_wrong_kind,
    "union_tag_not_found": _tell_no_kind,
    "holdfast": _tell_ours,
}
