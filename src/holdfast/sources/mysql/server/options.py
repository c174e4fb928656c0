"""What a job wants of this engine besides its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holdfast.model.backup import Relation, Selection
from holdfast.model.checksums import Policy

DdlPolicy = Literal["block", "detect", "ignore"]
LoosePolicy = Literal["refuse", "lock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which databases and tables, and what to do about what a snapshot does not hold still.

    Without `databases` it is the one of the address, without `tables` all of them. `ddl` is
    about definitions that change meanwhile, `loose_tables` about those of engines without a
    snapshot. The lock waits while a statement older than `long_query_seconds` runs, or while a
    replica lags by more than `most_lag_seconds`, and is asked for no longer than `wait_seconds`.
    """

    databases: Selection | None = None
    tables: Selection | None = None
    ddl: DdlPolicy = "detect"
    loose_tables: LoosePolicy = "refuse"
    long_query_seconds: float = 60.0
    most_lag_seconds: float = 600.0
    wait_seconds: float = 60.0
    hold_seconds: float = 10.0
    checksums: Policy = "auto"

    @property
    def takes_all_objects(self) -> bool:
        """Whether views, routines and events come too: not where tables were named."""
        return self.tables is None or self.tables.include == ("*",)

    def wants(self, relation: Relation) -> bool:
        """Patterns are of a table's name, or of `database.table`."""
        if self.tables is None:
            return True
        names = (relation.name, str(relation))
        found = set(Selection(include=self.tables.include).of(names))
        return not found.isdisjoint(names) and not any(map(self.tables.excludes, names))

    def missing(self, database: str, names: set[str]) -> list[str]:
        """Tables that were asked for by their plain names and are not there.

        Where the job has several databases, only `database.table` says in which it must be.
        """
        if self.tables is None:
            return []
        plain = [name for name in self.tables.include if not set(name) & set("*?[")]
        if self.databases is not None:
            plain = [name for name in plain if name.startswith(f"{database}.")]
        known = names | {f"{database}.{name}" for name in names}
        return [name for name in plain if name not in known]
