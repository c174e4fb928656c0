"""Scripts of rows, cut into statements however their values look and their chunks fall."""

from __future__ import annotations

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.sources.mysql.restore.statements import statements
from holdfast.sources.mysql.rows.insert_text import HEADER

HEAD = b"INSERT INTO `t` (`id`,`a`) VALUES\n"
VALUES = {
    "plain": b"(1,'one'),\n(2,NULL)",
    "an end in a value": b"(1,'x;\ny'),\n(2,';\n')",
    "a whole statement in a value": b"(1,';\nINSERT INTO `t` (`id`,`a`) VALUES\n(9,\\'x\\');\n')",
    "escaped quotes and backslashes": b"(1,'it\\'s;\n'),\n(2,'\\\\'),\n(3,'\\\\\\';\n')",
    "doubled quotes": b"(1,'it''s;\n')",
    "bytes": b"(1,x'00ff'),\n(2,0)",
    "a comment in a value": b"(1,'\n-- holdfast: rows of table \"u\"\n;\n')",
    "other quotes": b"(1,'\"`;\n')",
}
HEADS = {
    "plain": HEAD,
    "quotes in names": b"INSERT INTO `it's;\n` (`a``'`,`\";\n`) VALUES\n",
    "the words of a head in a name": b"INSERT INTO `t` (`) VALUES\n`,`b'`) VALUES\n",
    "no columns": b"INSERT INTO `t` () VALUES\n",
}
OTHERS = (
    b"SET @holdfast_1 = x'00ff'",
    b"SET @holdfast_1 = CONCAT(@holdfast_1, x'27')",
    b"SET SESSION lc_time_names = IF(LENGTH(@h) <=> 3, 1, 'too small;\n')",
    b"/*M!100201 SET SESSION check_constraint_checks = 0; */",
    b"SELECT 'it\\'s', \";\n\", `a;\n`, 'two'';\n' /* ';\n */",
    b"SELECT 1 -- it's\n",
)


def cut(script: bytes, size: int) -> list[bytes]:
    return list(statements(script[at : at + size] for at in range(0, len(script), size)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_rows_are_cut_at_their_end_only(values: bytes, head: bytes, size: int) -> None:
    mark = b'-- holdfast: rows of table "it\'s;"\n'
    wanted = [head + values, HEAD + b"(3,'three')", head + values]
    assert cut(mark + b";\n".join(wanted) + b";\n" + mark, size) == wanted


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize("other", OTHERS)
def test_other_statements_end_after_their_texts_names_and_comments(other: bytes, size: int) -> None:
    wanted = [HEAD + b"(1,'one')", other, HEAD + b"(2,'two')"]
    assert cut(b";\n".join(wanted) + b";\n", size) == wanted


def test_the_header_of_a_part_is_four_statements() -> None:
    assert [sql + b";\n" for sql in cut(HEADER, 10)] == HEADER.splitlines(keepends=True)


@pytest.mark.parametrize("broken", [b"(1,'one'", b"(1,'one;\n", b"(1,'one')", b"(1,'one');"])
def test_a_script_that_ends_within_a_statement_is_refused(broken: bytes) -> None:
    with pytest.raises(RestoreFailed, match="it ends within a statement"):
        cut(HEAD + broken, 4)


@pytest.mark.parametrize("broken", [b"SET @a = 'x;\n", b"SET @a = 1", b"/* ;\n", b"INSERT INTO `t"])
def test_another_statement_without_an_end_is_refused(broken: bytes) -> None:
    with pytest.raises(RestoreFailed, match="it ends within a statement"):
        cut(broken, 4)
