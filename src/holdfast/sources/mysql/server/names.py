"""Names and values as they stand in SQL text and in part names."""

from __future__ import annotations

import re

SLUG_LENGTH = 40


def quoted(name: str) -> str:
    """An identifier that the server takes literally, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def unquoted(identifier: str) -> str:
    """The name behind what `quoted` or the server made of it."""
    if identifier.startswith("`"):
        return identifier[1:-1].replace("``", "`")
    return identifier


def select(what: str, table: str, rest: str = "") -> str:
    """A question about one table of the current database."""
    return " ".join(("SELECT", what, "FROM", quoted(table), rest))


def text_literal(text: str) -> str:
    """A string literal that no sql_mode and no character set can read differently."""
    return f"CONVERT(x'{text.encode().hex()}' USING utf8mb4)"


def slug(name: str) -> str:
    """A table's name as far as a file name on any store can carry it."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:SLUG_LENGTH].strip("-") or "table"
