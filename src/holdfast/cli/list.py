"""`holdfast list`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from holdfast.catalog.manifest import Failure
from holdfast.catalog.manifest_index import Overview
from holdfast.cli.context import (
    Caller,
    JsonOption,
    Session,
    SomeJob,
    end_unseen,
    print_document,
    session_of,
)
from holdfast.cli.documents import (
    Document,
    moment,
    of_backup,
    of_damaged,
    of_last_drill,
    of_unseen,
)
from holdfast.cli.tables import (
    BACKUP_COLUMNS,
    BAD,
    GOOD,
    WARN,
    Cell,
    Coloured,
    Table,
    backup_cells,
    last_done,
    number,
    words,
)
from holdfast.model.backup import Summary
from holdfast.model.drill import DrillRecord
from holdfast.model.errors import HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import ago, counted, span
from holdfast.operations.verify.proofs import BackupProof, proofs_of
from holdfast.runtime import events
from holdfast.runtime.clock import now

COLUMNS = (
    BACKUP_COLUMNS["BACKUP"],
    words("TAKEN", drop=9),
    number("AGE"),
    *(BACKUP_COLUMNS[name] for name in ("DATABASE", "ROWS", "SIZE", "STORED", "RATIO", "TOOK")),
    words("VERIFIED"),
    words("RESTORED", drop=4),
    words("REPOSITORY", drop=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A backup, its repository and its proof; None if this host's log cannot be read.

    `drill` is the newest drill that brought it back.
    """

    repository: str
    summary: Summary
    proof: BackupProof | None
    drill: DrillRecord | None


EXAMPLES = """\
# All backups of all repositories
holdfast list

# The id of the newest backup of 'shop'
holdfast list shop --json | jq -r '.backups[0].backup'
"""


def list_backups(context: Caller, job: SomeJob = None, *, as_json: JsonOption = False) -> None:
    """List finished backups of JOB, or of all repositories, newest first.

    VERIFIED shows what this host has done, RESTORED also what drills did; other hosts may have done
    more. Failed runs
    and backups with a damaged manifest are marked as such. A repository that cannot be reached does
    not hide the others; the exit code is then that of its error.
    """
    from holdfast.wiring.reading import index_of  # heavy, as in `Session`

    session = session_of(context)
    found, unseen = session.of_each_repository(
        job, lambda name: index_of(session.settings, job or "", chosen=name).overview(job or "")
    )
    held = any(each.summaries or each.damaged or each.failures for each in found.values())
    session.require_known(job, holds_something=held)
    if as_json:
        print_document("list", _document(session, found) | of_unseen(unseen))
    else:
        _show_list(session, found, job or "")
        session.tell_unseen(unseen)
    end_unseen(unseen)


def _show_list(session: Session, overviews: Mapping[str, Overview], job: str) -> None:
    listed = [
        each for name, found in overviews.items() for each in _proven(session, name, found, job=job)
    ]
    listed.sort(key=lambda each: each.summary.snapshot_at, reverse=True)
    if listed:
        session.show(_table(listed, now(), one_repository=len(overviews) == 1))
    elif not any(each.damaged or each.failures for each in overviews.values()):
        session.say("there are no backups yet; make one: holdfast backup JOB")
    for each in listed:
        if each.summary.parent:
            session.say(f"incremental: {each.summary.backup_id} needs {each.summary.parent}")
    for overview in overviews.values():
        for backup_id, why in suspicions_in(session, overview.summaries).items():
            session.say(f"suspicious: {backup_id}: {why}", WARN)
        _tell_bad(session, overview)


def proofs_in(
    session: Session, repository: str, summaries: Sequence[Summary], *, job: str
) -> Mapping[str, BackupProof]:
    """What this host has verified and restored; empty if its log cannot be read."""
    from holdfast.wiring.reading import verification_log

    log = verification_log(session.settings, repository)
    within = session.within(repository)
    try:
        return proofs_of(
            summaries, job, log, manifest_of=lambda backup_id: within.manifest(backup_id, "")
        )
    except HoldfastError as error:
        # A user who may read a repository need not have a state directory.
        events.debug("verification_log_not_used", problem=error.message)
        return {}


def _last_restored(restored_at: datetime | None, drill: DrillRecord | None, at: datetime) -> Cell:
    """How long before `at` it was restored, by this host or by a drill, which measures it too."""
    if drill is None or (restored_at is not None and restored_at > drill.ended):
        return last_done(restored_at, at)
    return Coloured(f"{ago(at - drill.ended)}, in {drill.seconds.restore:.1f} s", GOOD)


def drills_in(
    session: Session, repository: str, summaries: Sequence[Summary]
) -> Mapping[str, DrillRecord]:
    """The newest drill that brought each backup back; empty if no record can be read."""
    from holdfast.wiring.reading import drills_of

    found: dict[str, DrillRecord] = {}
    for job in sorted({each.job for each in summaries}):
        try:
            records = drills_of(session.settings, job, chosen=repository).records
        except HoldfastError as error:
            events.debug("drills_not_read", job=job, problem=error.message)
            continue
        for record in records:
            if record.passed:
                found.setdefault(record.backup, record)
    return found


def suspicions_in(session: Session, summaries: Sequence[Summary]) -> Mapping[str, str]:
    """Why backups are suspicious, by their ids; `summaries` are newest first."""
    found: dict[str, str] = {}
    for job in sorted({each.job for each in summaries}):
        rule = session.settings.suspicion_of(job)
        if rule is not None:
            found |= rule.all_of([each for each in summaries if each.job == job])
    return found


def _proven(session: Session, name: str, overview: Overview, *, job: str) -> Iterable[Listed]:
    proofs = proofs_in(session, name, overview.summaries, job=job)
    drills = drills_in(session, name, overview.summaries)
    for each in overview.summaries:
        yield Listed(
            repository=name,
            summary=each,
            proof=proofs.get(each.backup_id),
            drill=drills.get(each.backup_id),
        )


def _table(listed: Sequence[Listed], at: datetime, *, one_repository: bool) -> Table:
    """With several repositories each row names its own."""
    columns = COLUMNS[:-1] if one_repository else COLUMNS
    return Table(columns, [_row(each, at)[: len(columns)] for each in listed])


def _row(listed: Listed, at: datetime) -> tuple[Cell, ...]:
    cells, summary = backup_cells(listed.summary), listed.summary
    verified, restored = proof_cells(listed.proof, listed.drill, at=at)
    return (
        cells["BACKUP"],
        f"{summary.snapshot_at.astimezone(UTC):%Y-%m-%d %H:%MZ}",
        span(at - summary.snapshot_at),
        *(cells[name] for name in ("DATABASE", "ROWS", "SIZE", "STORED", "RATIO", "TOOK")),
        verified,
        restored,
        listed.repository,
    )


def proof_cells(
    proof: BackupProof | None, drill: DrillRecord | None, *, at: datetime
) -> tuple[Cell, Cell]:
    """VERIFIED and RESTORED of a backup; without `proof` this host's log cannot be read."""
    if proof is None:
        return "unknown", "unknown" if drill is None else _last_restored(None, drill, at)
    verified: Cell = last_done(proof.read_at, at)
    if proof.state == "unknown":
        verified = "unknown"
    elif proof.state == "damaged":
        verified = Coloured("damaged", BAD)
    elif proof.state == "unopened":
        verified = Coloured(f"{verified}, unopened", WARN)
    return verified, _last_restored(proof.restored_at, drill, at)


def _tell_bad(session: Session, overview: Overview) -> None:
    for failed in overview.failures:
        at = failed.relation or failed.part
        where = f" at '{at}'" if at else ""
        parts = counted(failed.parts_kept, "part")
        kept = f" ({parts} kept for --resume)" if failed.parts_kept else ""
        session.say(f"failed: {failed.backup_id}{where}: {failed.error}{kept}", BAD)
    for broken in overview.damaged:
        session.say(f"damaged: {broken.backup_id}: {broken.problem}", BAD)


def _document(session: Session, overviews: Mapping[str, Overview]) -> Document:
    """The contents of several repositories by name, newest first."""
    listed = [(name, each) for name, found in overviews.items() for each in found.summaries]
    listed.sort(key=lambda named: named[1].snapshot_at, reverse=True)
    drills = {name: drills_in(session, name, each.summaries) for name, each in overviews.items()}
    suspicious = {name: suspicions_in(session, each.summaries) for name, each in overviews.items()}
    failures = [each for found in overviews.values() for each in found.failures]
    damaged = tuple(each for found in overviews.values() for each in found.damaged)
    return {
        "backups": [
            {
                **of_backup(each),
                "repository": name,
                "last_drill": of_last_drill(drills[name].get(each.backup_id)),
                "suspicion": suspicious[name].get(each.backup_id),
            }
            for name, each in listed
        ],
        "failed": _of_failures(failures),
        "damaged": of_damaged(damaged),
    }


def _of_failures(failures: Sequence[Failure]) -> list[Document]:
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
