from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import Relation
from holdfast.sources.postgres_native import statements


def public(name: str) -> Relation:
    return Relation(schema="public", name=name)


@given(st.text(alphabet="ab'\"$;-\\eE\n ().,", max_size=80))
def test_nothing_is_lost_between_statements(text: str) -> None:
    assert "".join(statements.split(text)) == text


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a;b''c;';",
        'ALTER TABLE "a;b""c;" ENABLE x;',
        "SELECT E'a\\';b';",
        "DO $body$ a; 'b $$ ; $body$;",
        "-- a comment; with 'half a quote\nSELECT 1;",
    ],
)
def test_a_semicolon_that_ends_nothing_does_not_cut(statement: str) -> None:
    assert list(statements.split(statement + "\nSELECT 2;")) == [statement, "\nSELECT 2;"]


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

    text = statements.without_foreign_keys(POST_DATA, unless=only_to_itself)
    assert asked == [
        (public("chicken"), public("Egg")),
        (public("chicken"), public("chicken")),
    ]
    assert "laid; by" not in text
    assert "ADD CONSTRAINT chicken_pkey PRIMARY KEY" in text
    assert "ADD CONSTRAINT checked CHECK" in text
    assert "ADD CONSTRAINT mother FOREIGN KEY" in text


GLOBALS = """
CREATE ROLE old;
ALTER ROLE old WITH NOSUPERUSER PASSWORD 'SCRAM;x';
COMMENT ON ROLE old IS 'it''s; old';
ALTER ROLE old SET work_mem TO '64MB';
CREATE ROLE "new Role";
ALTER ROLE "new Role" WITH LOGIN;
GRANT old TO "new Role" GRANTED BY postgres;
GRANT "new Role" TO old GRANTED BY postgres;
CREATE TABLESPACE there OWNER old LOCATION '/old';
CREATE TABLESPACE elsewhere OWNER old LOCATION '/new';
"""


def test_roles_and_tablespaces_that_exist_are_left_alone() -> None:
    text = statements.without_existing(GLOBALS, roles={"old", "postgres"}, tablespaces={"there"})
    assert [line for line in text.splitlines() if line] == [
        'CREATE ROLE "new Role";',
        'ALTER ROLE "new Role" WITH LOGIN;',
        'GRANT old TO "new Role" GRANTED BY postgres;',
        "CREATE TABLESPACE elsewhere OWNER old LOCATION '/new';",
    ]
