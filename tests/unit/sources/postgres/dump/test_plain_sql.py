"""A dump in plain SQL, whatever the size of its chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.sources.postgres.dump import plain_sql
from holdfast.sources.postgres.dump.plain_sql import COPY, PlainDump

TEXT = rb"""--
-- PostgreSQL database dump
--

\restrict abc

SET client_encoding = 'UTF8';

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: me
--

CREATE FUNCTION public.f() RETURNS text
    LANGUAGE sql
    AS $_$
COPY public.t FROM stdin;
1; '
\.
-- Name: forged; Type: TABLE; Schema: public; Owner: me
$_$;

CREATE VIEW public.v AS
 WITH stdin AS (SELECT E'it\'s;' AS a, 'x'';
' AS b, "c"";" FROM public.w)
 SELECT a FROM stdin;

--
-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: me
--

COPY public.t (a, b) FROM stdin;
1	it's; $$ /*
\\.	\N
\.


--
-- Data for Name: none; Type: TABLE DATA; Schema: public; Owner: me
--

COPY public.none  FROM stdin;
\.

--
-- Name: t_a; Type: INDEX; Schema: public; Owner: me
--

CREATE INDEX t_a ON public.t USING btree (a);
-- the end"""


def chunks(size: int, text: bytes = TEXT) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def read(found: PlainDump) -> list[tuple[str, str, bytes]]:
    return [
        (
            str(each.heading or ""),
            each.text.partition("\n")[0],
            b"".join(found.rows()) if COPY.match(each.text) else b"",
        )
        for each in found.statements()
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_statements_and_rows_are_the_same_however_the_dump_is_cut(size: int) -> None:
    assert read(PlainDump(chunks(size))) == [
        ("", "SET client_encoding = 'UTF8';", b""),
        ("function 'public.f()'", "CREATE FUNCTION public.f() RETURNS text", b""),
        ("function 'public.f()'", "CREATE VIEW public.v AS", b""),
        (
            "table data 'public.t'",
            "COPY public.t (a, b) FROM stdin;",
            b"1\tit's; $$ /*\n\\\\.\t\\N\n",
        ),
        ("table data 'public.none'", "COPY public.none  FROM stdin;", b""),
        ("index 'public.t_a'", "CREATE INDEX t_a ON public.t USING btree (a);", b""),
    ]


def test_bytes_that_are_no_utf8_come_out_as_they_went_in() -> None:
    text = b"COMMENT ON TABLE public.t IS '\xff\xfe';\nCOPY public.t FROM stdin;\n\xff\n\\.\n"
    found = PlainDump(chunks(5, text))
    comment, copy = found.statements(), None
    assert next(comment).text.encode("utf-8", "surrogateescape").endswith(b"'\xff\xfe';")
    copy = next(comment)
    assert COPY.match(copy.text)
    assert b"".join(found.rows()) == b"\xff\n"


def test_rows_without_an_end_are_no_rows() -> None:
    found = PlainDump(chunks(9, b"COPY public.t FROM stdin;\n1\n2\n"))
    next(found.statements())
    with pytest.raises(EOFError):
        list(found.rows())


def test_a_statement_without_an_end_is_not_gathered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain_sql, "MOST_STATEMENT_BYTES", 1000)
    endless = iter(lambda: b"SELECT '" + b"x" * 100, b"")
    with pytest.raises(RestoreFailed, match="more than 1000 bytes"):
        next(PlainDump(endless).statements())
