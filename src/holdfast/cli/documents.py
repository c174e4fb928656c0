"""Values as machines read them; docs/json.md describes every field."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from holdfast.catalog.catalog import Damaged
from holdfast.cli.tables import ratio
from holdfast.model import Manifest, Relation, Server
from holdfast.operations.check import CheckReport
from holdfast.operations.plan import PlanReport
from holdfast.operations.prune import PruneReport
from holdfast.operations.restore import RestoreReport
from holdfast.operations.status import JobStatus
from holdfast.operations.verify import VerifyReport
from holdfast.ports import RunRecord

Document = dict[str, Any]


def of_backup(manifest: Manifest) -> Document:
    """One finished backup without its parts."""
    return {
        "backup": manifest.backup_id,
        "job": manifest.job,
        "name": manifest.name,
        "run_id": manifest.run_id,
        "host": manifest.host,
        "engine": manifest.engine,
        "server": of_server(manifest.server),
        "consistency": manifest.consistency.value,
        "started_at": moment(manifest.started_at),
        "snapshot_at": moment(manifest.snapshot_at),
        "finished_at": moment(manifest.finished_at),
        "seconds": manifest.seconds,
        "parts": len(manifest.parts),
        "rows": manifest.rows,
        "plain_bytes": manifest.plain_bytes,
        "stored_bytes": manifest.stored_bytes,
        "ratio": round(ratio(manifest), 3),
        "peak_memory_bytes": manifest.peak_memory_bytes,
        "workers": manifest.workers,
    }


def of_damaged(damaged: tuple[Damaged, ...]) -> list[Document]:
    return [{"backup": each.backup_id, "problem": each.problem} for each in damaged]


def of_plan(report: PlanReport) -> Document:
    source = report.source
    return {
        "job": report.job.name,
        "server": of_server(source.server),
        "consistency": source.consistency.value,
        "compression": {"codec": report.job.codec.value, "level": report.job.level},
        "workers": report.budget.slots,
        "budget": {"decided_by": report.budget.decided_by, "allowed": report.budget.allowed},
        "estimated_bytes": source.estimated_bytes,
        "free_bytes": report.free_bytes,
        "tables": [
            {
                **of_relation(table.relation),
                "estimated_bytes": table.estimated_bytes,
                "estimated_rows": table.estimated_rows,
                "method": table.method,
                "reason": table.reason,
            }
            for table in source.tables
        ],
        "notes": list(source.notes),
    }


def of_verify(report: VerifyReport) -> Document:
    return {
        "backup": report.manifest.backup_id,
        "verified": not report.bad,
        "parts": report.parts,
        "plain_bytes": report.plain_bytes,
        "stored_bytes": report.stored_bytes,
        "bad": [{"part": each.name, "problem": each.problem} for each in report.bad],
        "exit_code": report.exit_code,
    }


def of_restore(report: RestoreReport) -> Document:
    return {
        "backup": report.manifest.backup_id,
        "target": report.target,
        "tables": [
            {
                **of_relation(table.relation),
                "rows_expected": table.rows_expected,
                "rows_found": table.rows_found,
            }
            for table in report.tables
        ],
        "rows": report.rows,
        "plain_bytes": report.plain_bytes,
        "seconds": report.seconds,
    }


def of_prune(report: PruneReport) -> Document:
    return {
        "job": report.job,
        "verdicts": [
            {
                "backup": verdict.candidate.backup_id,
                "taken_at": moment(verdict.candidate.taken_at),
                "keep": verdict.keep,
                "because": verdict.because,
            }
            for verdict in report.verdicts
        ],
        "damaged": of_damaged(report.damaged),
        "freed_bytes": report.freed_bytes,
    }


def of_check(report: CheckReport) -> Document:
    return {
        "job": report.job,
        "exit_code": report.exit_code,
        "findings": [
            {
                "subject": finding.subject,
                "detail": finding.detail,
                "problem": finding.problem,
                "hint": finding.hint,
            }
            for finding in report.findings
        ],
    }


def of_status(found: JobStatus, next_run: datetime | None) -> Document:
    return {
        "job": found.job,
        "newest": of_backup(found.newest) if found.newest else None,
        "age_seconds": round(found.age.total_seconds()) if found.age is not None else None,
        "backups": found.backups,
        "damaged": found.damaged,
        "last_run": of_run(found.last_run) if found.last_run else None,
        "skipped_in_a_row": found.skipped_in_a_row,
        "owner": found.owner,
        "next_run": moment(next_run) if next_run else None,
    }


def of_run(run: RunRecord) -> Document:
    return {
        "run_id": run.run_id,
        "outcome": run.outcome,
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at),
        "backup": run.backup or None,
        "error": run.error or None,
        "hint": run.hint or None,
        "exit_code": run.exit_code,
        "facts": run.facts,
    }


def of_server(server: Server) -> Document:
    return {"kind": server.kind, "version": server.version, "database": server.database}


def of_relation(relation: Relation) -> Document:
    """`schema` is what PostgreSQL calls it; in MySQL it is the database."""
    return {"table_schema": relation.schema, "table": relation.name}


def moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
