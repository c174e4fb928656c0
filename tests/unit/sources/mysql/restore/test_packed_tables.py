"""Tables out of a part that holds several, and whose line an error is at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.model.backup import Member, Relation
from holdfast.model.proven import Proven
from holdfast.sources.mysql.restore.packed_tables import BEGIN, END, Unpacked
from tests.support.manifests import part

HEAD = b"SET a;\nSET b;\n"
TABLES = {"one": b"-- one\nINSERT 1,\n2;\n", "two": b"-- two\n", "three": b"-- three\nINSERT 3;\n"}
TEXT = HEAD + b"".join(TABLES.values())


def relation(name: str) -> Relation:
    return Relation(schema="shop", name=name)


def unpacked(*wanted: str, chunk_bytes: int = 5) -> Unpacked:
    members, offset = [], len(HEAD)
    for name, sql in TABLES.items():
        members.append(Member(relation=relation(name), rows=1, offset=offset, plain_bytes=len(sql)))
        offset += len(sql)
    packed = replace(part(), relation=None, members=tuple(members))
    chunks = [TEXT[at : at + chunk_bytes] for at in range(0, len(TEXT), chunk_bytes)]
    whole = Proven(lambda: iter(chunks))
    return Unpacked(packed, whole, [relation(name) for name in wanted])


def test_all_of_a_part_passes_as_it_is() -> None:
    script = unpacked()
    assert b"".join(script.proven) == HEAD + BEGIN + TEXT.removeprefix(HEAD) + END


@pytest.mark.parametrize("wanted", [("one",), ("two",), ("three",), ("one", "three")])
def test_of_the_tables_only_those_that_were_asked_for_pass(
    wanted: tuple[str, ...],
) -> None:
    script = unpacked(*wanted)
    assert b"".join(script.proven) == HEAD + BEGIN + b"".join(TABLES[name] for name in wanted) + END


@pytest.mark.parametrize(
    ("wanted", "line", "name"),
    [
        ((), 1, None),
        ((), 2, None),
        ((), 3, None),
        ((), 4, "one"),
        ((), 6, "one"),
        ((), 7, "two"),
        ((), 8, "three"),
        ((), 99, "three"),
        (("three",), 5, "three"),
    ],
)
def test_a_line_belongs_to_the_table_that_it_was_sent_for(
    wanted: tuple[str, ...], line: int, name: str | None
) -> None:
    script = unpacked(*wanted)
    for _ in script.proven:
        pass
    found = script.failed(f"ERROR 1062 (23000) at line {line}: Duplicate entry 'at line 6'")
    assert found == (relation(name) if name else None)


def test_an_error_without_a_line_is_nobodys() -> None:
    script = unpacked()
    for _ in script.proven:
        pass
    assert script.failed("ERROR 2002 (HY000): Can't connect") is None
