"""Values of options as people write them."""

from __future__ import annotations

import typer


def size_option(text: str | int) -> int:
    """`256MiB` or `1GB` as bytes."""
    from pydantic_core import PydanticCustomError  # only where the option is used

    from holdfast.config.values import parse_size

    try:
        return parse_size(text)
    except PydanticCustomError as error:
        hint = (error.context or {}).get("hint", "")
        raise typer.BadParameter(f"{error.message()}: {hint}") from error
