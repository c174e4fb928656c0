from __future__ import annotations

import pytest

from holdfast.sources.mysql.server.accounts import (
    Account,
    Membership,
    by_default,
    granted,
    mended,
    of_roles,
    relative_grant,
    without_default_role,
)


@pytest.mark.parametrize(
    ("line", "relative"),
    [
        ("GRANT SELECT ON `my_shop`.* TO `u`@`h`", "GRANT SELECT ON * TO `u`@`h`"),
        ("GRANT SELECT ON `my\\_shop`.* TO `u`@`h`", "GRANT SELECT ON * TO `u`@`h`"),
        (
            "GRANT UPDATE (`a`, `b`), DELETE ON `my_shop`.`t` TO `u`@`h` WITH GRANT OPTION",
            "GRANT UPDATE (`a`, `b`), DELETE ON `t` TO `u`@`h` WITH GRANT OPTION",
        ),
        (
            "GRANT EXECUTE ON PROCEDURE `my_shop`.`p` TO `role`",
            "GRANT EXECUTE ON PROCEDURE `p` TO `role`",
        ),
        ("GRANT SELECT ON `my_shop2`.* TO `u`@`h`", ""),
        ("GRANT SELECT ON `my%`.* TO `u`@`h`", ""),
        ("GRANT USAGE ON *.* TO `u`@`h` IDENTIFIED BY PASSWORD '*AA'", ""),
        ("GRANT `role` TO `u`@`h`", ""),
    ],
)
def test_a_grant_is_said_again_without_the_databases_name(line: str, relative: str) -> None:
    assert relative_grant(line, "my_shop") == relative


LOW, MIDDLE, TOP = (Account(name, "%") for name in ("low", "middle", "top"))
USER, OTHER = Account("u", "%"), Account("o", "localhost")


def test_indirect_members_of_a_role_are_found() -> None:
    chain = [Membership(LOW, MIDDLE), Membership(MIDDLE, TOP), Membership(TOP, USER, is_admin=True)]
    assert of_roles([*chain, Membership(Account("x", "%"), OTHER)], [LOW]) == chain
    assert of_roles(chain, [TOP]) == [chain[2]]


def test_roles_that_hold_each_other_are_found_once() -> None:
    circle = [Membership(LOW, MIDDLE), Membership(MIDDLE, LOW)]
    assert of_roles(circle, [LOW]) == circle


def test_a_membership_is_said_as_the_server_takes_it() -> None:
    role = Account("a `role`", "")
    assert granted(Membership(role, USER, is_admin=True)) == (
        "GRANT `a ``role``` TO `u`@`%` WITH ADMIN OPTION"
    )
    assert by_default(USER, [role], mariadb=True) == "SET DEFAULT ROLE `a ``role``` FOR `u`@`%`"
    assert by_default(USER, [LOW, TOP], mariadb=False) == (
        "ALTER USER `u`@`%` DEFAULT ROLE `low`@`%`, `top`@`%`"
    )


def test_an_account_is_made_before_the_roles_that_it_has_by_default() -> None:
    made = "CREATE USER `u`@`%` IDENTIFIED WITH 'x' DEFAULT ROLE `a`@`%`,`b`@`%` REQUIRE NONE"
    assert without_default_role(made) == "CREATE USER `u`@`%` IDENTIFIED WITH 'x' REQUIRE NONE"


def test_an_old_script_of_accounts_is_put_into_an_order_that_works() -> None:
    old = (
        "SET NAMES utf8mb4;\n"
        "CREATE ROLE IF NOT EXISTS `PUBLIC`;\n"
        "CREATE USER IF NOT EXISTS `a`@`%` DEFAULT ROLE `z`@`%` REQUIRE NONE;\n"
        "CREATE USER IF NOT EXISTS `z`@`%` REQUIRE NONE;\n"
        "GRANT `z`@`%` TO `a`@`%`;\n"
    )
    assert mended(old) == (
        "SET NAMES utf8mb4;\n"
        "CREATE USER IF NOT EXISTS `a`@`%` REQUIRE NONE;\n"
        "CREATE USER IF NOT EXISTS `z`@`%` REQUIRE NONE;\n"
        "GRANT `z`@`%` TO `a`@`%`;\n"
        "ALTER USER `a`@`%` DEFAULT ROLE `z`@`%`;\n"
    )
