from __future__ import annotations

import pytest

from holdfast.sources.postgres.server.script import Headings

SCRIPT = b"""\
SET a = 1;
--
-- Name: orders; Type: TABLE; Schema: public; Owner: x
--

CREATE TABLE public.orders (
    id int
);
--
-- Name: public; Type: SCHEMA; Schema: -; Owner: x
--
SELECT 1;
"""


@pytest.mark.parametrize("size", [1, 7, 64, len(SCRIPT)])
@pytest.mark.parametrize(
    ("line", "subject"),
    [
        (1, ""),
        (3, "table 'public.orders'"),
        (8, "table 'public.orders'"),
        (12, "schema 'public'"),
    ],
)
def test_a_line_is_traced_to_its_object_however_the_script_is_cut(
    size: int, line: int, subject: str
) -> None:
    headings = Headings()
    for start in range(0, len(SCRIPT), size):
        headings.feed(SCRIPT[start : start + size])
    assert headings.at(line) == subject
