"""The parts that JSON documents of several commands share; docs/json.md describes every field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from holdfast.catalog.catalog import Damaged
from holdfast.cli.tables import ratio
from holdfast.model.backup import Relation, Server, Summary
from holdfast.model.drill import DrillRecord
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


def of_drill(record: DrillRecord) -> Document:
    """One drill with its proofs."""
    seconds = record.seconds
    return {
        "drill": record.drill_id,
        "job": record.job,
        "backup": record.backup,
        "database": record.database,
        "host": record.host,
        "version": record.version,
        "server": record.server or None,
        "began": moment(record.began),
        "ended": moment(record.ended),
        "outcome": record.outcome.value,
        "problem": record.problem or None,
        "hint": record.hint or None,
        "reached": moment(record.reached) if record.reached else None,
        "restore_seconds": seconds.restore,
        "seconds": {
            "prepare": seconds.prepare,
            "fetch": seconds.fetch,
            "load": seconds.load,
            "indexes": seconds.indexes,
            "recovery": seconds.recovery,
            "checks": seconds.checks,
        },
        "plain_bytes": record.plain_bytes,
        "findings": [
            {
                "subject": each.subject,
                "problem": each.problem,
                "hint": each.hint or None,
                "blocks": each.blocks,
            }
            for each in record.findings
        ],
        "rows": [
            {
                "name": each.name,
                "outcome": each.outcome.value,
                "expected": each.expected or None,
                "found": each.found or None,
                "detail": each.detail or None,
            }
            for each in record.rows
        ],
    }


def of_last_drill(record: DrillRecord | None) -> Document | None:
    """A drill in short, beside the backup or the job that it is about; None for never."""
    if record is None:
        return None
    return {
        "drill": record.drill_id,
        "backup": record.backup,
        "ended": moment(record.ended),
        "outcome": record.outcome.value,
        "problem": record.problem or None,
        "restore_seconds": record.seconds.restore,
        "reached": moment(record.reached) if record.reached else None,
        "host": record.host,
    }
