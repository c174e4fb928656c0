from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.runtime.process import ChildFailed
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
