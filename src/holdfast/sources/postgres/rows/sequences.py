"""Where every sequence stands, as SQL that puts it there again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from holdfast.model.backup import Buffer, Relation
from holdfast.sources.postgres.server.quoting import literal, qualified

SEQUENCES_PER_QUERY = 200
# A sequence's position is no part of any snapshot: it is read now, so never behind the rows.
_HEADER = """\
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
"""


def statements(connection: psycopg.Connection, relations: Sequence[Relation]) -> Iterator[Buffer]:
    yield _HEADER.encode()
    for first in range(0, len(relations), SEQUENCES_PER_QUERY):
        batch = relations[first : first + SEQUENCES_PER_QUERY]
        found = connection.execute(_positions(batch).encode()).fetchall()
        lines = [
            _set(batch[number], last_value, is_called=is_called)
            for number, last_value, is_called in found
        ]
        yield "".join(lines).encode()


def _positions(batch: Sequence[Relation]) -> str:
    # pg_sequences would hide a position that was set but not yet used.
    return " UNION ALL ".join(
        f"SELECT {number}, last_value, is_called FROM {qualified(relation)}"  # noqa: S608  # names are quoted
        for number, relation in enumerate(batch)
    )


def _set(relation: Relation, last_value: int, *, is_called: bool) -> str:
    called = "true" if is_called else "false"
    return f"SELECT pg_catalog.setval({literal(qualified(relation))}, {last_value}, {called});\n"
