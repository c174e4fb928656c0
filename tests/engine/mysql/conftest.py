"""A real server: HOLDFAST_TEST_MYSQL is the address of its administrator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.model.backup import Part
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.support.loop import keep
from tests.support.mysql_server import PASSWORD, MysqlServer, ticked


@contextmanager
def mysql_server() -> Iterator[MysqlServer]:
    url = os.environ.get("HOLDFAST_TEST_MYSQL")
    if not url:
        pytest.fail("set HOLDFAST_TEST_MYSQL to the address of the server's administrator")
    opened = MysqlServer(url)
    try:
        yield opened
    finally:
        opened.clean()


@pytest.fixture
def server() -> Iterator[MysqlServer]:
    with mysql_server() as opened:
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A backup of the corpus, read by an account with the documented grants and no other."""

    database: str
    parts: tuple[Part, ...]
    folder: Path
    description: list[bytes]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    with mysql_server() as server:
        other = server.database("CREATE TABLE far (id int PRIMARY KEY)")
        original = server.corpus()
        joined = f"parent p JOIN {ticked(other)}.far f ON f.id = p.id"
        server.run(original, f"CREATE VIEW across AS SELECT p.id, 'from' AS w FROM {joined}")
        source = MysqlSource(server.url(original, user=server.reader(original)), password=PASSWORD)
        assert all(not finding.problem for finding in source.check())
        assert source.connections_free() > 0
        yield Kept(
            database=original,
            parts=keep(source, folder),
            folder=folder,
            description=server.described(original),
        )
