from __future__ import annotations

from holdfast.sources.postgres.dump import table_of_contents

LISTED = """\
;
; Archive created at 2026-11-20
;     TOC Entries: 9
;
216; 1259 16385 TABLE public TABLE DATA owner
217; 1259 16386 TABLE public a b owner
3400; 0 16385 TABLE DATA public TABLE DATA owner
3401; 0 16386 TABLE DATA public a b owner
3410; 0 0 SEQUENCE SET public a_id_seq owner
3240; 2606 16390 CONSTRAINT public a b a_pkey owner
3241; 2606 16391 FK CONSTRAINT public a b far owner
3420; 0 0 COMMENT public CONSTRAINT far ON "a b" owner
3421; 0 0 COMMENT public TABLE "a b" owner
"""


def numbers(text: str) -> list[int]:
    return [int(line.partition(";")[0]) for line in text.splitlines()]


def test_everything_comes_but_other_rows_and_foreign_keys() -> None:
    kept = table_of_contents.with_rows_of(LISTED, {16386})
    assert numbers(kept) == [216, 217, 3401, 3410, 3240, 3421]


def test_a_table_that_is_called_like_an_entry_is_told_by_its_number() -> None:
    assert numbers(table_of_contents.only_rows_of(LISTED, {16385})) == [3400]


def test_nothing_is_kept_of_contents_that_hold_nothing_wanted() -> None:
    assert table_of_contents.only_rows_of(LISTED, {1}) == ""
