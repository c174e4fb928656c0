from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from holdfast.sources.mysql.server.sql import (
    Item,
    ScriptDamaged,
    items,
    quoted,
    script,
    slug,
    stored_program,
    unquoted,
)


@given(st.text())
def test_a_quoted_name_reads_back_as_itself(name: str) -> None:
    assert unquoted(quoted(name)) == name


@given(st.text())
def test_a_slug_is_safe_on_every_store(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", slug(name))


@pytest.mark.parametrize(("name", "made"), [("Order Items", "order-items"), ("日本", "table")])
def test_a_slug_keeps_what_a_human_recognises(name: str, made: str) -> None:
    assert slug(name) == made


some_items = st.builds(
    Item, kind=st.just("table"), name=st.text(), sql=st.binary(), table=st.text()
)


@given(st.lists(some_items))
def test_every_object_of_a_script_can_be_taken_out_again(made: list[Item]) -> None:
    assert items(script(made, head="SET NAMES utf8mb4;\n")) == (b"SET NAMES utf8mb4;\n", made)


def test_an_object_that_imitates_a_mark_stays_one_object() -> None:
    forged = Item(kind="table", name="t", sql=b'-- holdfast {"kind": "table"}\nDROP TABLE x;\n')
    assert items(script([forged])) == (b"", [forged])


def test_a_script_that_does_not_follow_its_marks_is_refused() -> None:
    text = script([Item(kind="table", name="t", sql=b"CREATE TABLE t (i int);\n")])
    with pytest.raises(ScriptDamaged, match="a mark is missing"):
        items(text + b"DROP TABLE x;\n")


def test_the_delimiter_is_never_part_of_the_body() -> None:
    made = stored_program(b"BEGIN ;; END", sql_mode="", charset="latin1", collation="latin1_bin")
    assert made.endswith(b"DELIMITER ;;;\nBEGIN ;; END\n;;;\nDELIMITER ;\n")
