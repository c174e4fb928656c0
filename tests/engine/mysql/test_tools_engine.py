"""The engine `tools` against a real server: what it stores, refuses and reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import Consistency, PartKind
from holdfast.model.errors import BackupFailed, GrantMissing, Unsupported
from holdfast.ports.source import Snapshot
from holdfast.sources.mysql.dump.source import MysqlToolsSource
from holdfast.sources.mysql.restore.target import MysqlTarget
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import (
    MARIADB,
    PASSWORD,
    MysqlServer,
    differences,
    of_database,
    ticked,
)

PROGRAMS = (
    "CREATE TABLE parent (id int PRIMARY KEY, total int NOT NULL DEFAULT 0)",
    (
        "CREATE TABLE child (id int PRIMARY KEY, parent int, CONSTRAINT fk FOREIGN KEY (parent)"
        " REFERENCES parent (id))"
    ),
    "CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 2",
    "CREATE PROCEDURE tidy() DELETE FROM child WHERE id < 0",
    "CREATE VIEW inner_view AS SELECT id, twice(total) AS doubled FROM parent",
    "CREATE VIEW a_view_on_it AS SELECT * FROM inner_view",
    "INSERT INTO parent VALUES (1, 10), (2, 20)",
    "INSERT INTO child VALUES (1, 1), (2, 2), (3, 2)",
    (
        "CREATE TRIGGER counts AFTER INSERT ON child FOR EACH ROW"
        " UPDATE parent SET total = total + 1 WHERE id = NEW.parent"
    ),
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM child WHERE id < 0",
)
# docs/restore-mysql.md names it: an ENUM with '' for a member.
BEYOND_A_DUMP = {"choices"}
KINDS = pytest.mark.parametrize("as_tables", [False, True], ids=["whole", "by table"])


@KINDS
def test_programs_views_events_and_triggers_come_back_and_fired_for_no_row(
    server: MysqlServer, tmp_path: Path, *, as_tables: bool
) -> None:
    original, copy = server.database(*PROGRAMS), server.name()
    parts = keep(MysqlToolsSource(server.url(original), as_tables=as_tables), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert differences(server.described(copy), server.described(original)) == []
    assert server.ask(copy, "SELECT doubled FROM a_view_on_it ORDER BY id") == [("20",), ("40",)]


@KINDS
def test_the_corpus_comes_back_equal_but_for_what_was_announced(
    server: MysqlServer, tmp_path: Path, *, as_tables: bool
) -> None:
    original, copy = server.corpus(), server.name()
    server.run(original, *without_what_is_refused(server, original, as_tables=as_tables))
    source = MysqlToolsSource(server.url(original), as_tables=as_tables)
    proofs: list[dict[str, str]] = []
    parts = keep(source, tmp_path, meanwhile=lambda taken: proofs.append(taken.proof.texts()))
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    announced = {
        column.partition(".")[0]
        for kind in ("rounded_columns", "converted_columns", "json_columns")
        for column in proofs[0].get(kind, "").split(", ")
    }
    before, after = server.checksums(original), server.checksums(copy)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= announced | BEYOND_A_DUMP


def test_a_dump_that_is_restored_under_another_name_does_not_touch_the_old_one(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE t (at date)",
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        "INSERT INTO t VALUES ('2024-02-31')",
        "CREATE FUNCTION f(x varchar(9)) RETURNS text DETERMINISTIC RETURN CONCAT(x, 'z')",
        "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin",
        "CREATE VIEW v AS SELECT at FROM t WHERE (SELECT COUNT(*) FROM mysql.user) > 0",
    )
    if server.brand is MARIADB:
        server.run(original, "CREATE SEQUENCE s", "CREATE TABLE u (a int DEFAULT NEXTVAL(s))")
    parts = keep(MysqlToolsSource(server.url(original)), tmp_path)
    description = server.described(original)
    # A server without it could not alter it either.
    server.drop(original)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert differences(server.described(copy), description) == []
    assert server.ask(copy, "SELECT CONCAT(at) FROM t") == [("2024-02-31",)]


@KINDS
def test_the_label_of_a_backup_says_how_consistent_it_is(
    server: MysqlServer, tmp_path: Path, *, as_tables: bool
) -> None:
    seen: list[Snapshot] = []
    source = MysqlToolsSource(server.url(server.database(*PROGRAMS)), as_tables=as_tables)
    parts = keep(source, tmp_path, meanwhile=seen.append)
    label = Consistency.PER_TABLE if as_tables else Consistency.PER_DATABASE
    assert (seen[0].consistency, source.plan().consistency) == (label, label)
    kinds = {part.kind for part in parts}
    assert (PartKind.ARCHIVE in kinds, PartKind.DATA in kinds) == (not as_tables, as_tables)


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("DROP TABLE t", "Couldn't find table"),
        ("ALTER TABLE t ADD COLUMN late int", "it was altered while it was read"),
    ],
)
def test_a_table_that_is_dropped_or_altered_in_the_middle_fails_by_its_name(
    server: MysqlServer, tmp_path: Path, statement: str, cause: str
) -> None:
    database = server.database("CREATE TABLE t (id int PRIMARY KEY)")
    source = MysqlToolsSource(server.url(database), as_tables=True)
    with pytest.raises(BackupFailed) as failure:
        keep(source, tmp_path, meanwhile=lambda _: server.run(database, statement))
    assert failure.value.message.startswith(f"cannot back up table '{database}.t': ")
    assert cause in failure.value.message
    assert "run the backup again" in failure.value.hint


def test_a_table_dropped_before_the_whole_dump_is_simply_not_in_it(
    server: MysqlServer, tmp_path: Path
) -> None:
    database = server.database("CREATE TABLE t (id int)", "CREATE TABLE u (id int)")
    source = MysqlToolsSource(server.url(database))
    keep(source, tmp_path, meanwhile=lambda _: server.run(database, "DROP TABLE t"))
    (dump,) = (tmp_path / "dump").iterdir()
    assert b"CREATE TABLE `u`" in dump.read_bytes()
    assert b"CREATE TABLE `t`" not in dump.read_bytes()


def test_tables_of_other_engines_are_locked_one_by_one_or_refused(
    server: MysqlServer, tmp_path: Path
) -> None:
    database = server.database(
        "CREATE TABLE torn (id int PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO torn VALUES (1)"
    )
    with pytest.raises(Unsupported, match=r"torn' \(MyISAM\)") as refused:
        MysqlToolsSource(server.url(database)).check()
    assert "backup_as_tables" in refused.value.hint
    user = server.reader(database)
    source = MysqlToolsSource(server.url(database, user=user), password=PASSWORD, as_tables=True)
    with pytest.raises(GrantMissing) as lacking:
        source.check()
    assert f"GRANT LOCK TABLES ON {ticked(database)}.*" in lacking.value.hint
    server.run(
        database, f"GRANT {of_database(database, 'LOCK TABLES')} TO {ticked(user)}@localhost"
    )
    copy = server.name()
    bring_back(MysqlTarget(server.url(copy)), keep(source, tmp_path), tmp_path)
    assert server.checksums(copy) == server.checksums(database)


def test_the_documented_grants_suffice_without_the_lock_of_one_moment(
    server: MysqlServer, tmp_path: Path
) -> None:
    database = server.database(*PROGRAMS)
    whole = [right for right in server.brand.whole_server if right == "SHOW_ROUTINE"]
    user = server.account(
        *(f"{right} ON *.*" for right in whole),
        of_database(database, "SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"),
        "SELECT ON `mysql`.*",
    )
    copy = server.name()
    for as_tables in (False, True):
        folder = tmp_path / str(as_tables)
        folder.mkdir()
        source = MysqlToolsSource(
            server.url(database, user=user), password=PASSWORD, as_tables=as_tables
        )
        assert all(not finding.problem for finding in source.check())
        bring_back(MysqlTarget(server.url(copy)), keep(source, folder), folder, overwrite=True)
        assert differences(server.described(copy), server.described(database)) == []


@pytest.mark.parametrize("lacking", ["SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"])
def test_a_missing_grant_is_spelled_out(server: MysqlServer, lacking: str) -> None:
    if lacking == "EXECUTE" and server.brand is not MARIADB:
        pytest.skip("mysqldump describes views without running them")
    database = server.database("CREATE TABLE t (id int)")
    whole = ("SHOW_ROUTINE",) if "SHOW_ROUTINE" in server.brand.whole_server else ("USAGE",)
    rights = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE")
    others = [each for each in rights if each != lacking]
    user = server.account(
        f"{whole[0]} ON *.*", of_database(database, *others), "SELECT ON `mysql`.*"
    )
    with pytest.raises(GrantMissing) as failure:
        MysqlToolsSource(server.url(database, user=user), password=PASSWORD).check()
    assert failure.value.hint == (
        f"GRANT {lacking} ON {ticked(database)}.* TO {ticked(user)}@`localhost`"
    )


def test_history_of_versioned_tables_comes_along(server: MysqlServer, tmp_path: Path) -> None:
    if server.brand is not MARIADB:
        pytest.skip("only MariaDB has system-versioned tables")
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE past (id int PRIMARY KEY, a int) WITH SYSTEM VERSIONING",
        "INSERT INTO past VALUES (1, 1)",
        "UPDATE past SET a = 2",
    )
    parts = keep(MysqlToolsSource(server.url(original), as_tables=True), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    asked = "SELECT id, a, row_start FROM past FOR SYSTEM_TIME ALL ORDER BY row_start"
    assert len(server.ask(copy, asked)) == 2
    assert server.ask(copy, asked) == server.ask(original, asked)


def without_what_is_refused(server: MysqlServer, database: str, *, as_tables: bool) -> list[str]:
    """Drops those objects; other tests check that they are refused."""
    found = server.ask(
        database,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        " AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND engine <> 'InnoDB'",
    )
    dropped = [] if as_tables else [f"DROP TABLE {ticked(name)}" for (name,) in found]
    if server.brand is MARIADB:
        return dropped
    libraries = server.ask(
        database,
        "SELECT library_name FROM information_schema.libraries WHERE library_schema = DATABASE()",
    )
    if not as_tables:
        dropped.append("DROP FUNCTION twice_elsewhere")
        dropped += [f"DROP LIBRARY {ticked(name)}" for (name,) in libraries]
    return [*dropped, "DROP TABLE only_computed"]
