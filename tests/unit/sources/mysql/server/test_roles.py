"""Who holds roles, over other roles if need be, and old scripts of accounts."""

from __future__ import annotations

from holdfast.sources.mysql.server.roles import (
    Account,
    Membership,
    by_default,
    granted,
    mended,
    of_roles,
    without_default_role,
)

LOW, MIDDLE, TOP = (Account(name, "%") for name in ("low", "middle", "top"))
USER, OTHER = Account("u", "%"), Account("o", "localhost")


def test_whoever_comes_to_a_role_over_others_is_found() -> None:
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
