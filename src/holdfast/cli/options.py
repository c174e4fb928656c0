"""Values of options as people write them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

Value = TypeVar("Value")
Command = Callable[..., None]


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


def grouped(build: Callable[..., Any], *, name: str) -> Callable[[Command], Command]:
    """Give a command the options that `build` takes; it gets what they come to as `name`."""

    def decorated(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        options = inspect.signature(build, eval_str=True).parameters

        @wraps(command)
        def called(**arguments: Any) -> None:
            said = {each: arguments.pop(each) for each in options}
            command(**arguments, **{name: build(**said)})

        parameters = [each for each in own.parameters.values() if each.name != name]
        parameters += options.values()
        called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # known to inspect only
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorated


ChunkSize = Annotated[
    int | None,
    typer.Option(
        "--chunk-size",
        metavar="SIZE",
        parser=size_option,
        help="Split tables above this (256MiB, 1GiB) instead of the configured size.",
    ),
]


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped, and why.")]
