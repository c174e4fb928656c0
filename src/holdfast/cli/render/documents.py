"""Values as machines read them; docs/json.md describes every field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from holdfast.catalog.catalog import Damaged
from holdfast.catalog.manifest import Failure
from holdfast.catalog.manifest_index import Overview
from holdfast.cli.render.terminal import ratio
from holdfast.cli.render.wal_documents import of_pruned
from holdfast.model.backup import Manifest, Relation, Server, Summary
from holdfast.model.errors import HoldfastError
from holdfast.operations.backup.job import RunReport
from holdfast.operations.backup.plan import PlanReport
from holdfast.operations.copy.backups import CopyReport
from holdfast.operations.prune import PruneReport
from holdfast.operations.repair import RepairReport
from holdfast.operations.restore.backup import RestoreReport, Step
from holdfast.operations.status import CheckReport, JobStatus
from holdfast.operations.usage import JobUsage
from holdfast.operations.verify.backup import VerifyReport
from holdfast.operations.verify.scrub import RereadReport
from holdfast.ports.host_state import RunRecord

Document = dict[str, Any]


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


def of_list(overviews: Mapping[str, Overview]) -> Document:
    """What several repositories hold, newest first, by their names."""
    summaries = [(name, each) for name, found in overviews.items() for each in found.summaries]
    summaries.sort(key=lambda named: named[1].snapshot_at, reverse=True)
    failures = [each for found in overviews.values() for each in found.failures]
    damaged = tuple(each for found in overviews.values() for each in found.damaged)
    return {
        "backups": [{**of_backup(each), "repository": name} for name, each in summaries],
        "failed": of_failures(failures),
        "damaged": of_damaged(damaged),
    }


def of_failed_jobs(errors: Mapping[str, HoldfastError]) -> Document:
    """The jobs that a command on all of them failed for, by their names."""
    return {
        "failed_jobs": [
            {
                "job": name,
                "error": error.message,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
            for name, error in errors.items()
        ]
    }


def of_unseen(errors: Mapping[str, HoldfastError]) -> Document:
    """The repositories that could not be looked into, by their names."""
    return {
        "unseen": [
            {
                "repository": name,
                "error": error.message,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
            for name, error in errors.items()
        ]
    }


def of_run_report(report: RunReport) -> Document:
    """The backups of one run; of a job with one database its own fields too."""
    only = of_backup(report.manifest.summary) if len(report.manifests) == 1 else {}
    return {
        **only,
        "job": report.job,
        "run_id": report.run_id,
        "backups": [of_backup(manifest.summary) for manifest in report.manifests],
        "failed": [
            {
                "database": each.database,
                "error": each.error.message,
                "hint": each.error.hint,
                "exit_code": each.error.exit_code,
            }
            for each in report.failures
        ],
        "without": [
            {
                "repository": each.name,
                "error": each.error.message,
                "hint": each.error.hint,
                "exit_code": each.error.exit_code,
            }
            for each in report.without
        ],
    }


def of_failures(failures: Sequence[Failure]) -> list[Document]:
    return [
        {
            "backup": each.backup_id,
            "database": each.database,
            "failed_at": moment(each.failed_at),
            "part": each.part or None,
            "table": each.relation or None,
            "error": each.error,
            "hint": each.hint or None,
            "exit_code": each.exit_code,
            "parts_kept": each.parts_kept,
        }
        for each in failures
    ]


def of_damaged(damaged: tuple[Damaged, ...]) -> list[Document]:
    return [{"backup": each.backup_id, "problem": each.problem} for each in damaged]


def of_plans(reports: list[PlanReport]) -> Document:
    """Of a job with several databases one below the other, else the one itself."""
    if len(reports) == 1:
        return of_plan(reports[0])
    return {"databases": [of_plan(report) for report in reports]}


def of_plan(report: PlanReport) -> Document:
    source = report.source
    return {
        "job": report.job.name,
        "server": of_server(source.server),
        "consistency": source.consistency.value,
        "compression": {"codec": report.job.form.codec.value, "level": report.job.form.level},
        "encryption": report.job.form.encryption,
        "recipients": list(report.job.form.recipients),
        "workers": report.budget.slots,
        "budget": {"decided_by": report.budget.decided_by, "allowed": report.budget.allowed},
        "estimated_bytes": source.estimated_bytes,
        "estimated_seconds": round(report.seconds_for(source.estimated_bytes), 1),
        "bytes_per_second": round(report.bytes_per_second),
        "is_measured": report.is_measured,
        "free_bytes": report.free_bytes,
        "tables": [
            {
                **of_relation(table.relation),
                "estimated_bytes": table.estimated_bytes,
                "estimated_seconds": round(report.seconds_for(table.estimated_bytes), 1),
                "estimated_rows": table.estimated_rows,
                "method": table.method,
                "reason": table.reason,
            }
            for table in source.tables
        ],
        "notes": [*source.notes, *report.job.notes],
    }


def of_verify(report: VerifyReport) -> Document:
    return {
        "backup": report.manifest.backup_id,
        "level": report.level,
        "verified": not report.bad,
        "parts": report.parts,
        "unopened": report.unopened,
        "plain_bytes": report.plain_bytes,
        "stored_bytes": report.stored_bytes,
        "bad": [{"part": each.name, "problem": each.problem} for each in report.bad],
        "exit_code": report.exit_code,
    }


def of_reread(report: RereadReport) -> Document:
    return {
        "job": report.job,
        "verified": not report.exit_code,
        "parts": report.pieces,
        "unopened": report.unopened,
        "plain_bytes": report.plain_bytes,
        "left": report.left,
        "oldest": moment(report.oldest) if report.oldest else None,
        "bad": [
            {"backup": backup_id, "part": each.name, "problem": each.problem}
            for backup_id, each in report.bad
        ],
        "damaged": of_damaged(report.damaged),
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
                "checksum_expected": table.checksum_expected or None,
                "checksum_found": table.checksum_found or None,
            }
            for table in report.tables
        ],
        "rows": report.rows,
        "plain_bytes": report.plain_bytes,
        "seconds": report.seconds,
        "failed": [
            {
                "kind": each.kind,
                "name": each.name,
                "cause": each.cause,
                # What may hold a password is in the script only, which is its owner's.
                "statement": None if each.is_secret else each.statement,
            }
            for each in report.failed
        ],
        "script": report.script or None,
        "notes": list(report.notes),
        "exit_code": report.exit_code,
    }


def of_steps(manifest: Manifest, steps: Sequence[Step]) -> Document:
    return {
        "backup": manifest.backup_id,
        "steps": [
            {"kind": each.kind.value, "what": each.what, "rows": each.rows, "bytes": each.size}
            for each in steps
        ],
    }


def of_copy(report: CopyReport) -> Document:
    return {
        "job": report.job,
        "exit_code": report.exit_code,
        "backups": [
            {
                "backup": each.backup_id,
                "was_there": each.was_there,
                "sent": each.sent,
                "sent_bytes": each.sent_bytes,
                "found": each.found,
                "replaced": each.replaced,
                "problem": each.problem,
                "exit_code": each.exit_code,
            }
            for each in report.backups
        ],
        "swept": list(report.swept),
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
        "forgotten": [each.backup_id for each in report.forgotten],
        "refused": [{"backup": each.backup_id, "problem": each.problem} for each in report.refused],
        "finished": list(report.finished),
        "wal": [of_pruned(each) for each in report.wal],
        "freed_bytes": report.freed_bytes,
    }


def of_repair(report: RepairReport) -> Document:
    return {
        "job": report.job,
        "leftovers": [
            {
                "what": each.what,
                "fate": each.fate.value,
                "because": each.because,
                "objects": each.objects,
                "bytes": each.size_bytes,
            }
            for each in report.leftovers
        ],
        "unfinished_puts": report.unfinished_puts,
        "freed_bytes": report.freed_bytes,
        "exit_code": report.exit_code,
    }


def of_usage(usage: JobUsage, repository: str) -> Document:
    return {
        "job": usage.job,
        "repository": repository,
        "backups": usage.backups,
        "backup_bytes": usage.backup_bytes,
        "blob_bytes": usage.blob_bytes,
        "wal_bytes": usage.wal_bytes,
        "unfinished_bytes": usage.unfinished_bytes,
        "bytes": usage.size_bytes,
        "objects": usage.objects,
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


def of_status(found: JobStatus, next_run: datetime | None, *, problem: str) -> Document:
    return {
        "job": found.job,
        "newest": of_backup(found.newest.summary) if found.newest else None,
        "age_seconds": round(found.age.total_seconds()) if found.age is not None else None,
        "backups": found.backups,
        "damaged": found.damaged,
        "failures": found.failures,
        "last_run": of_run(found.last_run) if found.last_run else None,
        "skipped_in_a_row": found.skipped_in_a_row,
        "owner": found.owner,
        "next_run": moment(next_run) if next_run else None,
        "problem": problem or None,
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
