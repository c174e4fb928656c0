"""MySQL's JSON values whose type their text does not show: DECIMAL, dates and times, bytes.

In the text of a document, such a value is a number or a string. An INSERT therefore sets those
values again, each with its type: `JSON_SET('{"n": 1.50}','$."n"',CAST(1.50 AS DECIMAL(65,2)))`.
It does so only for documents that differ after their text was parsed again. In others, a DECIMAL
that prints like a double comes back as that double. MariaDB keeps JSON as text.
"""

from __future__ import annotations

from holdfast.sources.mysql.server.sql import quoted, select

# The first release with JSON_TABLE beside a table and recursive queries with outer references.
SINCE = "80014"
# MySQL's number of a column type in the text of an opaque value, and the type in SQL.
_BYTES = {
    15: "VARBINARY(",
    249: "TINYBLOB",
    250: "MEDIUMBLOB",
    251: "LONGBLOB",
    252: "BLOB",
    253: "VARBINARY(",
    254: "BINARY(",
}
_BIT = 16
_OPAQUE = '"base64:type'
_TEXT = "CAST(v AS CHAR CHARACTER SET utf8mb4)"
_STRING = "JSON_UNQUOTE(v)"
_NUMBER = f"CAST(SUBSTRING_INDEX(SUBSTRING({_TEXT},{len(_OPAQUE) + 1}),':',1) AS UNSIGNED)"
_RAW = f"FROM_BASE64(SUBSTRING_INDEX({_STRING},':',-1))"
_DECIMALS = f"IF(INSTR({_TEXT},'.'),LENGTH({_TEXT})-INSTR({_TEXT},'.'),0)"


def text(name: str) -> str:
    """An expression for the text of a document in the column `name`."""
    return f"CAST({quoted(name)} AS CHAR CHARACTER SET utf8mb4)"


def again(name: str) -> str:
    """An expression for the document that results from its text."""
    return f"CAST({text(name)} AS JSON)"


def is_more_than_text(name: str) -> str:
    """A condition for documents that differ after their text was parsed again."""
    as_text = f"CAST({again(name)} AS CHAR CHARACTER SET utf8mb4)"
    return (
        f"(NOT ({quoted(name)} <=> {again(name)})"
        f" OR CAST({text(name)} AS BINARY) <> CAST({as_text} AS BINARY))"
    )


def literal(name: str) -> str:
    """An expression whose text is the document as SQL, with the types of all its values."""
    plain = f"QUOTE({text(name)})"
    whole = f"CONCAT('JSON_SET(',{plain},{types(name)},')')"
    return since(f"IF({is_more_than_text(name)},IFNULL({whole},{plain}),", plain, ")")


def types_of_any(name: str) -> str:
    """The result of `types` for a document that `is_more_than_text`, and NULL for any other."""
    return since(f"IF({is_more_than_text(name)},{types(name)},", "NULL", ")")


def since(before: str, inside: str, after: str) -> str:
    """`inside`, with `before` and `after` around it where the server is new enough."""
    return f"/*!{SINCE} {before} */{inside}/*!{SINCE} {after} */"


def types(name: str) -> str:
    """A query for the arguments of JSON_SET, each after a comma; NULL where there are none."""
    made = f"GROUP_CONCAT(',',QUOTE(JSON_UNQUOTE(p)),',',{_value()} SEPARATOR '')"
    return f"({_values_of(name)} {select(made, 'n', f'WHERE {_value()} IS NOT NULL')})"


def unknown(name: str) -> str:
    """A query that counts the values of a document whose type is unknown here."""
    strange = "JSON_TYPE(v) NOT IN ('OBJECT','ARRAY','STRING','INTEGER','DOUBLE','BOOLEAN','NULL')"
    strange += f" AND {_value()} IS NULL"
    return f"({_values_of(name)} {select('COUNT(*)', 'n', f'WHERE {strange}')})"


def _values_of(name: str) -> str:
    """`n`: every value `v` within a document, by its path `p` as a JSON string."""
    below = (
        "SELECT CONCAT('.',CAST(k.k AS CHAR CHARACTER SET utf8mb4)) AS s"
        " FROM JSON_TABLE(JSON_KEYS(n.v),'$[*]' COLUMNS (k JSON PATH '$')) AS k"
        " WHERE JSON_TYPE(n.v) = 'OBJECT'"
        " UNION ALL SELECT CONCAT('[',i.i - 1,']')"
        " FROM JSON_TABLE(n.v,'$[*]' COLUMNS (i FOR ORDINALITY)) AS i"
        " WHERE JSON_TYPE(n.v) = 'ARRAY'"
    )
    first = f"SELECT CAST(JSON_QUOTE('$') AS JSON),{quoted(name)}"
    path = "CAST(JSON_QUOTE(CONCAT(JSON_UNQUOTE(n.p),c.s)) AS JSON)"
    value = "JSON_EXTRACT(n.v,CONCAT('$',c.s))"
    then = select(f"{path},{value}", "n", f"JOIN LATERAL ({below}) AS c")
    return f"WITH RECURSIVE n (p,v) AS ({first} UNION ALL {then})"


def _value() -> str:
    """An expression whose text is the value `v` as SQL; NULL where its text suffices.

    Also NULL for an opaque value of an unknown type.
    """
    moments = " ".join(
        f"WHEN '{kind}' THEN CONCAT('CAST(',QUOTE({_STRING}),' AS {written})')"
        for kind, written in (("DATE", "DATE"), ("TIME", "TIME(6)"), ("DATETIME", "DATETIME(6)"))
    )
    stamp = _as_column(f"QUOTE({_STRING})", "'TIMESTAMP(6)'")
    return (
        "CASE JSON_TYPE(v)"
        f" WHEN 'UNSIGNED INTEGER' THEN CONCAT('CAST(',{_TEXT},' AS UNSIGNED)')"
        f" WHEN 'DECIMAL' THEN CONCAT('CAST(',{_TEXT},' AS DECIMAL(65,',{_DECIMALS},'))')"
        f" {moments} WHEN 'TIMESTAMP' THEN {stamp}"
        f" WHEN 'BLOB' THEN {_as_column(_hex(), _bytes())}"
        f" WHEN 'BIT' THEN IF({_NUMBER}={_BIT},"
        f"{_as_column(f'CONV(HEX({_RAW}),16,10)', _bits())},NULL) END"
    )


def _as_column(value: str, kind: str) -> str:
    """SQL that reads a value through a column of that type, as CAST lacks some of these types."""
    head = "(SELECT JSON_EXTRACT(JSON_ARRAY(x),''$[0]'') FROM JSON_TABLE(JSON_ARRAY("
    middle, tail = "),''$[*]'' COLUMNS (x ", " PATH ''$'' ERROR ON ERROR)) AS j)"
    return f"CONCAT('{head}',{value},'{middle}',{kind},'{tail}')"


def _hex() -> str:
    return f"CONCAT('x''',HEX({_RAW}),'''')"


def _bits() -> str:
    return f"CONCAT('BIT(',8 * LENGTH({_RAW}),')')"


def _bytes() -> str:
    cases = " ".join(
        f"WHEN {number} THEN "
        + (f"CONCAT('{kind}',LENGTH({_RAW}),')')" if kind.endswith("(") else f"'{kind}'")
        for number, kind in _BYTES.items()
    )
    return f"CASE {_NUMBER} {cases} END"
