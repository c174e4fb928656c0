"""Values of options as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import typer

Value = TypeVar("Value")


def size_option(text: str | int) -> int:
    """`256MiB` or `1GB` as bytes."""
    from holdfast.config.values import parse_size  # pydantic, only where the option is used

    return _parsed(parse_size, text)


def duration_option(text: str | timedelta) -> timedelta:
    """`30m` or `1h30m` as a time span."""
    if isinstance(text, timedelta):
        return text
    from holdfast.config.values import parse_duration

    return _parsed(parse_duration, text)


def _parsed(parse: Callable[[object], Value], text: object) -> Value:
    from pydantic_core import PydanticCustomError

    try:
        return parse(text)
    except PydanticCustomError as error:
        hint = (error.context or {}).get("hint", "")
        raise typer.BadParameter(f"{error.message()}: {hint}") from error
