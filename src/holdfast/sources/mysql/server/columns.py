"""Expressions that make the server print each type so that reading it back loses nothing."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server import typed_json
from holdfast.sources.mysql.server.sql import quoted

WHOLE_NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"}
# Printed as numbers: exact in every character set, and 0 remains the error value.
NUMBERED = {"bit", "enum", "set"}
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"}
SHAPES = {
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
}
MOMENTS = {"date", "time", "datetime", "timestamp", "year"}
LONG = {"text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json", *SHAPES}
# In these every byte sequence that a server accepts is exactly one character in Unicode. In others
# (sjis, gbk, cp932 ...) some characters have two codes, or the server stores bytes that are no
# character: such columns are printed as bytes.
UTF8_CHARSETS = {"utf8mb4", "utf8mb3", "utf8"}
READABLE_CHARSETS = {*UTF8_CHARSETS, "latin1"}
# MariaDB accepts bytes from 0x80 in ascii text; without such bytes the text is valid UTF-8.
ASCII = "ascii"
KEY_TYPES = WHOLE_NUMBERS | {
    "char",
    "varchar",
    "binary",
    "varbinary",
    "date",
    "time",
    "datetime",
    "timestamp",
    "year",
    "uuid",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that takes part in INSERT."""

    name: str
    data_type: str
    charset: str = ""
    collation: str = ""
    nullable: bool = True

    @property
    def long(self) -> bool:
        """Whether one value alone may be larger than a statement should be."""
        return self.data_type in LONG

    @property
    def is_json(self) -> bool:
        """Whether its values may have types that their text does not show; never so in MariaDB."""
        return self.data_type == "json"

    @property
    def usable_as_key(self) -> bool:
        return self.data_type in KEY_TYPES

    @property
    def literal(self) -> str:
        """An expression whose text is this column's value as SQL, NULL included."""
        name = quoted(self.name)
        if self.data_type in WHOLE_NUMBERS:
            return self._or_null(name)
        if self.data_type == "float":
            # A FLOAT is printed with six digits, a DOUBLE with all that it needs. Quoted,
            # because the number -0 would lose its sign before it is stored.
            return f"QUOTE({name}*1e0)"
        if self.data_type == "double":
            # The bare column: MySQL cuts a computed DOUBLE at 22 characters, and it may need 24.
            return f"QUOTE({name})"
        if self.data_type in NUMBERED:
            return self._or_null(f"CAST({name} AS UNSIGNED)")
        if self.data_type in TEXTS and self.charset in READABLE_CHARSETS:
            # As bytes: QUOTE reads text character by character, which costs a third more CPU time.
            return f"QUOTE(CAST({self._as_utf8(name)} AS BINARY))"
        if self.data_type in BYTES | SHAPES | TEXTS:
            return self._or_null(f"CONCAT('x''',HEX({name}),'''')")
        if self.is_json:
            return typed_json.literal(self.name)
        return f"QUOTE({name})"

    @property
    def is_quoted(self) -> bool:
        """Whether its values stand between quotes."""
        return self.data_type not in WHOLE_NUMBERS | NUMBERED

    @property
    def is_ascii(self) -> bool:
        """Whether its values are plain text only where none has a byte from 0x80."""
        return self.data_type in TEXTS and self.charset == ASCII

    @property
    def bare(self) -> str | None:
        """An expression for the text between the quotes, valid where nothing needs escaping.

        None for a type that is always printed by `literal`.
        """
        name = quoted(self.name)
        if self.data_type in TEXTS and self.charset in READABLE_CHARSETS:
            return self._as_utf8(name)
        if self.is_ascii:
            return f"CAST({name} AS BINARY)"
        return name if self.data_type in MOMENTS else None

    @property
    def raw(self) -> str:
        """An expression for the bytes of a long value, in the column's own character set."""
        name = quoted(self.name)
        if self.is_json:
            return typed_json.text(self.name)
        return f"CAST({name} AS BINARY)" if self.data_type in TEXTS else name

    def restored(self, variable: str, types: bytes | None) -> str:
        """The expression to INSERT where a user variable holds the bytes of `raw`.

        `types` are those that the text of a JSON document leaves out.
        """
        if not self.is_json:
            return variable
        document = f"CONVERT({variable} USING utf8mb4)"
        return f"JSON_SET({document}{types.decode()})" if types else document

    @property
    def bound(self) -> str:
        """An expression whose text is this key column's value as a literal to compare with."""
        name = quoted(self.name)
        if self.data_type in TEXTS:
            prefix = f"_{self.charset} x''"
            return f"CONCAT('{prefix}',HEX({name}),''' COLLATE {self.collation}')"
        if self.data_type in BYTES:
            return f"CONCAT('x''',HEX({name}),'''')"
        return f"CONCAT({name})" if self.data_type in WHOLE_NUMBERS else f"QUOTE({name})"

    def _as_utf8(self, expression: str) -> str:
        if self.charset in UTF8_CHARSETS:
            return expression
        return f"CONVERT({expression} USING utf8mb4)"

    def _or_null(self, expression: str) -> str:
        return f"IFNULL({expression},'NULL')" if self.nullable else expression


def row_text(columns: Sequence[Column]) -> str:
    """An expression for a whole row: `(1,'a',NULL)`."""
    values = ",',',".join(column.literal for column in columns)
    return f"CONCAT('(',{values},')')" if values else "'()'"


def raw_row(columns: Sequence[Column]) -> list[str]:
    """Expressions for a row too long for one statement: long values as bytes, all others as SQL,
    then the types of JSON documents, column by column."""
    return [
        *(column.raw if column.long else column.literal for column in columns),
        *(typed_json.types_of_any(column.name) for column in columns if column.is_json),
    ]


def column_list(columns: Sequence[Column]) -> str:
    return "(" + ",".join(quoted(column.name) for column in columns) + ")"
