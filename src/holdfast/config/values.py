"""Durations, sizes, names and numbers as people write them, in mappings that guess nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from holdfast.model.backup import JOB_NAME

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
_SIZE = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(SIZES)})")
# Python refuses to read numbers of thousands of digits.
_DURATION = re.compile(r"(?:\d{1,18}[smhd])+")
_DURATION_STEP = re.compile(r"(\d+)([smhd])")
MOST_PROCESSES = 1000
# Dates this far ahead can still be represented, and no disk is as large as this.
LONGEST = timedelta(days=36500)
LARGEST_BYTES = 1 << 62
SHORTEST_LEASE, LONGEST_LEASE = timedelta(seconds=4), timedelta(days=7)


def problem(what: str, *, hint: str = "") -> PydanticCustomError:
    """An error that pydantic collects; braces in `what` are plain text."""
    return PydanticCustomError("holdfast", "{what}", {"what": what, "hint": hint})


def parse_duration(value: Any) -> timedelta:
    """`2h`, `90m`, `45s`, `1h30m`, as a time span above zero."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise problem(
            f"{shown(value)} is not a duration", hint="write a number and a unit: 45s, 90m, 2h, 1d"
        )
    seconds = sum(int(number) * UNITS[unit] for number, unit in _DURATION_STEP.findall(value))
    if seconds == 0:
        raise problem("a duration must be more than zero", hint="leave the key out")
    if seconds > LONGEST.total_seconds():
        raise problem(f"{shown(value)} is too long for a duration", hint="36500d at most")
    return timedelta(seconds=seconds)


def _lease_time(span: timedelta) -> timedelta:
    if span < SHORTEST_LEASE:
        raise problem(
            f"{span.total_seconds():g}s is too short for a lease_time",
            hint="write 4s or more: with less, a slow store would make a running host look dead",
        )
    if span > LONGEST_LEASE:
        raise problem(
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
        raise problem(f"{shown(value)} is not a size", hint="write 500MB, 64MiB or 1GiB")
    if size_bytes <= 0:
        raise problem("a size must be more than zero", hint="leave the key out")
    if size_bytes > LARGEST_BYTES:
        raise problem(f"{shown(value)} is too large for a size", hint="leave the key out")
    return size_bytes


def _auto_or_number(value: Any) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PROCESSES:
        raise problem(
            f"{shown(value)} is not a number of processes",
            hint=f"write auto, or a whole number from 1 to {MOST_PROCESSES}",
        )
    return value


def _name(value: str) -> str:
    if not JOB_NAME.fullmatch(value):
        raise problem(
            f"{shown(value)} is not a name",
            hint="a name has a-z, 0-9, - and _, begins with a letter or digit, 63 at most",
        )
    return value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise problem(f"'{path}' is not an absolute path", hint="begin it with /")
    if "\0" in str(path):
        raise problem("a path holds no null byte", hint="write it as the shell shows it")
    return path


def shown(value: Any) -> str:
    """A value as the operator wrote it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
LeaseTime = Annotated[Duration, AfterValidator(_lease_time)]
Size = Annotated[int, BeforeValidator(parse_size)]
Processes = Annotated[int | None, BeforeValidator(_auto_or_number)]
Name = Annotated[str, AfterValidator(_name)]
Count = Annotated[int, Field(ge=0, le=10_000)]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]


class Strict(BaseModel):
    """A mapping of the file: no key is ignored, no type is guessed, and values are frozen."""

    # Built at the first use: `holdfast --help` should not wait for it.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _tell_known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        """Record the keys that this mapping may have, to explain an unknown key later."""
        if isinstance(data, dict) and isinstance(info.context, dict):
            info.context[id(data)] = frozenset(cls.model_fields)
        return data
