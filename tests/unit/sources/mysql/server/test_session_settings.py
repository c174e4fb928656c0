"""The settings of a new session: explicit values for the variables of its server."""

from __future__ import annotations

import pytest

from holdfast.sources.mysql.server.session_settings import (
    FIRST,
    SETTINGS,
    Purpose,
    indispensable,
    restricted,
    statement,
)

EVERYTHING = {setting.name: "?" for settings in SETTINGS.values() for setting in settings}
# The stock clients read option files by lines of this length.
LINE_BYTES = 4096


@pytest.mark.parametrize("purpose", SETTINGS)
def test_no_value_is_the_servers_own(purpose: Purpose) -> None:
    assert "DEFAULT" not in {each.value.upper() for each in SETTINGS[purpose]}
    assert "@@" not in statement(purpose, EVERYTHING)


@pytest.mark.parametrize("purpose", SETTINGS)
def test_no_variable_is_set_twice(purpose: Purpose) -> None:
    names = [each.name for each in SETTINGS[purpose]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("purpose", SETTINGS)
def test_all_of_them_fit_into_a_line_of_an_option_file(purpose: Purpose) -> None:
    assert len(f'init-command="{statement(purpose, EVERYTHING)}"') < LINE_BYTES


def test_only_what_the_server_has_is_set() -> None:
    present = {"sql_mode": "ANSI", "max_statement_time": "1.0"}
    assert statement("reading", present) == "SET SESSION max_statement_time = 0, sql_mode = ''"


def test_what_only_administrators_may_set_is_left_alone_where_it_is_right() -> None:
    present = {"sql_require_primary_key": "OFF", "enforce_storage_engine": "", "autocommit": "ON"}
    assert statement("loading", present) == "SET SESSION autocommit = 1"
    assert restricted("loading", present) == {}
    wrong = present | {"sql_require_primary_key": "ON"}
    assert restricted("loading", wrong) == {"sql_require_primary_key": "0"}
    assert "sql_require_primary_key = 0" in statement("loading", wrong)


def test_limits_are_lifted_before_the_variables_are_asked_for() -> None:
    for name in ("sql_select_limit", "max_join_size", "max_statement_time", "max_execution_time"):
        assert f"{name} = " in FIRST


def test_a_server_that_nobody_has_changed_asks_no_right_of_a_login_that_restores() -> None:
    mysql = {
        "innodb_strict_mode": "ON",
        "restrict_fk_on_non_standard_key": "ON",
        "max_error_count": "1024",
        "sql_require_primary_key": "OFF",
    }
    assert set(restricted("loading", mysql)) == {
        "innodb_strict_mode",
        "restrict_fk_on_non_standard_key",
        "max_error_count",
    }
    assert indispensable("loading", mysql) == {}
    changed = mysql | {"max_error_count": "0", "sql_require_primary_key": "ON"}
    assert set(indispensable("loading", changed)) == {"max_error_count", "sql_require_primary_key"}
