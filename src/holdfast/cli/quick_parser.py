"""Parses the usual command lines of short commands without typer.

It takes full names of options, each with its value in a word of its own. Everything else is left to
typer: help, completion, abbreviations, and every mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import FunctionType, NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

from holdfast.cli.parameters import Argument, Option, Parameter, Run
from holdfast.model.forms import hint_in
from holdfast.model.lazy_dataclass import dataclass

# A parameter without a default.
_NEEDED: Any = object()


class Unusual(Exception):
    """typer has to read this command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """One parameter of a command."""

    name: str
    kind: type
    parameter: Parameter
    default: Any

    @property
    def is_flag(self) -> bool:
        return self.kind is bool

    @property
    def spellings(self) -> tuple[str, ...]:
        names = self.parameter.names
        return names or (f"--{self.name.replace('_', '-')}",)

    def value_of(self, word: str) -> Any:
        """The word as a value; raises `Unusual` for one that typer would refuse."""
        parse = self.parameter.settings.get("parser")
        try:
            value = parse(word) if parse else _converted(word, self.kind)
        except Exception as error:
            raise Unusual from error
        low, high = (self.parameter.settings.get(each) for each in ("min", "max"))
        if (low is not None and value < low) or (high is not None and value > high):
            raise Unusual
        return value


def _converted(word: str, kind: type) -> Any:
    if kind is int:
        if not (word.isascii() and word.isdecimal()):
            raise Unusual
        return int(word)
    if kind is str or kind is Path or issubclass(kind, Enum):
        return kind(word)
    raise Unusual


def declared(run: Run) -> Iterator[_Declared]:
    """The parameters of a command after its context; raises `Unusual` for one of typer's own."""
    for name, text, default in _parameters(run):
        annotation = hint_in(run.__module__, text)
        if get_origin(annotation) is not Annotated:
            raise Unusual
        kind, mark, *_ = get_args(annotation)
        if not isinstance(mark, Parameter):
            raise Unusual
        if isinstance(kind, UnionType):
            (kind,) = (inner for inner in get_args(kind) if inner is not NoneType)
        yield _Declared(name=name, kind=kind, parameter=mark, default=default)


def _parameters(run: Run) -> Iterator[tuple[str, str, Any]]:
    """Each name with its annotation and its default; `inspect` takes 5 ms to load for that."""
    # A function that stands for another one has the signature of that one.
    if not isinstance(run, FunctionType) or vars(run):
        raise Unusual
    code = run.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    last = reversed(names[: code.co_argcount])
    defaults = dict(zip(last, reversed(run.__defaults__ or ()), strict=False))
    defaults |= run.__kwdefaults__ or {}
    for name in names[1:]:
        yield name, run.__annotations__[name], defaults.get(name, _NEEDED)


def values_of(run: Run, words: Sequence[str]) -> dict[str, Any]:
    """The values that `words` give to the parameters of `run`; raises `Unusual`."""
    values, rest = taken(run, words)
    if rest:
        raise Unusual
    return values


def taken(run: Run, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The values of `run`, and the words behind them: a group ends at its first plain word."""
    known = list(declared(run))
    options = {
        spelling: each
        for each in known
        if isinstance(each.parameter, Option)
        for spelling in each.spellings
    }
    arguments = [each for each in known if isinstance(each.parameter, Argument)]
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest[0]
        if word in options:
            each = options[word]
            found[each.name] = True if each.is_flag else each.value_of(_value(rest))
        elif word.startswith("-"):
            raise Unusual
        elif arguments:
            each = arguments.pop(0)
            found[each.name] = each.value_of(word)
        else:
            break
        del rest[0]
    return _complete(known, found), rest


def _value(rest: list[str]) -> str:
    """Take the option at the front away: its value is then in front."""
    del rest[0]
    if not rest or rest[0].startswith("-"):
        raise Unusual
    return rest[0]


def _complete(known: Sequence[_Declared], found: Mapping[str, Any]) -> dict[str, Any]:
    """`found` with the defaults, each as its callback changes it."""
    values: dict[str, Any] = {}
    for each in known:
        value = found.get(each.name, each.default)
        if value is _NEEDED:
            raise Unusual
        act = each.parameter.settings.get("callback")
        try:
            values[each.name] = act(value) if act else value
        except Exception as error:
            raise Unusual from error
    return values
