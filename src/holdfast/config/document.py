"""YAML as plain values with their line numbers; problems have a line, a key and a hint.

A duplicate key is a problem too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault to correct; `where` is the key's path, empty for the file as a whole."""

    line: int
    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.where}: {self.what}" if self.where else f"{place}{self.what}"


def invalid(path: Path, problems: Sequence[Problem]) -> ConfigInvalid:
    """All `problems` as one error, sorted by line."""
    ordered = sorted(set(problems), key=lambda each: (each.line, each.where, each.what))
    what = f"cannot use configuration '{path}'"
    if len(ordered) == 1:
        return ConfigInvalid(f"{what}: {ordered[0]}", hint=ordered[0].hint)
    lines = "".join(f"\n  {each}{f' ({each.hint})' if each.hint else ''}" for each in ordered)
    return ConfigInvalid(
        f"{what}: {len(ordered)} problems{lines}",
        hint=f"correct them all, then run: holdfast config check {path}",
    )


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known word that `word` was probably meant to be; empty if none is similar."""
    from difflib import get_close_matches  # only for mistakes

    return get_close_matches(word, sorted(known), n=1, cutoff=0.6)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or with all of them if none is near."""
    words = sorted(known)
    near = nearest(word, words)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(words)}" if words else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The values of a file, and the line of each key."""

    data: Any
    lines: dict[KeyPath, int]
    problems: tuple[Problem, ...] = ()

    def line_of(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest enclosing key that the file contains."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)
