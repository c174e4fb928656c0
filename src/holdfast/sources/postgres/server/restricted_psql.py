"""psql with its own commands off: a script may speak to the server, and to nothing else.

pg_dump begins what it writes with `\\restrict WORD` and ends it with `\\unrestrict WORD`, where
WORD is its own. Whoever wrote a script knows the word in it, so ours takes its place.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from holdfast.runtime import events
from holdfast.sources.postgres.server.tools import Tool

# The first minor release of each that knows it; every one of 18 and later does.
_KNOWN_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
# Before and behind all statements: elsewhere such a line may be text of a function.
_NO_STATEMENT = rb"((?:\s|--[^\n]*\n)*)"
_FIRST = re.compile(rb"\A" + _NO_STATEMENT + rb"(?<![^\n])\\restrict \w+(?=\n)")
_LAST = re.compile(rb"(?<=\n)\\unrestrict \w+" + _NO_STATEMENT + rb"\Z")
_HEAD_BYTES = _TAIL_BYTES = 4096


def is_known_to(psql: Tool) -> bool:
    """Whether this release of psql can be told to carry out no command but those of SQL."""
    minor = re.match(r"\d+\.(\d+)", psql.version)
    since = _KNOWN_SINCE.get(psql.major)
    if since is None:
        return psql.major > max(_KNOWN_SINCE)
    return minor is not None and int(minor[1]) >= since


def restricted(chunks: Iterator[bytes], psql: Tool) -> Iterator[bytes]:
    """`chunks` under a word that nobody could know who wrote them.

    An older psql is told nothing. To look for its commands in the text would keep nobody out:
    they may stand anywhere in a line, and what is quoted depends on a setting that the script
    itself may change. There the proof has to be enough.
    """
    if is_known_to(psql):
        yield f"\\restrict {secrets.token_hex(32)}\n".encode()
    else:
        events.warning("psql_unrestricted", path=str(psql.path), version=psql.version)
    yield from without_words(chunks)


def without_words(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """`chunks` less the two lines of pg_dump, with as many lines as before."""
    held = b""
    for chunk in chunks:
        held += chunk
        if len(held) >= _HEAD_BYTES:
            break
    held = _FIRST.sub(rb"\1", held)
    for chunk in chunks:
        held += chunk
        yield held[:-_TAIL_BYTES]
        held = held[-_TAIL_BYTES:]
    yield _LAST.sub(rb"\1", held)
