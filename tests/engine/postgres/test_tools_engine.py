"""The stock artefacts of pg_dump: what they hold, who can read them, and how they fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.errors import (
    AccessDenied,
    BackupFailed,
    RestoreFailed,
    SnapshotLost,
    TargetNotEmpty,
    Unsupported,
    VerifyFailed,
)
from holdfast.model import Consistency, Part, PartKind, PartPlan, Relation
from holdfast.ports import RestoreRequest, Snapshot
from holdfast.sources.postgres_native.target import PostgresTarget
from holdfast.sources.postgres_tools.source import PostgresToolsSource
from tests.engine.loop import Unwatched, bring_back, keep, opener
from tests.engine.main_job import MainJob, Site
from tests.engine.postgres.conftest import Laboratory
from tests.engine.postgres.equality import checksums, dump, program
from tests.engine.postgres.test_main_job import PostgresDatabases
from tests.engine.waiting import until

ALWAYS_PLAIN = 0
NEVER_PLAIN = 1 << 60
BIG = "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 40000) g"


@pytest.fixture(params=[NEVER_PLAIN, ALWAYS_PLAIN], ids=["custom", "plain"])
def plain_from_bytes(request: pytest.FixtureRequest) -> int:
    """Both formats, whatever the size of the database."""
    mark: int = request.param
    return mark


def archive_of(parts: Sequence[Part]) -> Part:
    (part,) = (part for part in parts if part.kind is PartKind.ARCHIVE)
    return part


def archive_plan(snapshot: Snapshot) -> PartPlan:
    (part,) = (part for part in snapshot.parts if part.kind is PartKind.ARCHIVE)
    return part


def restored_with(lab: Laboratory, request: RestoreRequest, folder: Path, database: str) -> None:
    PostgresTarget(url=lab.conninfo(database)).restore(request, opener(folder), Unwatched())


def children(program_name: str, *, of: int) -> list[int]:
    """The running children of a process that are called so."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            # pid (comm) state ppid
            pid, _, rest = (folder / "stat").read_text().partition(" ")
        except (OSError, NotADirectoryError):
            continue
        name, _, status = rest.rpartition(") ")
        if name == f"({program_name}" and int(status.split()[1]) == of:
            found.append(int(pid))
    return found


def test_the_corpus_comes_back_equal(
    lab: Laboratory, corpus: Callable[[], str], tmp_path: Path, plain_from_bytes: int
) -> None:
    database, restored = corpus(), lab.name()
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts = keep(source, tmp_path)
    bring_back(PostgresTarget(url=lab.conninfo(restored)), parts, tmp_path)
    assert dump(lab.conninfo(restored)) == dump(lab.conninfo(database))
    assert checksums(lab.conninfo(restored)) == checksums(lab.conninfo(database))


def test_one_worker_restores_from_one_stream(
    lab: Laboratory, corpus: Callable[[], str], tmp_path: Path
) -> None:
    database, restored = corpus(), lab.name()
    parts = keep(PostgresToolsSource(dsn=lab.conninfo(database)), tmp_path)
    restored_with(lab, RestoreRequest(parts=parts, workers=1), tmp_path, restored)
    assert dump(lab.conninfo(restored)) == dump(lab.conninfo(database))


def test_stock_tools_alone_bring_the_corpus_back(
    lab: Laboratory, corpus: Callable[[], str], tmp_path: Path, plain_from_bytes: int
) -> None:
    database, restored = corpus(), lab.database()
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=plain_from_bytes)
    part = archive_of(keep(source, tmp_path))
    into = lab.conninfo(restored)
    stock = (
        [program("pg_restore", into), "--exit-on-error", f"--dbname={into}"]
        if part.details["format"] == "custom"
        else [program("psql", into), "-X", "-q", "-v", "ON_ERROR_STOP=1", f"--dbname={into}", "-f"]
    )
    subprocess.run([*stock, str(tmp_path / part.key)], check=True, stdout=subprocess.DEVNULL)
    assert dump(into) == dump(lab.conninfo(database))


def test_the_proof_names_the_snapshot_the_tool_and_the_moment(lab: Laboratory) -> None:
    with PostgresToolsSource(dsn=lab.conninfo(lab.database())).open(workers=2) as snapshot:
        assert snapshot.consistency is Consistency.SNAPSHOT
        proof, tools = snapshot.proof, snapshot.tools
        assert proof["server"] == snapshot.server.version
        assert proof["pg_dump"] == tools["pg_dump"]
        assert proof["taken_at"] == snapshot.taken_at.isoformat()
        assert snapshot.exported.name in proof["sessions"]
        assert proof["visible"].startswith(f"{proof['xmin']}:{proof['xmax']}:")


def test_what_is_written_after_the_snapshot_is_not_in_the_dump(
    lab: Laboratory, tmp_path: Path
) -> None:
    database, restored = lab.database("CREATE TABLE t AS SELECT 1 AS a"), lab.name()
    parts = keep(
        PostgresToolsSource(dsn=lab.conninfo(database)),
        tmp_path,
        meanwhile=lambda _: lab.run(database, "INSERT INTO t VALUES (2)"),
    )
    bring_back(PostgresTarget(url=lab.conninfo(restored)), parts, tmp_path)
    assert lab.ask(restored, "SELECT a FROM t") == [(1,)]


def test_a_plan_says_which_format_and_why(lab: Laboratory, plain_from_bytes: int) -> None:
    database = lab.database("CREATE TABLE t AS SELECT 1 AS a")
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=plain_from_bytes)
    form = "custom" if plain_from_bytes else "plain"
    plan = source.plan()
    assert [each.method for each in plan.tables] == [f"pg_dump {form}"]
    assert plan.notes[0].startswith(f"one pg_dump writes the whole database in format {form}: ")
    (format_found,) = (each for each in source.check() if each.subject == "format")
    assert format_found.detail.startswith(f"{form}: ")


def test_what_belongs_to_the_database_itself_comes_back(
    lab: Laboratory, tmp_path: Path, plain_from_bytes: int
) -> None:
    role, database, restored = lab.role(), lab.database(), lab.name()
    for statement in (
        f"ALTER DATABASE \"{database}\" SET work_mem TO '7MB'",
        f"COMMENT ON DATABASE \"{database}\" IS 'it''s ours'",
        f'ALTER DATABASE "{database}" OWNER TO "{role}"',
    ):
        lab.run("postgres", statement)
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts = keep(source, tmp_path)
    bring_back(PostgresTarget(url=lab.conninfo(restored)), parts, tmp_path)
    told = (
        "SELECT pg_get_userbyid(datdba)::text, shobj_description(oid, 'pg_database'),"
        " current_setting('work_mem') FROM pg_database WHERE datname = current_database()"
    )
    assert lab.ask(restored, told) == lab.ask(database, told) == [(role, "it's ours", "7MB")]


def test_single_tables_come_with_the_whole_schema_and_no_foreign_keys(
    lab: Laboratory, tmp_path: Path
) -> None:
    database, restored = (
        lab.database(
            'CREATE SCHEMA "a b"; CREATE TABLE "a b"."c d" (id int PRIMARY KEY);'
            'CREATE SCHEMA a; CREATE TABLE a."b c d" (id int PRIMARY KEY);'
            'INSERT INTO "a b"."c d" VALUES (1); INSERT INTO a."b c d" VALUES (1);'
            'CREATE TABLE child (id int CONSTRAINT far REFERENCES "a b"."c d");'
            "COMMENT ON CONSTRAINT far ON child IS 'far'; INSERT INTO child VALUES (1)",
        ),
        lab.name(),
    )
    parts = keep(PostgresToolsSource(dsn=lab.conninfo(database)), tmp_path)
    wanted = [Relation(schema="a", name="b c d"), Relation(schema="", name="child")]
    bring_back(PostgresTarget(url=lab.conninfo(restored)), parts, tmp_path, tables=wanted)
    counts = 'SELECT (SELECT count(*) FROM "a b"."c d"), (SELECT count(*) FROM a."b c d")'
    assert lab.ask(restored, counts) == [(0, 1)]
    assert lab.ask(restored, "SELECT id FROM child") == [(1,)]
    constraints = "SELECT contype::text FROM pg_constraint WHERE conrelid >= 16384"
    assert lab.ask(restored, f"{constraints} AND contype IN ('p', 'f')") == [("p",), ("p",)]


def test_a_partitioned_table_stands_for_its_partitions(lab: Laboratory, tmp_path: Path) -> None:
    database, restored = (
        lab.database(
            "CREATE TABLE m (a int) PARTITION BY LIST (a);"
            "CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);"
            "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2);"
            "INSERT INTO m VALUES (1), (2); CREATE TABLE other AS SELECT 1 AS a"
        ),
        lab.name(),
    )
    parts = keep(PostgresToolsSource(dsn=lab.conninfo(database)), tmp_path)
    wanted = [Relation(schema="public", name="m")]
    bring_back(PostgresTarget(url=lab.conninfo(restored)), parts, tmp_path, tables=wanted)
    counts = "SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM other)"
    assert lab.ask(restored, counts) == [(2, 0)]


def test_rows_come_into_a_database_in_use_all_or_none(lab: Laboratory, tmp_path: Path) -> None:
    database = lab.database(
        "CREATE TABLE a AS SELECT g AS x FROM generate_series(1, 9) g",
        "CREATE TABLE b AS SELECT g AS x FROM generate_series(1, 9) g",
    )
    parts = keep(PostgresToolsSource(dsn=lab.conninfo(database)), tmp_path)
    tables = [Relation(schema="public", name="a"), Relation(schema="public", name="b")]
    target = PostgresTarget(url=lab.conninfo(database))
    with pytest.raises(TargetNotEmpty, match=r"'public\.a'.* it holds rows"):
        bring_back(target, parts, tmp_path, tables=tables)
    lab.run(database, "DELETE FROM a; DELETE FROM b; ALTER TABLE b ADD CHECK (x < 9)")
    with pytest.raises(RestoreFailed, match="violates check constraint"):
        bring_back(target, parts, tmp_path, tables=tables)
    counts = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"
    assert lab.ask(database, counts) == [(0, 0)]
    bring_back(target, parts, tmp_path, tables=tables[:1])
    assert lab.ask(database, counts) == [(9, 0)]
    with pytest.raises(Unsupported, match="cannot replace rows"):
        bring_back(target, parts, tmp_path, tables=tables, overwrite=True)


def test_rows_alone_come_back_with_their_sequences(lab: Laboratory, tmp_path: Path) -> None:
    schema = "CREATE TABLE a (id serial, t text)"
    database = lab.database(schema, "INSERT INTO a (t) VALUES ('x'), ('y')")
    parts = keep(PostgresToolsSource(dsn=lab.conninfo(database)), tmp_path)
    other = lab.database(schema)
    request = RestoreRequest(parts=parts, data_only=True, triggers=False, workers=2)
    restored_with(lab, request, tmp_path, other)
    assert dump(lab.conninfo(other)) == dump(lab.conninfo(database))


def test_owners_and_privileges_can_be_left_out(lab: Laboratory, tmp_path: Path) -> None:
    role = lab.role()
    database, restored = (
        lab.database(
            f'CREATE TABLE a (x int); ALTER TABLE a OWNER TO "{role}"; GRANT SELECT ON a TO PUBLIC'
        ),
        lab.name(),
    )
    lab.run("postgres", f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    parts = keep(PostgresToolsSource(dsn=lab.conninfo(database)), tmp_path)
    lab.run(database, "ALTER TABLE a OWNER TO CURRENT_USER")
    lab.run("postgres", f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER')
    lab.run("postgres", f'DROP ROLE "{role}"')
    request = RestoreRequest(parts=parts, owners=False, privileges=False)
    restored_with(lab, request, tmp_path, restored)
    assert lab.ask(restored, "SELECT relacl FROM pg_class WHERE relname = 'a'") == [(None,)]


def test_a_dump_in_plain_sql_refuses_what_it_cannot_do(lab: Laboratory, tmp_path: Path) -> None:
    database = lab.database("CREATE TABLE a AS SELECT 1 AS x")
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=ALWAYS_PLAIN)
    parts, before = keep(source, tmp_path), lab.databases()
    for request, what in (
        (RestoreRequest(parts=parts, tables=(Relation(schema="public", name="a"),)), "single tab"),
        (RestoreRequest(parts=parts, data_only=True), "rows alone"),
        (RestoreRequest(parts=parts, owners=False), "everything but owners"),
        (RestoreRequest(parts=parts, privileges=False), "everything but privileges"),
    ):
        with pytest.raises(Unsupported, match=f"cannot restore {what}"):
            restored_with(lab, request, tmp_path, lab.name())
    assert lab.databases() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_an_object_that_cannot_come_back_is_named_and_nothing_stays(
    lab: Laboratory, tmp_path: Path, workers: int, plain_from_bytes: int
) -> None:
    role = lab.role()
    columns = ", ".join(f"column_{number} int" for number in range(60))
    database = lab.database(f"CREATE TABLE a ({columns})", f'ALTER TABLE a OWNER TO "{role}"')
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts = keep(source, tmp_path)
    lab.run(database, "ALTER TABLE a OWNER TO CURRENT_USER")
    lab.run("postgres", f'DROP ROLE "{role}"')
    before = lab.databases()
    with pytest.raises(RestoreFailed) as caught:
        restored_with(lab, RestoreRequest(parts=parts, workers=workers), tmp_path, lab.name())
    assert caught.value.message.startswith("cannot restore table '")
    assert f'role "{role}" does not exist' in caught.value.message
    assert "--globals" in caught.value.hint
    assert lab.databases() == before


def test_a_part_that_turns_out_damaged_leaves_no_database(
    lab: Laboratory, tmp_path: Path, plain_from_bytes: int
) -> None:
    database = lab.database(BIG)
    source = PostgresToolsSource(dsn=lab.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts, before = keep(source, tmp_path), lab.databases()

    class Damaged:
        def __init__(self, part: Part) -> None:
            self._part = part

        def __enter__(self) -> Iterator[bytes]:
            return self._chunks()

        def __exit__(self, *_: object) -> None: ...

        def _chunks(self) -> Iterator[bytes]:
            with opener(tmp_path)(self._part) as chunks:
                yield next(chunks)
            if self._part.kind is PartKind.ARCHIVE:
                raise VerifyFailed(f"cannot trust part '{self._part.name}'")

    target = PostgresTarget(url=lab.conninfo(lab.name()))
    with pytest.raises(VerifyFailed):
        target.restore(RestoreRequest(parts=parts, workers=1), Damaged, Unwatched())
    assert lab.databases() == before
    until(lambda: lab.sessions("holdfast-restore-%") == 0)


def test_a_wrong_password_is_refused_and_never_repeated(lab: Laboratory) -> None:
    role = lab.role(password="right")
    dsn = lab.over_tcp("postgres", user=role)
    with pytest.raises(AccessDenied) as caught:
        PostgresToolsSource(dsn=dsn, password="wr0ng-secret").check()
    assert "wr0ng-secret" not in caught.value.message + caught.value.hint


def test_a_password_reaches_pg_dump_by_environment_alone(lab: Laboratory, tmp_path: Path) -> None:
    role = lab.role(password="the-s3cret", options="SUPERUSER")
    database = lab.database(BIG)
    source = PostgresToolsSource(dsn=lab.over_tcp(database, user=role), password="the-s3cret")
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        next(iter(stream))
        (pid,) = children("pg_dump", of=os.getpid())
        assert b"the-s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert children("pg_dump", of=os.getpid()) == []


def test_a_pg_dump_that_is_killed_fails_the_part(lab: Laboratory) -> None:
    source = PostgresToolsSource(
        dsn=lab.conninfo(lab.database(BIG)),
        application_name="test-killed",
        plain_from_bytes=ALWAYS_PLAIN,
    )
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        chunks = iter(stream)
        next(chunks)
        (pid,) = children("pg_dump", of=os.getpid())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackupFailed, match=r"cannot read database .*SIGKILL"):
            list(chunks)
    until(lambda: lab.sessions("test-killed") == 0)


def test_an_abort_ends_pg_dump(lab: Laboratory) -> None:
    source = PostgresToolsSource(
        dsn=lab.conninfo(lab.database(BIG)),
        application_name="test-aborted",
        plain_from_bytes=ALWAYS_PLAIN,
    )
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        chunks = iter(stream)
        next(chunks)
        snapshot.abort()
        snapshot.abort()
        with pytest.raises(BackupFailed, match="the run was ended"):
            list(chunks)
        with pytest.raises(BackupFailed), snapshot.read(archive_plan(snapshot)):
            pass
        assert children("pg_dump", of=os.getpid()) == []
    until(lambda: lab.sessions("test-aborted") == 0)


@pytest.fixture
def own_server(lab: Laboratory, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A server for this test alone, in its folder's socket; yields what stops it at once."""
    data, socket = tmp_path / "data", tmp_path
    initdb, pg_ctl = (program(name, lab.superuser) for name in ("initdb", "pg_ctl"))
    subprocess.run(
        [initdb, "-A", "trust", "-N", "-U", "postgres", "-D", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    options = f"-k {socket} -h '' -c fsync=off"
    log = str(tmp_path / "log")
    subprocess.run(
        [pg_ctl, "-w", "-D", str(data), "-o", options, "-l", log, "start"],
        check=True,
        stdout=subprocess.DEVNULL,
    )

    def stop() -> None:
        subprocess.run(
            [pg_ctl, "-w", "-D", str(data), "-m", "immediate", "stop"],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    try:
        yield stop
    finally:
        if (data / "postmaster.pid").exists():
            stop()


def test_a_server_that_stops_midway_fails_the_part(
    own_server: Callable[[], None], tmp_path: Path
) -> None:
    dsn = make_conninfo(host=str(tmp_path), user="postgres", dbname="postgres")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BIG)
    source = PostgresToolsSource(dsn=dsn, plain_from_bytes=ALWAYS_PLAIN)
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        chunks = iter(stream)
        next(chunks)
        own_server()
        with pytest.raises(SnapshotLost, match="cannot read database 'postgres'"):
            list(chunks)


class ToolsDatabases(PostgresDatabases):
    """The same databases, backed up by the other engine."""

    def source(self, database: str) -> dict[str, str]:
        return super().source(database) | {"engine": "tools"}

    def refused_source(self, database: str) -> dict[str, str]:
        return super().refused_source(database) | {"engine": "tools"}

    def silent_source(self) -> dict[str, str]:
        return super().silent_source() | {"engine": "tools"}


@pytest.fixture
def databases(lab: Laboratory, tmp_path: Path) -> ToolsDatabases:
    return ToolsDatabases(lab, tmp_path)


class TestToolsMainJob(MainJob):
    """All of it, and what only this engine can meet."""

    def test_a_pg_dump_that_is_killed_leaves_nothing_in_the_repository(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make(rows=80_000)), level=6)
        with site.standing_still() as running:
            (pid,) = children("pg_dump", of=running.pid)
            os.kill(pid, signal.SIGKILL)
            running.send_signal(signal.SIGCONT)
            assert running.wait(120) == 30
        assert site.files() == []
        assert site.run("status", "shop")["jobs"][0]["last_run"]["exit_code"] == 30

    def test_the_dump_is_stored_as_pg_dump_compressed_it(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make(rows=10)))
        site.run("backup", "shop")
        (stored,) = (path for path in site.files() if path.suffix == ".dump")
        listed = subprocess.run(
            ["pg_restore", "--list", str(stored)], check=True, capture_output=True, text=True
        )
        assert "TABLE DATA public filler" in listed.stdout

    def test_one_table_comes_back_by_its_name(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=10)
        site = Site(tmp_path, databases.source(database))
        site.run("backup", "shop")
        restored, url = databases.new_name(), databases.url
        site.run("restore", "shop/latest", "--to", url(restored), "--table", "public.filler")
        assert databases.checksums(restored) == databases.checksums(database)
        refused = site.run(
            "restore", "shop/latest", "--to", url(databases.new_name()), "--table", "x", code=32
        )
        assert refused["error"] == "cannot restore table 'x': the backup has no rows of it"
