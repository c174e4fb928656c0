"""A PostgreSQL database read by pg_dump and pg_dumpall, under one snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

import psycopg

from holdfast.model.backup import Codec, PartKind, PartPlan
from holdfast.model.errors import SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import PostgresProof
from holdfast.ports.source import Finding, PartStream, Snapshot, TablePlan
from holdfast.runtime.cleanup import Cancellation
from holdfast.sources.postgres.dump import pg_dump_archive
from holdfast.sources.postgres.dump.pg_dump_archive import HIGHEST_LEVEL, Compression, DumpProcess
from holdfast.sources.postgres.server import catalog_queries, database_properties, shared_snapshot
from holdfast.sources.postgres.server.catalog_queries import (
    BIG_DATABASE_BYTES,
    Facts,
    Table,
    has_rows_to_take,
)
from holdfast.sources.postgres.server.database_source import (
    DatabaseSnapshot,
    DatabaseSource,
    Opening,
    not_taken,
)
from holdfast.sources.postgres.server.shared_snapshot import Exported


@dataclass(kw_only=True, eq=False, repr=False)
class PostgresToolsSource(DatabaseSource):
    """A backup uses one session to hold the snapshot, one for pg_dump and one for pg_dumpall.

    From `plain_from_bytes` up a database is dumped as plain SQL, which the pipeline compresses;
    below it pg_dump compresses with `codec` and `level`. Long values stay in the dump.
    """

    engine = "tools"

    plain_from_bytes: int = BIG_DATABASE_BYTES
    codec: Codec = Codec.GZIP
    level: int = HIGHEST_LEVEL

    def _choice(self, connection: psycopg.Connection, found: Facts) -> Finding:  # noqa: ARG002  # its facts are enough
        form, reason = self._form(found)
        return Finding(subject="format", detail=f"{form}: {reason}")

    def _planned(
        self,
        connection: psycopg.Connection,  # noqa: ARG002  # its facts are enough
        found: Facts,
        listed: Sequence[Table],
        *,
        locked: Collection[int],  # noqa: ARG002  # nothing is asked of any table
    ) -> tuple[Sequence[TablePlan], Sequence[str]]:
        form, reason = self._form(found)
        return [_table_plan(table, found, form) for table in listed], (
            f"one pg_dump writes the whole database in format {form}: {reason}",
            self._compressed_by(form),
        )

    def _begun(self, opening: Opening) -> Snapshot:
        if opening.rejoin:
            raise SnapshotLost("cannot resume the backup: pg_dump writes the dump as one stream")
        held, found = opening.held, opening.found
        exported, dumping = self._exported(opening)
        listed = catalog_queries.tables(held)
        return ToolsSnapshot(
            opening=opening,
            exported=exported,
            globals_=self._globals_of(opening),
            not_taken=not_taken(held, found, listed),
            cancellation=Cancellation(),
            dumping=dumping,
            planned=pg_dump_archive.parts_of(
                found,
                listed,
                database_properties.creation_options(held),
                form=self._form(found)[0],
                pg_dump=opening.programs.pg_dump,
                workers=opening.workers,
            ),
        )

    def _exported(self, opening: Opening) -> tuple[Exported, DumpProcess]:
        """Take the snapshot, and start a pg_dump under it that has locked all tables."""
        form, _ = self._form(opening.found)

        def begin(exported: Exported) -> DumpProcess:
            arguments = partial(
                pg_dump_archive.arguments,
                opening.programs.pg_dump,
                form=form,
                snapshot=exported.name,
                compression=Compression(codec=self.codec, level=self.level),
            )
            dumping = DumpProcess(self.login, arguments)
            opening.stack.enter_context(dumping.begun(opening.held))
            return dumping

        return shared_snapshot.begun_under_snapshot(
            opening.held,
            self.login,
            take=lambda: shared_snapshot.take_snapshot(
                opening.held, self.login, user=opening.found.login
            ),
            begin=begin,
        )

    def _form(self, found: Facts) -> tuple[str, str]:
        return pg_dump_archive.format_for(found, plain_from_bytes=self.plain_from_bytes)

    def _compressed_by(self, form: str) -> str:
        if form == pg_dump_archive.PLAIN:
            return "holdfast compresses the dump, as configured in the job"
        level = min(self.level, HIGHEST_LEVEL)
        return f"pg_dump compresses the dump, at level {level} (at most {HIGHEST_LEVEL})"


def _table_plan(table: Table, found: Facts, form: str) -> TablePlan:
    taken = has_rows_to_take(table, found)
    return TablePlan(
        relation=table.relation,
        estimated_bytes=table.size_bytes if taken else 0,
        estimated_rows=table.estimated_rows,
        method=f"pg_dump {form}" if taken else "schema only",
        reason="the engine is tools" if taken else "it has no rows on this server",
    )


@dataclass(kw_only=True, eq=False, repr=False)
class ToolsSnapshot(DatabaseSnapshot):
    """Created by `PostgresToolsSource.open`, which ends its session; `dumping` is the pg_dump that
    has joined it."""

    dumping: DumpProcess
    planned: Sequence[PartPlan]

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.planned

    @property
    def notes(self) -> Sequence[str]:
        return self.not_taken

    def _with_evidence(self, proof: PostgresProof) -> PostgresProof:
        return replace(
            proof,
            sessions=f"one pg_dump inside snapshot {self.exported.name}",
            server=self.opening.found.version,
            pg_dump=self.tools.get("pg_dump", ""),
            pg_dumpall=self.tools.get("pg_dumpall", ""),
            taken_at=self.taken_at.isoformat(),
        )

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        if part.kind is PartKind.ARCHIVE:
            return self.dumping.reading(self.cancellation)
        if part.kind is PartKind.GRANTS:
            return self._read_settings()
        return self.globals_.read(self.cancellation)

    @contextmanager
    def _read_settings(self) -> Iterator[PartStream]:
        with self._cancelled(self.opening.held) as held:
            yield self._texts(
                held, database_properties.statements(held), self._of_database("settings")
            )
