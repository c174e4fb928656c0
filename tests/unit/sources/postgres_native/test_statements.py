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


INDEXES = """\
--
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: public; Owner: shop
--

SET default_tablespace = '';

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);

SET default_tablespace = "fast disks";

CREATE UNIQUE INDEX "odd; name" ON public.orders USING btree (lower((name)::text));
ALTER TABLE public.orders CLUSTER ON orders_pkey;
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_no_overlap EXCLUDE USING gist (during WITH &&);
ALTER INDEX public.year_pkey ATTACH PARTITION public.y2020_pkey;
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_order_fkey FOREIGN KEY (order_id) REFERENCES public.orders(id);
CREATE TRIGGER t BEFORE INSERT ON public.orders EXECUTE FUNCTION f();
"""


def test_indexes_are_taken_out_with_the_tablespace_that_each_was_made_in() -> None:
    indexes, rest = statements.indexes_apart(INDEXES)
    assert [(each.name, each.tablespace) for each in indexes] == [
        ("orders_pkey", ""),
        ("odd; name", "fast disks"),
        ("items_no_overlap", "fast disks"),
    ]
    assert indexes[0].statement.startswith("ALTER TABLE ONLY public.orders\n")
    for kept in ("CLUSTER ON", "ATTACH PARTITION", "FOREIGN KEY", "CREATE TRIGGER"):
        assert kept in rest
    assert "PRIMARY KEY" not in rest


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
    text = statements.without_rights(RIGHTS, owners=owners, privileges=privileges)
    assert text.count(";\n") == left
    assert "CREATE TABLE" in text
    assert "ROW LEVEL SECURITY" in text
