"""Grants follow the database to its new name; accounts only when asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.errors import RestoreFailed
from holdfast.sources.mysql_native.source import MysqlSource
from holdfast.sources.mysql_native.target import MysqlTarget
from tests.engine.loop import bring_back, keep
from tests.engine.mysql.laboratory import PASSWORD, Laboratory, of_database, ticked

OBJECTS = (
    "CREATE TABLE t (id int PRIMARY KEY, a int)",
    "INSERT INTO t VALUES (1, 1)",
    "CREATE PROCEDURE p() SELECT 1",
)


def grants_on(lab: Laboratory, user: str, database: str) -> set[str]:
    """What SHOW GRANTS says about `database`, without its name."""
    lines = lab.ask("mysql", f"SHOW GRANTS FOR {ticked(user)}@localhost")
    pattern = ticked(database.replace("%", r"\%"))
    plain = [line.replace(pattern, ticked(database)) for (line,) in lines]
    return {
        line.replace(ticked(database), "`DATABASE`") for line in plain if ticked(database) in line
    }


def granted(lab: Laboratory, database: str) -> str:
    name = ticked(database)
    return lab.account(
        of_database(database, "SELECT", "INSERT"),
        f"UPDATE (a), DELETE ON {name}.t",
        f"EXECUTE ON PROCEDURE {name}.p",
        "SELECT ON `mysql`.`db`",
    )


def test_grants_are_given_again_under_another_name(lab: Laboratory, tmp_path: Path) -> None:
    original, copy = lab.database(*OBJECTS), lab.name()
    user = granted(lab, original)
    parts = keep(MysqlSource(lab.url(original)), tmp_path)
    bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path)
    assert len(grants_on(lab, user, original)) == 3
    assert grants_on(lab, user, copy) == grants_on(lab, user, original)


def test_a_missing_account_is_named_before_anything_is_created(
    lab: Laboratory, tmp_path: Path
) -> None:
    original, copy = lab.database(*OBJECTS), lab.name()
    user = granted(lab, original)
    parts = keep(MysqlSource(lab.url(original)), tmp_path)
    before = grants_on(lab, user, original)
    lab.forget(user)
    with pytest.raises(RestoreFailed, match=user) as failure:
        bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path)
    assert "--globals" in failure.value.hint
    assert copy not in lab.databases()
    bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path, with_globals=True)
    assert grants_on(lab, user, copy) == before
    # The account logs in with the password that it had.
    MysqlSource(lab.url(copy, user=user), password=PASSWORD).connections_free()


def test_roles_come_back_with_their_members(lab: Laboratory, tmp_path: Path) -> None:
    original, copy = lab.database(*OBJECTS), lab.name()
    member = lab.account()
    role = f"role {member}"
    lab.run(
        "mysql",
        f"CREATE ROLE {ticked(role)}",
        f"GRANT SELECT ON {ticked(original)}.* TO {ticked(role)}",
        f"GRANT {ticked(role)} TO {ticked(member)}@localhost",
    )
    try:
        parts = keep(MysqlSource(lab.url(original)), tmp_path)
        lab.forget(member)
        lab.run("mysql", f"DROP ROLE {ticked(role)}")
        bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path, with_globals=True)
        lines = lab.ask("mysql", f"SHOW GRANTS FOR {ticked(member)}@localhost")
        assert any(re.match(rf"GRANT {ticked(role)}(@`%`)? TO ", line) for (line,) in lines)
        rights = lab.ask("mysql", f"SHOW GRANTS FOR {ticked(role)}")
        assert any(ticked(copy) in line for (line,) in rights)
    finally:
        lab.run("mysql", f"DROP ROLE IF EXISTS {ticked(role)}")
