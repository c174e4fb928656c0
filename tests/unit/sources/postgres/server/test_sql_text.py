from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from holdfast.model.backup import Relation
from holdfast.sources.postgres.server import sql_text
from holdfast.sources.postgres.server.sql_text import (
    SLUG_LENGTH,
    identifier,
    literal,
    qualified,
    slug,
    unquoted,
)


def public(name: str) -> Relation:
    return Relation(schema="public", name=name)


@given(st.text(alphabet="ab'\"$;-\\eE\n ().,", max_size=80))
def test_nothing_is_lost_between_statements(text: str) -> None:
    assert "".join(sql_text.split(text)) == text


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a;b''c;';",
        'ALTER TABLE "a;b""c;" ENABLE x;',
        "SELECT E'a\\';b';",
        "DO $body$ a; 'b $$ ; $body$;",
        "-- a comment; with 'half a quote\nSELECT 1;",
        "/* one; /* in; */ another; ' */ SELECT 1;",
        "CREATE RULE r AS ON INSERT TO a DO ALSO (INSERT INTO b VALUES (1); DELETE FROM c;);",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END;",
        "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; BEGIN; SELECT 2; END; END;",
        "SELECT price'x;', 'it''s;' || e'\\'; ';",
        "\\restrict ab'c;\nSELECT 1;",
    ],
)
def test_a_semicolon_that_ends_nothing_does_not_cut(statement: str) -> None:
    assert list(sql_text.split(statement + "\nSELECT 2;")) == [statement, "\nSELECT 2;"]


POST_DATA = """
\\restrict abc

--
-- Name: chicken chicken_pkey; Type: CONSTRAINT; Schema: public; Owner: x
--

ALTER TABLE ONLY public.chicken
    ADD CONSTRAINT chicken_pkey PRIMARY KEY (id);

--
-- Name: chicken laid; Type: FK CONSTRAINT; Schema: public; Owner: x
--

ALTER TABLE ONLY public.chicken
    ADD CONSTRAINT "laid; by" FOREIGN KEY ("e (gg", b) REFERENCES public."Egg"(id, b) DEFERRABLE;

COMMENT ON CONSTRAINT "laid; by" ON public.chicken IS 'which; came first?';

ALTER TABLE public.chicken
    ADD CONSTRAINT checked CHECK ((a <> ' FOREIGN KEY (a) REFERENCES b.c(d)'::text)) NOT VALID;

ALTER TABLE ONLY public.chicken
    ADD CONSTRAINT mother FOREIGN KEY (mother) REFERENCES public.chicken(id);
"""


def test_foreign_keys_without_both_sides_go_with_their_comments() -> None:
    asked: list[tuple[Relation, Relation]] = []

    def only_to_itself(table: Relation, other: Relation) -> bool:
        asked.append((table, other))
        return table == other

    found = sql_text.without_foreign_keys(sql_text.statements(POST_DATA), unless=only_to_itself)
    text = "\n".join(each.text for each in found)
    assert asked == [
        (public("chicken"), public("Egg")),
        (public("chicken"), public("chicken")),
    ]
    assert "laid; by" not in text
    assert "ADD CONSTRAINT chicken_pkey PRIMARY KEY" in text
    assert "ADD CONSTRAINT checked CHECK" in text
    assert "ADD CONSTRAINT mother FOREIGN KEY" in text


RIGHTS = """\
CREATE TABLE public.a (b text DEFAULT 'x OWNER TO y;');
ALTER TABLE public.a OWNER TO "odd role";
ALTER FUNCTION public.f(a integer) OWNER TO shop;
GRANT SELECT ON TABLE public.a TO reader;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE shop GRANT SELECT ON TABLES TO reader;
ALTER TABLE public.a ENABLE ROW LEVEL SECURITY;
"""


@pytest.mark.parametrize(
    ("owners", "privileges", "left"),
    [(True, True, 7), (False, True, 5), (True, False, 4), (False, False, 2)],
)
def test_owners_and_rights_can_be_left_out(owners: bool, privileges: bool, left: int) -> None:
    found = list(
        sql_text.permitted(sql_text.statements(RIGHTS), owners=owners, privileges=privileges)
    )
    assert len(found) == left
    assert found[0].text.startswith("CREATE TABLE")
    assert found[-1].text.endswith("ROW LEVEL SECURITY;")


HEADED = """\
\\restrict abc
SET client_encoding = 'UTF8';

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: x
--

CREATE FUNCTION public.f() RETURNS text
    LANGUAGE sql
    AS $$
-- Name: nothing; Type: TABLE; Schema: public; Owner: x
SELECT ';'$$;


ALTER FUNCTION public.f() OWNER TO x;

--
-- Name: b b_x_fkey; Type: FK CONSTRAINT; Schema: public; Owner: x
--
ALTER TABLE ONLY public.b ADD CONSTRAINT b_x_fkey FOREIGN KEY (x) REFERENCES public.a(id);

\\unrestrict abc
"""


def test_each_statement_is_known_by_the_object_that_pg_dump_announced() -> None:
    found = list(sql_text.statements(HEADED))
    assert [str(each.heading) for each in found] == [
        "None",
        "function 'public.f()'",
        "function 'public.f()'",
        "foreign key 'public.b b_x_fkey'",
    ]
    assert [each.entry for each in found] == [0, 1, 1, 2]
    assert found[1].text.endswith("SELECT ';'$$;")
    assert found[0].text == "SET client_encoding = 'UTF8';"


def test_a_variable_of_psql_is_replaced_outside_of_strings_alone() -> None:
    text = """ALTER DATABASE :"DBNAME" SET a TO ':"DBNAME"'; SELECT x::"DBNAME", :"OTHER";"""
    assert sql_text.with_variables(text, {"DBNAME": 'odd "name'}) == (
        """ALTER DATABASE "odd ""name" SET a TO ':"DBNAME"'; SELECT x::"DBNAME", :"OTHER";"""
    )


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("plain", '"plain"'),
        ("Capital", '"Capital"'),
        ('say "hi"', '"say ""hi"""'),
        ("a.b; --", '"a.b; --"'),
        ("back\\slash\nline", '"back\\slash\nline"'),
    ],
)
def test_a_name_is_quoted_whatever_it_holds(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


@given(st.text())
def test_a_quoted_name_reads_back_as_itself(name: str) -> None:
    assert unquoted(identifier(name)) == name


def test_a_dot_inside_a_name_does_not_become_the_dot_between_names() -> None:
    assert qualified(Relation(schema="a.b", name="c")) == '"a.b"."c"'


def test_a_literal_doubles_quotes_and_leaves_backslashes() -> None:
    assert literal("it's \\ x") == "'it''s \\ x'"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Orders 2020", "public-orders-2020"),
        ("Größe", "public-groe"),
        ("../../etc/passwd", "public-etc-passwd"),
        ("日本", "public"),
    ],
)
def test_a_slug_keeps_what_a_person_recognises(name: str, expected: str) -> None:
    assert slug(Relation(schema="public", name=name)) == expected


@given(st.text(), st.text())
def test_a_slug_is_safe_on_every_store(schema: str, name: str) -> None:
    made = slug(Relation(schema=schema, name=name))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made)
    assert len(made) <= SLUG_LENGTH
