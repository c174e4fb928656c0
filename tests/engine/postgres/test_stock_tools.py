"""The promise of docs/restore-postgres.md: psql alone restores a backup."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from holdfast.model.backup import Part, PartKind
from holdfast.sources.postgres.rows.source import PostgresSource
from tests.engine.postgres.equality import checksums, dump, program
from tests.support.loop import keep
from tests.support.postgres_server import PostgresServer


def test_psql_alone_brings_the_corpus_back(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path
) -> None:
    database, restored = corpus(), server.database()
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    psql = [program("psql", server.conninfo(restored)), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    for part in in_order(parts):
        arguments = [word for each in stock_statements(part) for word in ("-c", each)]
        with (tmp_path / part.key).open("rb") as stream:
            subprocess.run(
                [*psql, "-d", server.conninfo(restored), *arguments],
                stdin=stream,
                stdout=subprocess.DEVNULL,
                check=True,
                env=os.environ | {"PGOPTIONS": "-c lc_monetary=C"},
            )
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def in_order(parts: Sequence[Part]) -> Iterator[Part]:
    """As in docs/restore-postgres.md: large objects are created before their contents."""
    for kind in PartKind:
        if kind is not PartKind.GLOBALS:
            of_kind = [part for part in parts if part.kind is kind]
            yield from sorted(of_kind, key=lambda part: "format" in part.details.texts())


def stock_statements(part: Part) -> list[str]:
    if part.kind is PartKind.LARGE_OBJECTS and "format" in part.details.texts():
        return [
            "CREATE TEMPORARY TABLE pages (object oid, start bigint, data bytea)",
            "COPY pages FROM STDIN (FORMAT binary)",
            "SELECT count(lo_put(object, start, data)) FROM pages",
        ]
    statement = part.details.texts().get("statement")
    return [statement] if statement else []
