"""Grants follow the database to its new name; accounts only when asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.ports.source import Snapshot
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.engine.mysql.variables import Globals
from tests.support.loop import bring_back, keep, restored
from tests.support.mysql_server import MARIADB, PASSWORD, MysqlServer, of_database, ticked

OBJECTS = (
    "CREATE TABLE t (id int PRIMARY KEY, a int)",
    "INSERT INTO t VALUES (1, 1)",
    "CREATE PROCEDURE p() SELECT 1",
)


def grants_on(server: MysqlServer, user: str, database: str) -> set[str]:
    """What SHOW GRANTS says about `database`, without its name."""
    lines = server.ask("mysql", f"SHOW GRANTS FOR {ticked(user)}@localhost")
    pattern = ticked(database.replace("%", r"\%"))
    plain = [line.replace(pattern, ticked(database)) for (line,) in lines]
    return {
        line.replace(ticked(database), "`DATABASE`") for line in plain if ticked(database) in line
    }


def granted(server: MysqlServer, database: str) -> str:
    name = ticked(database)
    return server.account(
        of_database(database, "SELECT", "INSERT"),
        f"UPDATE (a), DELETE ON {name}.t",
        f"EXECUTE ON PROCEDURE {name}.p",
        "SELECT ON `mysql`.`db`",
    )


def test_grants_are_given_again_under_another_name(server: MysqlServer, tmp_path: Path) -> None:
    original, copy = server.database(*OBJECTS), server.name()
    user = granted(server, original)
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert len(grants_on(server, user, original)) == 3
    assert grants_on(server, user, copy) == grants_on(server, user, original)


def test_a_missing_account_is_named_before_anything_is_created(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*OBJECTS), server.name()
    user = granted(server, original)
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    before = grants_on(server, user, original)
    server.forget(user)
    with pytest.raises(RestoreFailed, match=user) as failure:
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert "--globals" in failure.value.hint
    assert copy not in server.databases()
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path, with_globals=True)
    assert grants_on(server, user, copy) == before
    # The account logs in with its old password.
    MysqlSource(server.url(copy, user=user), password=PASSWORD).connections_free()


def test_roles_come_back_with_their_members(server: MysqlServer, tmp_path: Path) -> None:
    original, copy = server.database(*OBJECTS), server.name()
    member = server.account()
    role = f"role {member}"
    server.run(
        "mysql",
        f"CREATE ROLE {ticked(role)}",
        f"GRANT SELECT ON {ticked(original)}.* TO {ticked(role)}",
        f"GRANT {ticked(role)} TO {ticked(member)}@localhost",
    )
    try:
        parts = keep(MysqlSource(server.url(original)), tmp_path)
        server.forget(member)
        server.run("mysql", f"DROP ROLE {ticked(role)}")
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path, with_globals=True)
        lines = server.ask("mysql", f"SHOW GRANTS FOR {ticked(member)}@localhost")
        assert any(re.match(rf"GRANT {ticked(role)}(@`%`)? TO ", line) for (line,) in lines)
        rights = server.ask("mysql", f"SHOW GRANTS FOR {ticked(role)}")
        assert any(ticked(copy) in line for (line,) in rights)
    finally:
        server.run("mysql", f"DROP ROLE IF EXISTS {ticked(role)}")


CHAIN = ("z low role", "m middle role", "a top role")


def of_everybody(server: MysqlServer, accounts: list[str], database: str) -> dict[str, list[str]]:
    """What SHOW GRANTS says of each, without the name of the database."""

    def unnamed(line: str) -> str:
        for name in (database, database.replace("%", r"\%")):
            line = line.replace(ticked(name), "`DATABASE`")
        return line

    return {
        account: sorted(
            unnamed(line) for (line,) in server.ask("mysql", f"SHOW GRANTS FOR {account}")
        )
        for account in accounts
    }


def test_roles_of_roles_and_those_by_default_come_back_whatever_their_names(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*OBJECTS), server.name()
    member, other = (f"{ticked(server.account())}@localhost" for _ in range(2))
    low, middle, top = (ticked(f"{name} {copy[-8:]}") for name in CHAIN)
    roles = (low, middle, top)
    default = (
        f"SET DEFAULT ROLE {top} FOR {member}"
        if server.brand is MARIADB
        else f"ALTER USER {member} DEFAULT ROLE {top}, {low}"
    )
    try:
        server.run(
            "mysql",
            *(f"CREATE ROLE {role}" for role in roles),
            f"GRANT SELECT ON {ticked(original)}.* TO {low}",
            f"GRANT {low} TO {middle}",
            f"GRANT {middle} TO {top}",
            f"GRANT {top} TO {member} WITH ADMIN OPTION",
            f"GRANT {low} TO {member}",
            f"GRANT {middle} TO {other}",
            default,
        )
        everybody = [*roles, member, other]
        before = of_everybody(server, everybody, original)
        parts = keep(MysqlSource(server.url(original)), tmp_path)
        server.run("mysql", f"DROP USER {member}, {other}", f"DROP ROLE {low}, {middle}, {top}")
        found = restored(MysqlTarget(server.url(copy)), parts, tmp_path, with_globals=True)
        assert found.failed == ()
        assert of_everybody(server, everybody, copy) == before
    finally:
        server.run("mysql", *(f"DROP ROLE IF EXISTS {role}" for role in roles))


def test_what_everybody_may_do_comes_back_too(server: MysqlServer, tmp_path: Path) -> None:
    if server.brand is not MARIADB or server.ask("mysql", "SELECT VERSION()")[0][0] < "10.11":
        pytest.skip("only MariaDB from 10.11 on knows PUBLIC")
    original, copy = server.database(*OBJECTS), server.name()
    server.run("mysql", f"GRANT SELECT ON {ticked(original)}.* TO PUBLIC")
    try:
        parts = keep(MysqlSource(server.url(original)), tmp_path)
        found = restored(MysqlTarget(server.url(copy)), parts, tmp_path, with_globals=True)
        assert found.failed == ()
        lines = server.ask("mysql", "SHOW GRANTS FOR PUBLIC")
        assert any(ticked(copy.replace("%", r"\%")) in line for (line,) in lines) or any(
            ticked(copy) in line for (line,) in lines
        )
    finally:
        server.run("mysql", f"REVOKE SELECT ON {ticked(original)}.* FROM PUBLIC")
        server.run("mysql", "DELETE FROM mysql.db WHERE User = 'PUBLIC'", "FLUSH PRIVILEGES")


def test_who_is_kept_out_of_one_database_alone_is_told(server: MysqlServer, tmp_path: Path) -> None:
    if server.brand is MARIADB:
        pytest.skip("MariaDB has no partial revokes")
    original = server.database(*OBJECTS)
    account = f"{ticked(server.account('SELECT ON *.*'))}@`localhost`"
    told: list[str] = []

    def listen(snapshot: Snapshot) -> None:
        told.extend(snapshot.notes)

    with server.connect() as connection, Globals(connection).set({"partial_revokes": "ON"}):
        server.run("mysql", f"REVOKE SELECT ON {ticked(original)}.* FROM {account}")
        keep(MysqlSource(server.url(original)), tmp_path, meanwhile=listen)
        server.run("mysql", f"GRANT SELECT ON {ticked(original)}.* TO {account}")
    assert told == [f"partial revokes on this database are not restored: those of {account}"]
