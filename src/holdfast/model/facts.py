"""Facts about a backup or a part: frozen values that are stored as named texts.

A class is one kind of facts, and each field declares the form of its text. Only this module
converts between facts and texts. The writer of a manifest chose its texts, so each text is checked
against its form; names that a class does not know are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_type_hints

from holdfast.model.lazy_dataclass import Taken, dataclass, replace, taken_by
from holdfast.model.lazy_pattern import regex
from holdfast.model.stored_json import MANIFEST, NotKnown, Unreadable, parsed
from holdfast.model.values import MOST, Span, is_moment

T = TypeVar("T")
F = TypeVar("F", bound="Facts")

KIND = "kind"
_DIGITS = regex(r"[0-9]{1,19}")
_OCTAL = regex(r"[0-7]{1,4}")
_SHOWN = 60
# Longer lists are not cached: a hostile manifest may hold thousands of them.
_COMMON = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Form(Generic[T]):
    """How a value is written as text; `read` raises `ValueError` for what `write` never writes.

    `name` is the stored name if it differs from the field's. With `always` a value is written even
    if it is the default.
    """

    read: Callable[[str], T]
    write: Callable[[T], str]
    name: str = ""
    always: bool = False


class Facts:
    """The base of all kinds. Fields without a default are required; a default is not written."""

    __slots__ = ()
    kind: ClassVar[str]

    def texts(self) -> dict[str, str]:
        """The texts by name, sorted by name."""
        found = {}
        for field in _fields(type(self)):
            value = getattr(self, field.attribute)
            if field.form.always or field.is_needed or value != field.default:
                found[field.name] = field.form.write(value)
        return dict(sorted(found.items()))

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Self:
        """Build the facts; raises `Unreadable` naming a text that is missing or malformed."""
        values: dict[str, Any] = {}
        for field in _fields(cls):
            text = texts.get(field.name)
            if text is not None:
                values[field.attribute] = _read(field, text)
            elif field.is_needed:
                raise Unreadable(f"its '{field.name}' is missing")
        found = cls(**values)
        if missing := found.wanting():
            raise Unreadable(f"its '{missing}' is missing")
        return found

    def wanting(self) -> str:
        """The name of a missing text that the others depend on; empty if none is missing."""
        return ""


def stored(facts: Facts) -> dict[str, str]:
    """The facts as a manifest stores them: the kind beside the texts."""
    return {KIND: facts.kind, **facts.texts()}


def facts_in(value: object, kinds: Mapping[str, type[F]]) -> F:
    """Read what `stored` wrote; raises `Unreadable`, and `NotKnown` for a newer version's kind."""
    texts = texts_in(value)
    kind = texts.pop(KIND, "")
    if kind not in kinds:
        raise NotKnown(f"it has facts of the unknown kind '{kind[:_SHOWN]}'")
    return kinds[kind].of(texts)


def texts_in(value: object) -> dict[str, str]:
    """`value` as texts by name; raises `Unreadable` if it is anything else."""
    if not isinstance(value, dict):
        raise Unreadable("its facts are missing")
    for name, text in value.items():
        if not isinstance(text, str):
            raise Unreadable(f"its '{name[:_SHOWN]}' is not a string")
    return dict(value)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a class of facts, and how its text is stored."""

    attribute: str
    name: str
    form: Form[Any]
    default: object
    is_needed: bool


_KNOWN: dict[type, tuple[_Field, ...]] = {}


def _fields(cls: Any) -> tuple[_Field, ...]:
    if cls not in _KNOWN:
        hints = get_type_hints(cls, include_extras=True)
        _KNOWN[cls] = tuple(_field(name, each, hints[name]) for name, each in taken_by(cls).items())
    return _KNOWN[cls]


def _field(attribute: str, found: Taken, hint: object) -> _Field:
    form = next((each for each in get_args(hint) if isinstance(each, Form)), TEXT)
    default = found.make() if found.make else found.default
    return _Field(attribute, form.name or attribute, form, default, found.is_needed)


def _read(field: _Field, text: str) -> object:
    try:
        return field.form.read(text)
    # A form that trips over a value of another type has met damage, too.
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(f"its '{field.name}' has the invalid value '{text[:_SHOWN]}'") from error


def _whole(text: str) -> int:
    if not _DIGITS.fullmatch(text) or int(text) > MOST:
        raise ValueError("no such number")
    return int(text)


def _octal(text: str) -> int:
    if not _OCTAL.fullmatch(text):
        raise ValueError("no rights of a file")
    return int(text, 8)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if not is_moment(found):
        raise ValueError("no such moment")
    return found


def _names(text: str) -> tuple[str, ...]:
    return _common_names(text) if len(text) <= _COMMON else _parsed_names(text)


def _parsed_names(text: str) -> tuple[str, ...]:
    found = parsed(text, MANIFEST)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("no list of names")
    return tuple(map(intern, found))


# Many tables share column names: each name, and each list, is held in memory once.
_common_names = lru_cache(maxsize=1024)(_parsed_names)


def by_name(text: str, *, of_files: bool = False) -> Mapping[str, str]:
    """Parse a JSON object of texts inside a text; raises `ValueError`."""
    found = parsed(text, MANIFEST, of_files=of_files)
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError("no texts by name")
    return found


def matching(pattern: re.Pattern[str]) -> Form[str]:
    """The form of a text that matches all of `pattern`."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError("no such text")
        return text

    return Form(read, str)


def word(*words: str) -> Form[str]:
    """The form of a text that is one of `words`; always written.

    Checked, because it becomes part of a statement.
    """
    return replace(matching(regex("|".join(map(re.escape, words)))), always=True)


TEXT = Form(str, str)
WHOLE = Form(_whole, str)
OCTAL = Form(_octal, "{:o}".format)
YES = Form(lambda text: text == "yes", lambda _: "yes")
OCTETS = Form(bytes.fromhex, bytes.hex)
MOMENT = Form(_moment, datetime.isoformat)
SPAN = Form(Span.parse, str)
NAMES = Form(_names, json.dumps)
TEXTS = Form(by_name, json.dumps)
