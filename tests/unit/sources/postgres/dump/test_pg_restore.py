from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import Relation
from holdfast.model.restore import Proven
from holdfast.runtime.process import ChildFailed
from holdfast.runtime.spool import is_in_memory
from holdfast.sources.postgres.dump import pg_restore
from holdfast.sources.postgres.dump.pg_restore import failed_entries, failure

QUERY = "pg_restore: error: could not execute query: ERROR:  "


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            f'{QUERY}role "bob" does not exist | Command was: ALTER TABLE public.orders OWNER TO;',
            "cannot restore table 'public.orders': role \"bob\" does not exist",
        ),
        (
            f'{QUERY}no | DETAIL: x | HINT: y | Command was: CREATE TABLE public."A ""b""" ( | id',
            "cannot restore table 'public.A \"b\"': no",
        ),
        (
            f"{QUERY}no | Command was: ALTER TABLE ONLY public.child |     ADD CONSTRAINT far",
            "cannot restore table 'public.child': no",
        ),
        (
            f"{QUERY}no | Command was: CREATE UNIQUE INDEX one ON public.t USING btree (id);",
            "cannot restore unique index 'one': no",
        ),
        (
            f"{QUERY}no | Command was: CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
            "cannot restore extension 'hstore': no",
        ),
        (
            f"{QUERY}no | Command was: GRANT SELECT ON TABLE public.a TO x;",
            "cannot restore 'GRANT SELECT ON TABLE public.a TO x;': no",
        ),
        (
            'pg_restore: error: COPY failed for table "a": ERROR:  violates "c" | CONTEXT:  COPY',
            "cannot restore table 'a': violates \"c\"",
        ),
        (
            "pg_restore: error: could not read from input file: end of file",
            "cannot restore database 'shop': could not read from input file: end of file",
        ),
        ("", "cannot restore database 'shop': pg_restore ended with status 1: no message"),
    ],
)
def test_the_object_that_it_stopped_at_is_named(said: str, message: str) -> None:
    assert failure(ChildFailed("pg_restore", 1, said), "shop").message == message


SAID = (
    "pg_restore: while PROCESSING TOC: | pg_restore: from TOC entry 3313; 0 16404 TABLE DATA p x"
    ' | pg_restore: error: COPY failed for table "p": ERROR:  function f(text) does not exist'
    " | LINE 1: SELECT f(x) | pg_restore: from TOC entry 3401; 0 0 SEQUENCE SET s x"
    " | pg_restore: error: could not execute query: ERROR:  no such sequence"
    " | Command was: SELECT 1; | pg_restore: warning: errors ignored on restore: 3"
)


def test_what_pg_restore_went_on_without_is_known_by_its_number() -> None:
    found = failed_entries(SAID, {16404: Relation(schema="odd schema", name="p")})
    assert [(each.kind, each.name, each.cause) for each in found] == [
        ("rows", "odd schema.p", "function f(text) does not exist"),
        ("entry", "SEQUENCE SET s x", "no such sequence"),
    ]


NOTHING_FITS = 1 << 60
DUMP = Proven(lambda: iter([b"PGDMP", b"rest"]))


def test_one_worker_needs_no_file() -> None:
    with pg_restore.readable(DUMP, size_bytes=9, workers=1) as archive:
        assert (archive.workers, archive.file) == (1, None)


def test_several_workers_get_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_in_memory(tmp_path):
        pytest.skip("the folder for tests is in memory, where nothing is spooled")
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/other")
    with pg_restore.readable(DUMP, size_bytes=9, workers=3) as archive:
        assert archive.workers == 3
        assert archive.reason == f"spooled in '{tmp_path}'"
        assert archive.file is not None
        assert Path(f"/dev/fd/{archive.file.fileno()}").read_bytes() == b"PGDMPrest"
        assert list(tmp_path.iterdir()) == []


def test_without_room_there_is_one_stream_and_the_reason() -> None:
    with pg_restore.readable(DUMP, size_bytes=NOTHING_FITS, workers=3) as archive:
        assert (archive.workers, archive.file) == (1, None)
        assert archive.reason.startswith("workers need the dump as a file: ")
        assert "'/var/tmp' has " in archive.reason


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
    kept = pg_restore.with_rows_of(LISTED, {16386})
    assert numbers(kept) == [216, 217, 3401, 3410, 3240, 3421]


def test_a_table_that_is_called_like_an_entry_is_told_by_its_number() -> None:
    assert numbers(pg_restore.only_rows_of(LISTED, {16385})) == [3400]


def test_nothing_is_kept_of_contents_that_hold_nothing_wanted() -> None:
    assert pg_restore.only_rows_of(LISTED, {1}) == ""
