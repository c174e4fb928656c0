from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sources.mysql.server.script import Item, ScriptDamaged, items, script, stored_program

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
