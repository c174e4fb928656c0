"""The file that decides a property of a systemd unit: its fragment, then its drop-ins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .systemd_units import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One `Property=value` line and its place."""

    value: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def last_word(unit: Unit, name: str, *, root: Path = Path("/")) -> Word | None:
    """The assignment that applies; None if no file sets the property."""
    found = None
    for path in _read_for(unit):
        file = root / path.lstrip("/")
        # A unit's file may be deleted while the unit is still loaded.
        if file.is_file():
            found = _last_in(file.read_text(errors="replace"), name, path=path) or found
    return found


def outvoted(unit: Unit, name: str, dropin: str, *, root: Path = Path("/")) -> str:
    """The assignment that overrides our drop-in, in words; empty if there is none."""
    word = last_word(unit, name, root=root)
    # Drop-ins are ordered by name alone, whatever their folder.
    if word is None or Path(word.path).name < dropin or not word.path.endswith(".conf"):
        return ""
    if Path(word.path).name == dropin:
        return ""
    return f"{word} is read after {dropin} and sets '{word.value}'"


def said_by(path: Path, name: str) -> str:
    """The value of a property in one file; empty if it does not set the property."""
    if not path.is_file():
        return ""
    word = _last_in(path.read_text(errors="replace"), name, path=str(path))
    return word.value if word else ""


def _read_for(unit: Unit) -> Iterable[str]:
    yield from unit.properties.get("FragmentPath", "").split()
    yield from unit.properties.get("DropInPaths", "").split()


def _last_in(text: str, name: str, *, path: str) -> Word | None:
    found = None
    for number, line in enumerate(text.splitlines(), start=1):
        key, equals, value = line.strip().partition("=")
        if equals and key.strip() == name:
            found = Word(value=value.strip(), path=path, line=number)
    return found
