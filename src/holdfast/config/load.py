"""The configuration file as settings, or one error that names everything wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.config.document import Document, parse
from holdfast.config.explain import KnownKeys, explain
from holdfast.config.problems import Problem, did_you_mean, invalid
from holdfast.config.settings import Settings
from holdfast.model.errors import ConfigInvalid


def load(path: Path) -> Settings:
    """The settings in `path`; raises `ConfigInvalid` with line, key and remedy of each problem."""
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


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise _unreadable(path, error, "name another file with --config FILE") from error
    except PermissionError as error:
        hint = "run holdfast as the user it belongs to: sudo -u holdfast holdfast ..."
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
    """Jobs whose repository is not there; told even where something else is wrong too."""
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
