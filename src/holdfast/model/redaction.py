"""Make a text fit to leave the host: no secret, no row, no statement, one bounded line.

Errors quote servers and programs, whose words nobody controls. So each pattern here takes away
rather too much than too little; the whole text stays in the log of the host.
"""

from __future__ import annotations

import re

from holdfast.model.lazy_pattern import regex

LONGEST = 500
GONE = "…"

_STATEMENT = regex(
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|MERGE|COPY|CREATE|ALTER|DROP|LOCK|GRANT|REVOKE|SET|CALL|DO"
    r"|WITH|EXECUTE|TRUNCATE|LOAD|REPLACE|SHOW|BEGIN|FLUSH|BACKUP|DECLARE|FETCH|VALUES)\s+\S.*"
    r"|\b(?:LINE \d+|DETAIL|CONTEXT|STATEMENT|QUERY|HINT|Query was|Command was|query was"
    r"|command was)\b\s*:.*"
)
_NEAR = regex(r"\bnear (['\"]).*")
_QUOTED_VALUES = regex(
    r"((?:Duplicate entry|[Ii]ncorrect \w+ value:?|[Ii]nvalid input (?:syntax|value) for [^:]*:"
    r"|Data truncated for|(?i:value):?|Truncated incorrect \w+ value:?)\s*)"
    r"(?:'[^']*'|\"[^\"]*\")"
)
_KEY = regex(r"(Key )\([^)]*\)=\([^)]*\)")
_FAILING_ROW = regex(r"([Rr]ow contains )\(.*")
_LOGIN = regex(r"://[^\s'\"]*@")
_QUERY = regex(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")
_SECRET = regex(
    r"((?:pass(?:word|wd|phrase)?|pwd|secret|token|key|sas|sig(?:nature)?|credential|authorization"
    r"|bearer)[\w-]*['\"]?)(\s*[=:]\s*|\s+(?=[A-Za-z0-9+/_-]{16,}))(?:(?:bearer|basic|digest)\s+)?"
    r"(?:'[^']*'|\"[^\"]*\"|\S+)",
    re.IGNORECASE,
)
_PASSWORD = regex(
    r"(--pass[\w-]*\s+|\b(?:pass(?:word|wd|phrase)?|identified by)\s+(?=['\"]))"
    r"(?:'[^']*'|\"[^\"]*\"|\S+)",
    re.IGNORECASE,
)
_LONG_WORD = regex(r"[A-Za-z0-9+/_=-]{40,}")
_KNOWN_SECRET = regex(r"AGE-SECRET-KEY-\S+|\bAKIA[A-Z0-9]{12,}")


def sanitized(text: str) -> str:
    """The first line of `text`, without secrets, statements and values of rows."""
    line = next((each for each in map(str.strip, text.splitlines()) if each), "")
    line = "".join(each if each.isprintable() else " " for each in line[: 8 * LONGEST])
    for pattern, instead in (
        (_KNOWN_SECRET, GONE),
        (_LOGIN, f"://{GONE}@"),
        (_QUERY, rf"\1?{GONE}"),
        (_SECRET, rf"\1\2{GONE}"),
        (_PASSWORD, rf"\1{GONE}"),
        (_STATEMENT, GONE),
        (_NEAR, GONE),
        (_KEY, rf"\1{GONE}"),
        (_FAILING_ROW, rf"\1{GONE}"),
        (_QUOTED_VALUES, rf"\1{GONE}"),
        (_LONG_WORD, GONE),
    ):
        line = pattern.sub(instead, line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}{GONE}"
