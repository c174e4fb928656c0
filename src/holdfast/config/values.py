"""Durations, sizes, names and numbers as people write them, in mappings that guess nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Self,
    TypeVar,
    dataclass_transform,
)

from holdfast.model.backup import JOB_NAME
from holdfast.model.checked import (
    After,
    Before,
    Check,
    Fault,
    Length,
    Mistake,
    Range,
    Readable,
    Refused,
    applied,
    below,
    refused,
)
from holdfast.model.forms import form_of, hint_of
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex

T = TypeVar("T")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_SIZE = regex(rf"(\d+(?:\.\d+)?) ?({'|'.join(SIZES)})")
# Python refuses to read numbers of thousands of digits.
_DURATION = regex(r"(?:\d{1,18}[smhd])+")
_DURATION_STEP = regex(r"(\d+)([smhd])")
MOST_PROCESSES = 1000
# Dates this far ahead can still be represented, and no disk is as large as this.
LONGEST = timedelta(days=36500)
LARGEST_BYTES = 1 << 62
SHORTEST_LEASE, LONGEST_LEASE = timedelta(seconds=4), timedelta(days=7)


def parse_duration(value: Any) -> timedelta:
    """`2h`, `90m`, `45s`, `1h30m`, as a time span above zero."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise Mistake(
            f"{shown(value)} is not a duration", hint="write a number and a unit: 45s, 90m, 2h, 1d"
        )
    seconds = sum(int(number) * UNITS[unit] for number, unit in _DURATION_STEP.findall(value))
    if seconds == 0:
        raise Mistake("a duration must be more than zero", hint="leave the key out")
    if seconds > LONGEST.total_seconds():
        raise Mistake(f"{shown(value)} is too long for a duration", hint="36500d at most")
    return timedelta(seconds=seconds)


def _lease_time(span: timedelta) -> timedelta:
    if span < SHORTEST_LEASE:
        raise Mistake(
            f"{span.total_seconds():g}s is too short for a lease_time",
            hint="write 4s or more: with less, a slow store would make a running host look dead",
        )
    if span > LONGEST_LEASE:
        raise Mistake(
            f"{span.total_seconds():g}s is too long for a lease_time",
            hint="write 7d or less: after a host died, its job waits this long",
        )
    return span


def parse_size(value: Any) -> int:
    """`500MB`, `64MiB`, `1GiB` or a plain number of bytes, as bytes above zero."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool):
        size_bytes = value
    elif match:
        size_bytes = int(min(float(match[1]) * SIZES[match[2]], 2.0 * LARGEST_BYTES))
    else:
        raise Mistake(f"{shown(value)} is not a size", hint="write 500MB, 64MiB or 1GiB")
    if size_bytes <= 0:
        raise Mistake("a size must be more than zero", hint="leave the key out")
    if size_bytes > LARGEST_BYTES:
        raise Mistake(f"{shown(value)} is too large for a size", hint="leave the key out")
    return size_bytes


def _auto_or_number(value: Any) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PROCESSES:
        raise Mistake(
            f"{shown(value)} is not a number of processes",
            hint=f"write auto, or a whole number from 1 to {MOST_PROCESSES}",
        )
    return value


def _name(value: str) -> str:
    if not JOB_NAME.fullmatch(value):
        raise Mistake(
            f"{shown(value)} is not a name",
            hint="a name has a-z, 0-9, - and _, begins with a letter or digit, 63 at most",
        )
    return value


def _path(value: Any) -> Path:
    if isinstance(value, str):
        return Path(form_of(str).check(value))
    if isinstance(value, Path):
        return value
    raise refused("path", value, "input is not a valid path")


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise Mistake(f"'{path}' is not an absolute path", hint="begin it with /")
    if "\0" in str(path):
        raise Mistake("a path holds no null byte", hint="write it as the shell shows it")
    return path


def shown(value: Any) -> str:
    """A value as the operator wrote it, shortened; a secret may stand inside a list or mapping."""
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


Text = Annotated[str, Length(at_least=1)]
Duration = Annotated[timedelta, Before(parse_duration)]
LeaseTime = Annotated[Duration, After(_lease_time)]
Size = Annotated[int, Before(parse_size)]
Processes = Annotated[int | None, Before(_auto_or_number)]
Name = Annotated[str, After(_name)]
Count = Annotated[int, Range(at_least=0, at_most=10_000)]
AbsolutePath = Annotated[Path, Before(_path), After(_absolute)]


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    """A default that is made for each mapping which leaves the key out."""

    make: Callable[[], T]


def made(make: Callable[[], T]) -> T:
    """The default of a key that is made when it is needed: `hooks: Hooks = made(Hooks)`."""
    default: Any = _Made(make)
    return default  # type: ignore[no-any-return]  # as `dataclasses.field` does


class _Key:
    """One key that a mapping may have; no dataclass, as there are hundreds of them."""

    __slots__ = ("check", "default", "is_needed", "name")

    def __init__(self, name: str, check: Check, default: Any) -> None:
        self.name = name
        self.check = check
        self.default = default
        self.is_needed = default is Ellipsis


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(made,))
class Strict(Readable):
    """A mapping of the file, its keys as annotated attributes.

    A subclass may rewrite what was written (`rewritten`), and check what the types cannot say:
    a value beside those before it (`suited`), and the whole mapping (`require_sound`).
    """

    __slots__ = ("__dict__", "_written")

    if TYPE_CHECKING:
        # No key of the file.
        _written: frozenset[str]

    def __init__(self, **values: Any) -> None:
        self._read(values)

    @classmethod
    def read_from(cls, value: Any) -> Self:
        """The mapping in `value`; raises `Refused` with every fault in it."""
        if isinstance(value, cls):
            return value
        found = object.__new__(cls)
        found._read(value)
        return found

    @classmethod
    def rewritten(cls, data: Any) -> Any:
        """`data` as if it had been written in the usual way."""
        return data

    @classmethod
    def suited(cls, value: Any, _key: str, _before: Mapping[str, Any], /) -> Any:
        """`value` of a key, which suits the values of the keys before it; raises `Mistake`."""
        return value

    def require_sound(self) -> None:
        """Raise `Mistake` if values that are right by themselves do not go together."""

    @property
    def written(self) -> Mapping[str, Any]:
        """The values of the keys that the file holds, without defaults."""
        return {name: vars(self)[name] for name in self._written}

    def altered(self, **values: Any) -> Self:
        """A copy with other values, which are not checked."""
        found = object.__new__(type(self))
        vars(found).update(vars(self) | values)
        object.__setattr__(found, "_written", self._written | values.keys())
        return found

    def _read(self, value: Any) -> None:
        data = applied(self.rewritten, value)
        if not isinstance(data, dict):
            raise refused("mapping", data, "input should be a valid dictionary")
        found, faults = self._values(data)
        faults += _unknown(type(self), data)
        if faults:
            raise Refused(faults)
        vars(self).update(found)
        object.__setattr__(self, "_written", frozenset(data))
        applied(lambda _data: self.require_sound(), data)

    def _values(self, data: dict[Any, Any]) -> tuple[dict[str, Any], list[Fault]]:
        found: dict[str, Any] = {}
        faults: list[Fault] = []
        for key in keys_of(type(self)):
            name = key.name
            if name not in data:
                if key.is_needed:
                    missing = Fault(kind="missing", value=data, what="missing", place=(name,))
                    faults.append(missing)
                else:
                    default = key.default
                    found[name] = default.make() if isinstance(default, _Made) else default
                continue
            try:
                found[name] = applied(self.suited, key.check(data[name]), name, found)
            except Refused as error:
                faults += below(name, error)
        return found, faults

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"'{name}' cannot be changed: settings are frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"'{name}' cannot be removed: settings are frozen")

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """Copies and pickles are made by Python, from the values and what was written."""
        values, slots = state
        vars(self).update(values)
        object.__setattr__(self, "_written", slots["_written"])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self)))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


_KEYS: dict[Any, tuple[_Key, ...]] = {}


def keys_of(kind: Any) -> tuple[_Key, ...]:
    """The keys of a class and of those above it; built when the file first has such a mapping."""
    if kind not in _KEYS:
        _KEYS[kind] = tuple(_keys(kind))
    return _KEYS[kind]


def _keys(kind: Any) -> Iterator[_Key]:
    above = [vars(each) for each in reversed(kind.__mro__)]
    defaults = {name: at for each in above for name, at in each.items()}
    names = {
        name: None
        for each in above
        for name, hint in each.get("__annotations__", {}).items()
        if not hint.startswith("ClassVar")
    }
    return (_Key(name, partial(_checked, kind, name), defaults.get(name, ...)) for name in names)


def _checked(kind: Any, name: str, value: Any) -> Any:
    return _check_of(kind, name)(value)


@cache
def _check_of(kind: Any, name: str) -> Check:
    """The check of a key's value, built when a file first has the key: most have few of them."""
    return form_of(hint_of(kind, name)).check


def _unknown(kind: Any, data: dict[Any, Any]) -> list[Fault]:
    known = frozenset(key.name for key in keys_of(kind))
    faults: list[Fault] = []
    for key, value in data.items():
        if not isinstance(key, str):
            faults.append(Fault(kind="key", value=key, what="keys should be strings", place=(key,)))
        elif key not in known:
            said = {"known": known}
            faults.append(
                Fault(kind="unknown", value=value, what="unknown key", place=(key,), said=said)
            )
    return faults
