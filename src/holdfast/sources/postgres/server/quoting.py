"""Names and values as SQL text, and names as file names."""

from __future__ import annotations

import re
import unicodedata

from holdfast.model.backup import Relation

SLUG_LENGTH = 48
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")


def identifier(name: str) -> str:
    """Always quoted: whether a bare word is reserved changes with the server's version."""
    return '"' + name.replace('"', '""') + '"'


def qualified(relation: Relation) -> str:
    return f"{identifier(relation.schema)}.{identifier(relation.name)}"


def literal(text: str) -> str:
    """A string constant for sessions with `standard_conforming_strings = on`, as ours are."""
    return "'" + text.replace("'", "''") + "'"


def slug(named: Relation | str) -> str:
    """What is left of a name on the narrowest store; unique only together with a number."""
    plain = unicodedata.normalize("NFKD", str(named)).encode("ascii", "ignore").decode()
    return _NOT_PLAIN.sub("-", plain.lower()).strip("-")[:SLUG_LENGTH].strip("-") or "table"
