"""Settings become the right objects, without any connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config.load import load
from holdfast.config.repositories import LocalSettings
from holdfast.config.settings import Settings
from holdfast.locking.host_lock import WaitingGuard
from holdfast.locking.job_lock import LeasedGuard
from holdfast.model.backup import Codec, Selection
from holdfast.model.errors import ConfigInvalid, UnknownJob, Unsupported
from holdfast.model.fingerprints import FAST, ONLY_SHA256, Algorithms
from holdfast.model.retention import Policy
from holdfast.ports.sessions import HeldKind
from holdfast.repositories.local import LocalRepository
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.wiring import jobs as wiring, reading, repositories, sources as wiring_sources, wal
from holdfast.wiring.drill import drill_context
from tests.fakes.progress import FakeProgress

TEXT = """\
state_directory: {folder}
repositories:
  main: {{kind: local, path: /var/lib/holdfast}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "host=/run/postgresql dbname=shop user=holdfast"}}
    repository: main
    retention: {{daily: 7, last: 2}}
  artefacts:
    source: {{kind: postgres, engine: tools, dsn: "dbname=shop"}}
    repository: main
  cluster:
    source: {{kind: postgres, method: physical, dsn: "dbname=shop"}}
    repository: main
  held:
    source: {{kind: postgres, method: physical, dsn: "dbname=shop", session: daemon}}
    repository: main
  streamed:
    source: {{kind: postgres, engine: tools, method: physical, dsn: "dbname=shop"}}
    repository: main
  stock:
    source: {{kind: mysql, dsn: "mysql://holdfast@localhost/stock?unix_socket=/run/x.sock"}}
    repository: main
    compression: {{codec: gzip}}
    overlap: wait
  dumps:
    source:
      {{kind: mysql, engine: tools, backup_as_tables: true, dsn: "mysql://u@localhost/stock"}}
    repository: main
    compression: {{program: 7z}}
  files:
    source: {{kind: mysql, engine: tools, method: physical, dsn: "mysql://u@localhost/mysql"}}
    repository: main
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "holdfast.yaml"
    path.write_text(TEXT.format(folder=tmp_path))
    return load(path)


@pytest.mark.parametrize(
    ("job", "source", "guard", "codec", "level"),
    [
        ("shop", "PostgresSource", LeasedGuard, Codec.ZSTD, 1),
        ("artefacts", "PostgresToolsSource", LeasedGuard, Codec.ZSTD, 1),
        ("cluster", "PhysicalSource", LeasedGuard, Codec.ZSTD, 1),
        ("held", "PhysicalSource", LeasedGuard, Codec.ZSTD, 1),
        ("streamed", "StreamSource", LeasedGuard, Codec.ZSTD, 1),
        ("stock", "MysqlSource", WaitingGuard, Codec.GZIP, 6),
        ("dumps", "MysqlToolsSource", LeasedGuard, Codec.XZ, 6),
        ("files", "MysqlPhysicalSource", LeasedGuard, Codec.ZSTD, 1),
    ],
)
def test_a_job_gets_the_context_that_its_settings_name(
    settings: Settings, job: str, source: str, guard: type, codec: Codec, level: int
) -> None:
    context = wiring.backup_context(settings, job, progress=FakeProgress())
    assert type(context.source).__name__ == source
    assert isinstance(context.repository, LocalRepository)
    assert isinstance(context.ownership.guard, guard)
    assert (context.job.form.codec, context.job.form.level) == (codec, level)
    assert context.job.form.fingerprints == FAST


@pytest.mark.parametrize(
    ("everywhere", "in_job", "expected"),
    [
        ("", "", FAST),
        ("sha256", "", ONLY_SHA256),
        ("", "sha256", ONLY_SHA256),
        ("sha256", "blake3", FAST),
    ],
)
def test_a_job_has_its_own_fingerprints_or_those_of_the_whole_file(
    tmp_path: Path, everywhere: str, in_job: str, expected: Algorithms
) -> None:
    text = TEXT.format(folder=tmp_path)
    if everywhere:
        text = f"fingerprint: {everywhere}\n{text}"
    if in_job:
        text = text.replace("    retention:", f"    fingerprint: {in_job}\n    retention:", 1)
    path = tmp_path / "holdfast.yaml"
    path.write_text(text)
    settings = load(path)
    made = wiring.backup_context(settings, "shop", progress=FakeProgress())
    assert made.job.form.fingerprints == expected
    assert wal.archiving(settings, "shop").job.form.fingerprints == expected


def test_retention_reaches_the_job(settings: Settings) -> None:
    context = wiring.backup_context(settings, "shop", progress=FakeProgress())
    assert context.job.retention == Policy(daily=7, last=2)


def test_the_run_id_is_random_and_that_of_the_lock(settings: Settings, tmp_path: Path) -> None:
    store = LocalSettings(kind="local", path=tmp_path)
    settings = settings.altered(repositories={"main": store})
    first, second = (wiring.backup_context(settings, "shop", progress=FakeProgress()) for _ in "12")
    assert len(first.ownership.new_run_id()) == 32
    assert first.ownership.new_run_id() != second.ownership.new_run_id()
    with first.ownership.guard.hold("shop", deadline=None):
        owner = first.ownership.guard.owner("shop")
    assert owner is not None
    assert owner["run_id"] == first.ownership.new_run_id()


def test_a_repository_with_slots_has_its_writers_counted(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    store = LocalSettings(kind="local", path=folder, repository_slots=2)
    counted = settings.altered(repositories={"main": store})
    guard = wiring.backup_context(counted, "shop", progress=FakeProgress()).ownership.guard
    assert list(folder.glob("_slots/*/*")) == []
    with guard.hold("shop", deadline=None):
        (slot,) = folder.glob("_slots/*/*")
        assert slot.parent.name in ("1", "2")


def test_backups_of_a_job_that_is_gone_are_looked_for_in_the_only_repository(
    settings: Settings,
) -> None:
    assert isinstance(reading.repository_of(settings, "bygone"), LocalRepository)


@pytest.mark.parametrize("name", ["/srv/data", "../..", ".", "", "shop/x"])
def test_a_path_is_no_job_to_drill(settings: Settings, name: str) -> None:
    reader = reading.reader_of(settings, "bygone", progress=FakeProgress())
    with pytest.raises(UnknownJob, match="cannot find job"):
        drill_context(settings, name, reader)


def test_with_two_repositories_a_job_that_is_gone_is_unknown(settings: Settings) -> None:
    main = settings.repositories["main"]
    two = settings.altered(repositories={"main": main, "other": main})
    with pytest.raises(UnknownJob, match="cannot find job 'bygone'"):
        reading.repository_of(two, "bygone")


@pytest.mark.parametrize(
    ("url", "kind", "target"),
    [
        ("postgresql:///copy", "postgres", "PostgresTarget"),
        ("postgres://restorer@db/copy", "postgres", "PostgresTarget"),
        ("mysql://root@localhost/copy", "mariadb", "MysqlTarget"),
        ("mysql://root@localhost/copy", "mysql", "MysqlTarget"),
    ],
)
def test_the_scheme_of_a_url_chooses_the_target(url: str, kind: str, target: str) -> None:
    made = wiring_sources.target_for(url, kind=kind, password_file=None)
    assert type(made).__name__ == target


@pytest.mark.parametrize("url", ["mysql://root@localhost/copy", "sqlite:///copy", "copy"])
def test_a_target_that_cannot_hold_the_backup_is_refused(url: str) -> None:
    with pytest.raises(Unsupported, match="cannot restore into a"):
        wiring_sources.target_for(url, kind="postgres", password_file=None)


def test_a_password_file_for_a_target_must_be_private(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    url = "postgresql:///copy"
    with pytest.raises(ConfigInvalid, match=r"is accessible to others \(mode 0644\)"):
        wiring_sources.target_for(url, kind="postgres", password_file=secret)
    secret.chmod(0o600)
    made = wiring_sources.target_for(url, kind="postgres", password_file=secret)
    assert "hunter2" not in made.name


def test_what_a_mysql_job_says_of_databases_tables_and_locks_reaches_its_engine(
    tmp_path: Path,
) -> None:
    path = tmp_path / "holdfast.yaml"
    path.write_text(
        TEXT.format(folder=tmp_path)
        + "  all:\n"
        + '    source: {kind: mysql, dsn: "mysql://holdfast@localhost", databases: all,\n'
        + '             exclude_tables: ["log_*"], ddl: block, lock_hold: 3s}\n'
        + "    repository: main\n"
    )
    source = wiring.backup_context(load(path), "all", progress=FakeProgress()).source
    assert isinstance(source, MysqlSource)
    assert source.options == Options(
        databases=Selection(include=("*",)),
        tables=Selection(include=("*",), exclude=("log_*",)),
        ddl="block",
        hold_seconds=3.0,
    )


@pytest.mark.parametrize(
    ("job", "kind"),
    [("shop", HeldKind.SNAPSHOT), ("cluster", HeldKind.BACKUP), ("held", HeldKind.BACKUP)],
)
def test_a_session_is_held_for_what_the_engine_needs(
    settings: Settings, job: str, kind: HeldKind
) -> None:
    assert wiring_sources.sessions_of(repositories.job_settings(settings, job), job)[1] is kind


def test_a_server_that_has_no_sessions_to_share_is_said_to_have_none(settings: Settings) -> None:
    with pytest.raises(Unsupported, match="a mysql server has none to share"):
        wiring_sources.sessions_of(repositories.job_settings(settings, "stock"), "stock")


def test_a_cluster_goes_into_a_folder_and_a_database_does_not() -> None:
    target = wiring_sources.target_for(
        "file:///srv/back", kind="postgres-cluster", password_file=None
    )
    assert target.name == "file:///srv/back"
    for url, kind in (("file:///srv/back", "postgres"), ("postgresql:///x", "postgres-cluster")):
        with pytest.raises(Unsupported, match=f"the backup is of a {kind} server"):
            wiring_sources.target_for(url, kind=kind, password_file=None)


@pytest.mark.parametrize("to", ["host=/run/postgresql dbname=shop", "dbname=shop password=x://y"])
def test_a_target_may_be_written_as_a_dsn_is(to: str) -> None:
    target = wiring_sources.target_for(to, kind="postgres", password_file=None)
    assert target.name.startswith("database 'shop' on")


def test_a_target_that_cannot_be_read_is_not_repeated_with_its_password() -> None:
    with pytest.raises(Unsupported) as caught:
        wiring_sources.target_for("PGPASSWORD=s3cret", kind="postgres", password_file=None)
    assert "s3cret" not in caught.value.message


def test_a_chunk_size_of_one_run_reaches_its_source_and_leaves_the_settings_alone(
    settings: Settings,
) -> None:
    job = repositories.job_settings(settings, "shop")
    before = dict(vars(job))
    source = wiring_sources.source_of(job, wiring_sources.SourceOptions(chunk_bytes=4096))
    assert isinstance(source, PostgresSource)
    assert source.chunk_bytes == 4096
    assert vars(job) == before


@pytest.mark.parametrize("name", ["artefacts", "cluster", "stock"])
def test_a_chunk_size_is_refused_where_no_table_is_split(settings: Settings, name: str) -> None:
    job = repositories.job_settings(settings, name)
    with pytest.raises(Unsupported, match="cannot set the size of table ranges"):
        wiring_sources.source_of(job, wiring_sources.SourceOptions(chunk_bytes=4096))


@pytest.mark.parametrize(
    ("job", "limit_mb", "expected_mb"),
    [("shop", 0, 33), ("shop", 100, 2), ("shop", 1000, 33), ("cluster", 0, 0), ("stock", 0, 0)],
)
def test_large_objects_get_memory_within_the_limit_of_the_job(
    tmp_path: Path, job: str, limit_mb: int, expected_mb: int
) -> None:
    text = TEXT.format(folder=tmp_path)
    if limit_mb:
        text = text.replace("    retention:", f"    memory_limit_mb: {limit_mb}\n    retention:", 1)
    path = tmp_path / "holdfast.yaml"
    path.write_text(text)
    made = wiring.backup_context(load(path), job, progress=FakeProgress())
    assert made.job.form.blob_memory_bytes >> 20 == expected_mb
