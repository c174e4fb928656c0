"""Reads usual configurations without a YAML library, which takes 10 ms to load.

It knows mappings and lists, in blocks or within one line, of words, quoted texts, whole numbers,
`true` and `false`. Everything else is left to the library: what is rare, what YAML reads in a way
that few expect (`no`, `010`, `1:30`), and every mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.config.document import Document, KeyPath
from holdfast.model.lazy_pattern import regex

if TYPE_CHECKING:
    import re

MOST_CHARACTERS = 1 << 20
MOST_DEPTH = 30
# For most of them YAML 1.1 has other values, in any case of their letters.
_NO_TEXTS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
_CONSTANTS = {"true": True, "false": False}
_ITEM = "- "

_PRINTABLE = regex(r"[\n -~]*")
# The library refuses keys of more than 1024 characters.
_KEY = regex(r"([A-Za-z_][A-Za-z0-9_-]{0,255}):(?: +|$)")
_ENDED = regex(r" *(?: #.*)?")
_QUOTED = regex(r"\"([^\"\\]*)\"|'([^']*)'")
# A text begins so that it is no number, time or mark of YAML, and has none of these inside.
_MARK = r"[A-Za-z0-9_./+=@%~-]"
_WITHIN = regex(rf"[A-Za-z/]{_MARK}*(?: [A-Za-z0-9/]{_MARK}*)*")
_MARK = rf"(?:{_MARK}|[?&,]|:(?=[A-Za-z0-9/]))"
_ALONE = regex(rf"[A-Za-z/]{_MARK}*(?: [A-Za-z0-9/]{_MARK}*)*")
# `2h` and `500MB` are texts.
_NUMBER = regex(r"(0(?![A-Za-z])|[1-9][0-9]{0,17})([A-Za-z]{0,3})(?![^ ,\]}])")


class _Unusual(Exception):
    """The library has to read this text."""


def parse(text: str) -> Document:
    """`text` as a document; faults of the YAML itself are in its `problems`."""
    found = usual(text)
    if found is not None:
        return found
    from holdfast.config import yaml_document  # loads the library

    return yaml_document.parse(text)


def usual(text: str) -> Document | None:
    """`text` as the library reads it; None leaves it to the library."""
    if len(text) > MOST_CHARACTERS or not _PRINTABLE.fullmatch(text):
        return None
    blocks = _Blocks(text)
    try:
        return Document(data=blocks.whole(), lines=blocks.lines)
    except _Unusual:
        return None


class _Line:
    """A line that is not empty, or what follows the mark of a list's item."""

    __slots__ = ("indent", "number", "text")

    def __init__(self, number: int, indent: int, text: str) -> None:
        self.number = number
        self.indent = indent
        self.text = text


class _Blocks:
    """Reads the lines of blocks, the next of which is the last one of `_left`."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._left: list[_Line] = []
        for number, line in enumerate(text.split("\n"), start=1):
            bare = line.lstrip(" ")
            if bare and not bare.startswith("#"):
                self._left.append(_Line(number, len(line) - len(bare), bare))
        self._left.reverse()

    def whole(self) -> Any:
        if self._left and self._left[-1].indent == 0 and self._left[-1].text == "---":
            self._left.pop()
        found = self._below((), at_least=0)
        if self._left:
            raise _Unusual
        return found

    def _below(self, path: KeyPath, *, at_least: int) -> Any:
        """The block of a key; a list may be indented as little as the key itself."""
        if not self._left or len(path) > MOST_DEPTH:
            raise _Unusual
        line = self._left[-1]
        self.lines.setdefault(path, line.number)
        is_list = line.text.startswith(_ITEM)
        if line.indent < at_least - is_list:
            raise _Unusual
        return self._list(line.indent, path) if is_list else self._mapping(line.indent, path)

    def _next(self, indent: int, *, is_item: bool) -> _Line | None:
        """The next line if it belongs to the same block."""
        line = self._left[-1] if self._left else None
        if line is None or line.indent < indent:
            return None
        if line.indent > indent:
            raise _Unusual
        return self._left.pop() if line.text.startswith(_ITEM) is is_item else None

    def _mapping(self, indent: int, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while line := self._next(indent, is_item=False):
            name, at = _key(line.text, 0, found)
            below = (*path, name)
            self.lines[below] = line.number
            if at == len(line.text) or line.text[at] == "#":
                found[name] = self._below(below, at_least=indent + 1)
            else:
                found[name] = self._inline(line, at, below)
        return found

    def _list(self, indent: int, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while line := self._next(indent, is_item=True):
            below = (*path, str(len(found)))
            self.lines[below] = line.number
            rest = line.text[len(_ITEM) :].lstrip(" ")
            at = len(line.text) - len(rest)
            if _KEY.match(rest):
                self._left.append(_Line(line.number, indent + at, rest))
                found.append(self._mapping(indent + at, below))
            else:
                found.append(self._inline(line, at, below))
        return found

    def _inline(self, line: _Line, at: int, path: KeyPath) -> Any:
        """The value from `at` to the end of the line."""
        value, end = _Within(line, self.lines).value(at, path, text=_ALONE)
        if not _ENDED.fullmatch(line.text, end):
            raise _Unusual
        return value


class _Within:
    """Reads values within one line: each has a place where it ends."""

    def __init__(self, line: _Line, lines: dict[KeyPath, int]) -> None:
        self._text = line.text
        self._number = line.number
        self._lines = lines

    def value(self, at: int, path: KeyPath, *, text: re.Pattern[str] = _WITHIN) -> tuple[Any, int]:
        first = self._text[at : at + 1]
        if first in ("{", "["):
            return self._mapping(at, path) if first == "{" else self._list(at, path)
        if match := _QUOTED.match(self._text, at):
            return match[1] if match[1] is not None else match[2], match.end()
        if match := _NUMBER.match(self._text, at):
            return match[0] if match[2] else int(match[1]), match.end()
        match = text.match(self._text, at)
        if match is None:
            raise _Unusual
        word = match[0]
        if word.lower() not in _NO_TEXTS:
            return word, match.end()
        if word not in _CONSTANTS:
            raise _Unusual
        return _CONSTANTS[word], match.end()

    def _mapping(self, at: int, path: KeyPath) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._without_spaces(at + 1)
        while not self._text.startswith("}", at):
            name, at = _key(self._text, at, found)
            found[name], at = self._inside(at, (*path, name))
            at = self._after(at, "}")
        return found, at + 1

    def _list(self, at: int, path: KeyPath) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self._without_spaces(at + 1)
        while not self._text.startswith("]", at):
            value, at = self._inside(at, (*path, str(len(found))))
            found.append(value)
            at = self._after(at, "]")
        return found, at + 1

    def _inside(self, at: int, path: KeyPath) -> tuple[Any, int]:
        if len(path) > MOST_DEPTH:
            raise _Unusual
        self._lines[path] = self._number
        return self.value(at, path)

    def _after(self, at: int, end: str) -> int:
        """Where the next value begins, or the bracket at the end is."""
        at = self._without_spaces(at)
        if self._text.startswith(end, at):
            return at
        if not self._text.startswith(",", at):
            raise _Unusual
        at = self._without_spaces(at + 1)
        if self._text.startswith(end, at):
            raise _Unusual
        return at

    def _without_spaces(self, at: int) -> int:
        return len(self._text) - len(self._text[at:].lstrip(" "))


def _key(text: str, at: int, known: dict[str, Any]) -> tuple[str, int]:
    """The key at `at`, and where its value begins; a second one of that name is a mistake."""
    match = _KEY.match(text, at)
    if match is None or match[1] in known or match[1].lower() in _NO_TEXTS:
        raise _Unusual
    return match[1], match.end()
