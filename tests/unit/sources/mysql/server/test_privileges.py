from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.sources.mysql.server.privileges import Held, Need, helpful, missing, needs
from holdfast.sources.mysql.server.session import ServerVersion

MARIADB = ServerVersion(kind="mariadb", number="11.8", release=(11, 8), max_allowed_packet=1)
MYSQL = ServerVersion(kind="mysql", number="9.7", release=(9, 7), max_allowed_packet=1)


def need(right: str, database: str = "shop") -> Need:
    return Need(right=right, database=database, why="")


@pytest.mark.parametrize(
    ("held", "wanted", "covered"),
    [
        (Held("SELECT", "*"), need("SELECT"), True),
        (Held("ALL PRIVILEGES", "shop"), need("SELECT"), True),
        (Held("ALL PRIVILEGES", "shop"), need("RELOAD", ""), False),
        (Held("SELECT", "sh_p"), need("SELECT"), True),
        (Held("SELECT", "s%"), need("SELECT"), True),
        (Held("SELECT", r"my\_shop"), need("SELECT", "my_shop"), True),
        (Held("SELECT", r"my\_shop"), need("SELECT", "myxshop"), False),
        (Held("SELECT", "[s]hop"), need("SELECT"), False),
        (Held("EVENT", "shop"), need("SELECT"), False),
    ],
)
def test_a_right_reaches_as_far_as_its_scope(held: Held, wanted: Need, covered: bool) -> None:
    assert held.covers(wanted) is covered


def test_what_is_missing_comes_with_the_statement_that_gives_it() -> None:
    lacking = missing(needs(MARIADB, "a`b"), [Held("SELECT", "*"), Held("RELOAD", "*")])
    assert [each.grant_to("`u`@`h`") for each in lacking] == [
        "GRANT SHOW VIEW ON `a``b`.* TO `u`@`h`",
        "GRANT TRIGGER ON `a``b`.* TO `u`@`h`",
        "GRANT EVENT ON `a``b`.* TO `u`@`h`",
    ]


def test_mysql_wants_its_own_rights_for_its_own_lock() -> None:
    names = {each.right for each in needs(MYSQL, "shop")} - {
        each.right for each in needs(MARIADB, "shop")
    }
    assert names == {"BACKUP_ADMIN", "SHOW_ROUTINE"}


def test_each_server_calls_the_right_to_see_lag_by_its_own_name() -> None:
    older = replace(MARIADB, release=(10, 4))
    rights = [[each.right for each in helpful(version)] for version in (MARIADB, older, MYSQL)]
    assert rights == [
        ["PROCESS", "SLAVE MONITOR"],
        ["PROCESS", "REPLICATION CLIENT"],
        ["PROCESS", "REPLICATION CLIENT"],
    ]
