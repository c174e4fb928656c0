"""What a host lacks for a backup is named before the load, with what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.backup import Manifest, Part, PartKind, Server
from holdfast.model.errors import ToolMissing
from holdfast.model.part_details import PostgresSchema
from holdfast.sources.postgres.drill import requirements
from holdfast.sources.postgres.drill.requirements import Requirements
from holdfast.sources.postgres.server.client_programs import Tool
from tests.fakes.stored import FakeStored
from tests.support.manifests import bare_part, manifest

SCHEMA = """\
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS "../../../etc/passwd" WITH SCHEMA public;
-- CREATE EXTENSION commented;
CREATE COLLATION public.german (provider = libc, locale = 'de_DE.utf8');
CREATE COLLATION public.usual (provider = libc, locale = 'en_US.UTF-8');
CREATE COLLATION public.plain (provider = libc, locale = 'C');
CREATE COLLATION public.icu (provider = icu, locale = 'xx');
"""


def backup(creation: dict[str, str], *, version: str = "17.6 (Debian 17.6-1)") -> Manifest:
    schema = replace(
        bare_part("pre-data.sql", PartKind.PRE_DATA), details=PostgresSchema(creation=creation)
    )
    server = Server(kind="postgres", version=version, database="shop")
    return replace(manifest(), parts=(schema,), server=server)


@contextmanager
def definitions(_part: Part) -> Iterator[Iterator[bytes]]:
    yield iter([SCHEMA.encode()])


STORED = FakeStored(definitions)


def made_of(script: bytes) -> Callable[[Part], AbstractContextManager[Iterator[bytes]]]:
    @contextmanager
    def opened(_part: Part) -> Iterator[Iterator[bytes]]:
        yield iter([script])

    return opened


@pytest.fixture
def initdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with version 18 of the server, one extension and one locale."""
    path = tmp_path / "bin/initdb"
    extensions = tmp_path / "share/postgresql/extension"
    extensions.mkdir(parents=True)
    (extensions / "uuid-ossp.control").touch()
    tool = Tool(path=path, version="18.1", major=18)
    monkeypatch.setattr(requirements, "find", lambda *_: tool)
    monkeypatch.setattr(requirements, "_host_locales", lambda: ["C.utf8", "en_US.utf8"])
    return path


def test_every_missing_thing_is_named_with_what_mends_it(initdb: Path) -> None:
    needs = Requirements(backup({"LC_COLLATE": "fr_FR.UTF-8", "LC_CTYPE": "C.UTF-8"}))
    found = {each.subject: each for each in needs.findings(STORED)}
    assert set(found) == {
        "extension 'vector'",
        "extension '../../../etc/passwd'",
        "locale 'fr_FR.UTF-8'",
        "locale 'de_DE.utf8'",
    }
    assert all(each.blocks for each in found.values())
    assert found["extension 'vector'"].hint.endswith("apt install postgresql-18-pgvector")
    assert "collation 'german' needs it" in found["locale 'de_DE.utf8'"].problem
    assert "the database needs it" in found["locale 'fr_FR.UTF-8'"].problem


def test_the_programs_are_those_beside_initdb(initdb: Path) -> None:
    assert Requirements(backup({})).program("postgres") == str(initdb.with_name("postgres"))


def test_a_host_without_the_server_is_told_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> Tool:
        raise ToolMissing("cannot run 'initdb': it is not installed")

    monkeypatch.setattr(requirements, "find", missing)
    (found,) = Requirements(backup({})).findings(STORED)
    assert found.subject == "PostgreSQL 17"
    assert "apt install postgresql-17" in found.hint


def test_jobs_of_an_extension_that_is_preloaded_do_not_run(initdb: Path) -> None:
    place = initdb.resolve().parent.parent / "share/extension"
    place.mkdir(parents=True, exist_ok=True)
    (place / "timescaledb.control").touch()
    stored = FakeStored(
        made_of(b"CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;\n")
    )
    settings = Requirements(backup({})).preloaded(stored)
    assert settings["shared_preload_libraries"] == "timescaledb"
    assert settings["timescaledb.max_background_workers"] == "0"
    # Whatever the release calls its own switch: jobs run in such processes.
    assert settings["max_worker_processes"] == "0"


def test_an_extension_that_a_restore_cannot_create_is_named_before_the_load(initdb: Path) -> None:
    stored = FakeStored(made_of(b"CREATE EXTENSION pg_cron WITH SCHEMA pg_catalog;\n"))
    (found,) = Requirements(backup({})).findings(stored)
    assert (found.subject, found.blocks) == ("extension 'pg_cron'", True)
    assert "method: physical" in found.hint


def test_libraries_of_sessions_are_named_and_not_loaded(initdb: Path) -> None:
    script = b"ALTER DATABASE :\"DBNAME\" SET \"session_preload_libraries\" TO 'anon', 'lacking';\n"
    (found,) = Requirements(backup({})).findings(FakeStored(made_of(script)))
    assert (found.subject, found.blocks) == ("setting 'session_preload_libraries'", False)
    assert "'anon', 'lacking'" in found.problem
