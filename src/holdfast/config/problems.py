"""What is wrong with a configuration, said so that the operator finds the line and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from holdfast.model.errors import ConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend; `where` is the key's path, empty for the file as a whole."""

    line: int
    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.where}: {self.what}" if self.where else f"{place}{self.what}"


def invalid(path: Path, problems: Sequence[Problem]) -> ConfigInvalid:
    """All `problems` as one error, in the order of the lines."""
    ordered = sorted(set(problems), key=lambda each: (each.line, each.where))
    what = f"cannot use configuration '{path}'"
    if len(ordered) == 1:
        return ConfigInvalid(f"{what}: {ordered[0]}", hint=ordered[0].hint)
    lines = "".join(f"\n  {each}{f' ({each.hint})' if each.hint else ''}" for each in ordered)
    return ConfigInvalid(
        f"{what}: {len(ordered)} problems{lines}",
        hint=f"mend them all, then run: holdfast config check {path}",
    )


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known word that `word` was probably meant to be, if any."""
    return get_close_matches(word, sorted(known), n=1, cutoff=0.6)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word, or all of them where none is near."""
    words = sorted(known)
    near = nearest(word, words)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(words)}" if words else ""
