"""YAML as plain values with their line numbers; problems have a line, a key and a hint.

A duplicate key is a problem too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass

KeyPath = tuple[str, ...]

# With every alias replaced by what it stands for: enough for ten thousand jobs.
MOST_VALUES = 1_000_000
# Python writes no number with more digits.
MOST_DIGITS = 1000


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


class _Impossible(Exception):
    """A value that its type cannot hold."""

    def __init__(self, node: yaml.Node, cause: str) -> None:
        super().__init__(cause)
        self.problem = Problem(
            line=node.start_mark.line + 1,
            where="",
            what=f"it holds an invalid value: {cause}",
            hint="put strings in quotes",
        )


class _PlainValues:
    """Makes only plain values of nodes, no Python objects; comes before a loader of the library."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - yaml's
        try:
            found = super().construct_object(node, deep)  # type: ignore[misc]  # the loader's
        except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
            # A date that does not exist, thousands of digits, or another text with such a tag.
            is_told = isinstance(error, ValueError | OverflowError)
            raise _Impossible(node, str(error) if is_told else f"no {node.tag}") from error
        if isinstance(found, int) and abs(found) >= 10**MOST_DIGITS:
            raise _Impossible(node, f"a number of more than {MOST_DIGITS} digits")
        return found


class _Loader(_PlainValues, yaml.SafeLoader):
    """Reads all texts, and tells of each mistake where it is."""


# A build of the library without its parser in C has no such loader. It takes a tenth of the time.
_InC: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else None
_FastLoader: Any = _InC and type("_FastLoader", (_PlainValues, _InC), {})
# Deeper texts are left to `_Loader`, which notices how deep they are; so are tabs, as it refuses
# some that the other one takes for spaces.
MOST_DEPTH = 1000


def parse(text: str) -> Document:
    """`text` as a document; faults of the YAML itself are in its `problems`."""
    if _FastLoader is not None and _is_simple(text):
        found = _parsed(text, _FastLoader)
        # Each mistake is told in the words of one of the two.
        if not found.problems:
            return found
    return _parsed(text, _Loader)


def _is_simple(text: str) -> bool:
    depth = text.count("[") + text.count("{")
    deepest = max((len(line) - len(line.lstrip(" -")) for line in text.split("\n")), default=0)
    return "\t" not in text and depth + deepest < MOST_DEPTH


def _parsed(text: str, loading: Any) -> Document:
    try:
        loader = loading(text)
        root = loader.get_single_node()
        if root is None:
            return _broken(Problem(line=0, where="", what="the file is empty"))
        if _expanded(root, {}) > MOST_VALUES:
            return _broken(Problem(line=0, where="", what=f"it holds over {MOST_VALUES} values"))
        doubles = tuple(_doubles(root))
        _name_keys(root, frozenset())
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        return _broken(_of_yaml(error))
    except yaml.YAMLError as error:
        return _broken(Problem(line=0, where="", what=f"it is not YAML: {error}"))
    except RecursionError:
        return _broken(Problem(line=0, where="", what="it is nested too deeply"))
    except _Impossible as error:
        return _broken(error.problem)
    lines: dict[KeyPath, int] = {}
    _note_lines(root, (), lines, inside=frozenset())
    return Document(data=data, lines=lines, problems=doubles)


def _broken(problem: Problem) -> Document:
    return Document(data=None, lines={}, problems=(problem,))


def _of_yaml(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    return Problem(
        line=mark.line + 1 if mark else 0,
        where="",
        what=f"it is not YAML: {error.problem or error.context}",
        hint="YAML indents with spaces, never tabs; a text with ': ' or '#' in it needs quotes",
    )


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values there are below `node`; aliases of aliases can stand for billions."""
    if id(node) not in known:
        known[id(node)] = 1
        below: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        if isinstance(node, yaml.MappingNode):
            below = [value for _, value in node.value]
        known[id(node)] += sum(_expanded(each, known) for each in below)
    return known[id(node)]


def _doubles(
    node: yaml.Node, path: str = "", inside: frozenset[int] = frozenset()
) -> list[Problem]:
    """Duplicate keys: YAML would silently use the last one."""
    if id(node) in inside:
        return []
    inside |= {id(node)}
    found: list[Problem] = []
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found += _doubles(item, path, inside)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            where = f"{path}.{name}" if path else name
            if name in seen:
                what = f"written twice: on line {seen[name]} and here"
                found.append(Problem(line=line, where=where, what=what, hint="keep one of them"))
            seen.setdefault(name, line)
            found += _doubles(value, where, inside)
    return found


def _name_keys(node: yaml.Node, inside: frozenset[int]) -> None:
    """Take keys such as `on` for the words that they are; YAML 1.1 reads them as true and false."""
    if id(node) in inside:
        return
    inside |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _name_keys(item, inside)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag == "tag:yaml.org,2002:bool":
                key.tag = "tag:yaml.org,2002:str"
            _name_keys(value, inside)


def _note_lines(
    node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], *, inside: frozenset[int]
) -> None:
    """Record each key's line; run it after construction, when `<<` is merged: own keys win."""
    if id(node) in inside:
        return
    inside |= {id(node)}
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _note_lines(item, (*path, str(position)), lines, inside=inside)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            lines[below] = key.start_mark.line + 1
            _note_lines(value, below, lines, inside=inside)
