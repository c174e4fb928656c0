"""Pydantic's findings in the operator's words: the key as it is written, its line, a remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from holdfast.config.document import Document, KeyPath
from holdfast.config.problems import Problem, did_you_mean, nearest
from holdfast.config.values import shown

KnownKeys = dict[int, frozenset[str]]
"""Which keys each mapping of the document may have, by the mapping's identity."""

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


def explain(errors: Sequence[ErrorDetails], document: Document, known: KnownKeys) -> list[Problem]:
    """Findings of pydantic as problems of the file; one misspelled key is one problem."""
    problems: list[Problem] = []
    missing: dict[KeyPath, Problem] = {}
    misspelled: set[KeyPath] = set()
    for error in errors:
        path, around = _written_path(error["loc"], document.data, error["type"])
        if error["type"] == "extra_forbidden":
            words = known.get(id(around), frozenset())
            problems.append(_problem(document, path, "unknown key", did_you_mean(path[-1], words)))
            misspelled.update((*path[:-1], word) for word in nearest(path[-1], words))
            continue
        below, what, hint = TELLERS.get(error["type"], _tell_plainly)(error)
        told = _problem(document, (*path, *below), what, hint)
        if error["type"] == "missing":
            missing[path] = told
        else:
            problems.append(told)
    return [*problems, *(told for path, told in missing.items() if path not in misspelled)]


def _problem(document: Document, path: KeyPath, what: str, hint: str) -> Problem:
    return Problem(line=document.line_of(path), where=".".join(path), what=what, hint=hint)


def _written_path(loc: tuple[str | int, ...], data: Any, kind: str) -> tuple[KeyPath, Any]:
    """`loc` without what pydantic put in between: names of union members, `[key]`.

    Beside it the innermost mapping that the last step belongs to.
    """
    path: list[str] = []
    around = data
    for position, step in enumerate(loc):
        if isinstance(data, dict) and step in data:
            path.append(str(step))
            around, data = data, data[step]
        elif kind == "missing" and position == len(loc) - 1:
            path.append(str(step))
    return tuple(path), around


Told = tuple[KeyPath, str, str]
"""A path below the finding's own, what is wrong, and the hint."""


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
