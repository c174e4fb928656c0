"""Texts, numbers and times from outside: each has its type, and no text is taken for a number."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from types import NoneType
from typing import Any, Generic, TypeVar

from holdfast.model.checked import refused

T = TypeVar("T")
# As `datetime.isoformat` writes it; what else `fromisoformat` takes depends on Python's version.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)


class Form(Generic[T]):
    """A type's check, and what turns its values into plain ones; None if they are plain."""

    __slots__ = ("check", "plain")

    def __init__(
        self, check: Callable[[Any], T], plain: Callable[[Any], Any] | None = None
    ) -> None:
        self.check = check
        self.plain = plain

    def plainly(self, value: T) -> Any:
        """`value` as JSON has it: texts, numbers, lists and objects."""
        return value if self.plain is None else self.plain(value)


def _whole(value: Any) -> int:
    # A bool is an int to Python, and to nobody else.
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused("whole", value, "input should be a valid integer")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise refused("truth", value, "input should be a valid boolean")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise refused("text", value, "input should be a valid string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # Half of a character: no file, program or server could be given it.
            raise refused("half", value, "it holds an invalid character") from None
    return value


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise refused("moment", value, "input should be a valid time")


def _isoformat(value: datetime) -> str:
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused("number", value, "input should be a valid number")
    try:
        return float(value)
    except OverflowError:
        raise refused("number", value, "input should be a valid number") from None


def _none(value: Any) -> None:
    if value is not None:
        raise refused("none", value, "input should be None")


SCALARS: dict[Any, Form[Any]] = {
    Any: Form(lambda value: value),
    str: Form(_text),
    int: Form(_whole),
    bool: Form(_truth),
    float: Form(_float),
    datetime: Form(_moment, _isoformat),
    NoneType: Form(_none),
}
