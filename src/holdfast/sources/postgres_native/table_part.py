"""One table's rows as a part: how they are read, and what a restore must know about them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from holdfast.model import Part, Relation
from holdfast.sources.postgres_native.quoting import identifier, literal, qualified

TEXT = "text"
BINARY = "binary"


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """The rows of one table, without those of its children.

    `condition` is the WHERE clause of an extension's configuration table. `ancestors` are the
    partitioned tables above a partition, nearest first. `load_through` is set where rows must
    be routed anew: the hash of an enum differs from one database to the next.
    """

    relation: Relation
    columns: tuple[str, ...]
    encoding: str
    format: str = TEXT
    condition: str = ""
    ancestors: tuple[Relation, ...] = ()
    load_through: Relation | None = None

    def copy_out(self, destination: str) -> str:
        """`destination` is `STDOUT` or a path as a string constant."""
        options = f"TO {destination} (FORMAT {self.format}, ENCODING {literal(self.encoding)})"
        if not self.condition:
            return f"COPY {qualified(self.relation)}{self._column_list()} {options}"
        columns = ", ".join(identifier(column) for column in self.columns)
        rows = f"SELECT {columns} FROM ONLY {qualified(self.relation)} {self.condition}"  # noqa: S608  # the condition is the extension author's own SQL
        return f"COPY ({rows}) {options}"

    def copy_in(self, *, freeze: bool) -> str:
        into = qualified(self.load_through or self.relation)
        options = f"FORMAT {self.format}, ENCODING {literal(self.encoding)}"
        options += ", FREEZE" if freeze else ""
        return f"COPY {into}{self._column_list()} FROM STDIN ({options})"

    @property
    def owns_every_row(self) -> bool:
        """Whether the table holds nothing but what this part brings."""
        return not self.condition and self.load_through is None

    def _column_list(self) -> str:
        # Without a list the server leaves generated columns out by itself; `()` is no SQL.
        if not self.columns:
            return ""
        return f" ({', '.join(identifier(column) for column in self.columns)})"

    def details(self) -> dict[str, str]:
        found = {
            "format": self.format,
            "encoding": self.encoding,
            "columns": json.dumps(self.columns),
            # Not for us: whoever has only the files and psql need not quote anything himself.
            "statement": self.copy_in(freeze=False),
        }
        if self.condition:
            found["condition"] = self.condition
        if self.load_through is not None:
            found["load_through"] = json.dumps((self.load_through.schema, self.load_through.name))
        return found

    @staticmethod
    def of(part: Part) -> TablePart:
        """Read back what `details` and the plan wrote into the manifest."""
        if part.relation is None:
            raise ValueError(f"part '{part.name}' names no table")
        through = part.details.get("load_through")
        return TablePart(
            relation=part.relation,
            columns=tuple(json.loads(part.details["columns"])),
            encoding=part.details["encoding"],
            format=part.details["format"],
            condition=part.details.get("condition", ""),
            ancestors=part.ancestors,
            load_through=_relation(json.loads(through)) if through else None,
        )


def _relation(pair: list[str]) -> Relation:
    return Relation(schema=pair[0], name=pair[1])
