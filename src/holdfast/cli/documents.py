"""The parts that JSON documents of several commands share; docs/json.md describes every field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from holdfast.catalog.catalog import Damaged
from holdfast.cli.tables import ratio
from holdfast.model.backup import Relation, Server, Summary
from holdfast.model.errors import HoldfastError

Document = dict[str, Any]
"""A JSON object."""


def of_backup(manifest: Summary) -> Document:
    """One finished backup without its parts."""
    return {
        "backup": manifest.backup_id,
        "job": manifest.job,
        "name": manifest.name,
        "run_id": manifest.run_id,
        "host": manifest.host,
        "engine": manifest.engine,
        "parent": manifest.parent,
        "server": of_server(manifest.server),
        "consistency": manifest.consistency.value,
        "started_at": moment(manifest.started_at),
        "snapshot_at": moment(manifest.snapshot_at),
        "finished_at": moment(manifest.finished_at),
        "seconds": manifest.seconds,
        "parts": manifest.parts,
        "rows": manifest.rows,
        "plain_bytes": manifest.plain_bytes,
        "stored_bytes": manifest.stored_bytes,
        "ratio": round(ratio(manifest), 3),
        "peak_memory_bytes": manifest.peak_memory_bytes,
        "workers": manifest.workers,
        "blobs": manifest.blobs,
        "encryption": manifest.encryption,
        "recipients": list(manifest.recipients),
        "metrics": manifest.metrics,
        "notes": list(manifest.notes),
    }


def of_failed_jobs(errors: Mapping[str, HoldfastError]) -> Document:
    """The jobs that a command on all jobs failed for, by name."""
    return {"failed_jobs": [{"job": name, **of_error(error)} for name, error in errors.items()]}


def of_unseen(errors: Mapping[str, HoldfastError]) -> Document:
    """The repositories that could not be read, by name."""
    return {"unseen": [{"repository": name, **of_error(error)} for name, error in errors.items()]}


def of_error(error: HoldfastError) -> Document:
    return {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}


def of_damaged(damaged: tuple[Damaged, ...]) -> list[Document]:
    return [{"backup": each.backup_id, "problem": each.problem} for each in damaged]


def of_server(server: Server) -> Document:
    return {"kind": server.kind, "version": server.version, "database": server.database}


def of_relation(relation: Relation) -> Document:
    """`schema` is PostgreSQL's term; in MySQL it is the database."""
    return {"table_schema": relation.schema, "table": relation.name}


def moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
