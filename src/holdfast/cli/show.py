"""`holdfast show`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from holdfast.catalog.manifest import as_json as manifest_json
from holdfast.cli.context import (
    BackupId,
    Caller,
    Database,
    JsonOption,
    Session,
    print_document,
    session_of,
)
from holdfast.cli.documents import of_last_drill
from holdfast.cli.list import drills_in, proof_cells, proofs_in
from holdfast.cli.tables import (
    HEAD,
    Table,
    encryption_line,
    number,
    ratio,
    time_of,
    words,
)
from holdfast.model.backup import Manifest, Member, Part, PartKind
from holdfast.model.units import ago, counted, size
from holdfast.runtime.clock import now

TABLES = (
    words("TABLE"),
    number("ROWS", drop=1),
    number("SIZE"),
    number("STORED", drop=2),
    words("PARTS", drop=3),
    words("FINGERPRINT", drop=5),
    words("CONTENT", drop=4),
)
OTHERS = (
    words("PART"),
    words("KIND", drop=1),
    number("SIZE"),
    number("STORED", drop=2),
    words("FINGERPRINT", drop=3),
)
SHOWN_OF_HASH = 8


EXAMPLES = """\
# The newest backup of 'shop'
holdfast show shop/latest

# Its parts, with their rows and fingerprints
holdfast show shop/latest --json | jq '.manifest.parts[] | {name, rows, stored_fingerprint}'
"""


def show(
    context: Caller,
    backup_id: BackupId,
    *,
    database: Database = "",
    as_json: JsonOption = False,
) -> None:
    """Show one backup: its server, its moment and the proof of it, its tables, and what it cost."""
    session = session_of(context)
    manifest = session.manifest(backup_id, database)
    if as_json:
        (repository,) = session.repositories(manifest.job)
        drills = drills_in(session, repository, [manifest.summary])
        last = of_last_drill(drills.get(manifest.backup_id))
        print_document("show", {"manifest": manifest_json(manifest), "last_drill": last})
        return
    session.tell(_head(manifest))
    _section(session, "Moment and proof", _proof(session, manifest))
    _show_parts(session, manifest)
    _section(session, "Cost", _cost(manifest))
    if manifest.tools:
        _section(session, "Programs", list(manifest.tools.items()))
    if manifest.notes:
        _section(session, "Notes", [("note", each) for each in manifest.notes])


def _section(session: Session, title: str, facts: Sequence[tuple[str, str]]) -> None:
    session.say("")
    session.say(title, HEAD)
    session.tell(facts)


def _head(manifest: Manifest) -> list[tuple[str, str]]:
    server = manifest.server
    return [
        ("backup", manifest.backup_id),
        ("database", f"{server.database} on {server.kind} {server.version}, host {manifest.host}"),
        ("engine", manifest.engine),
        ("encryption", encryption_line(manifest.recipients)),
        ("run", manifest.run_id),
    ]


def _proof(session: Session, manifest: Manifest) -> list[tuple[str, str]]:
    at = now()
    (repository,) = session.repositories(manifest.job)
    proof = proofs_in(session, repository, [manifest.summary], job=manifest.job).get(
        manifest.backup_id
    )
    drill = drills_in(session, repository, [manifest.summary]).get(manifest.backup_id)
    verified, restored = proof_cells(proof, drill, at=at)
    taken = f"{time_of(manifest.snapshot_at)} ({ago(at - manifest.snapshot_at)})"
    return [
        ("consistency", f"{manifest.consistency} at {taken}"),
        *((key.replace("_", " "), value) for key, value in manifest.proof.texts().items() if value),
        ("verified", f"{verified} (by this host)"),
        ("restored", f"{restored} ({f'drill {drill.name}' if drill else 'by this host'})"),
    ]


def _show_parts(session: Session, manifest: Manifest) -> None:
    tables, others = list(_tables(manifest)), list(_others(manifest))
    for title, table in (
        (counted(len(tables), "table"), Table(TABLES, tables)),
        (counted(len(others), "other part"), Table(OTHERS, others)),
    ):
        if table.rows:
            session.say("")
            session.say(title, HEAD)
            session.show(table)


def _tables(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    """One row per table, also if it was read in ranges.

    The tables of a pack get rows too, since each can be restored by its name.
    """
    # By texts: to hash a relation, its class would be compiled.
    whole: defaultdict[tuple[str, str], list[Part]] = defaultdict(list)
    for part in manifest.parts:
        if part.kind is PartKind.DATA and part.relation and not part.members:
            whole[part.relation.schema, part.relation.name].append(part)
    for parts in whole.values():
        yield (
            str(parts[0].relation),
            str(sum(each.rows or 0 for each in parts)),
            size(sum(each.plain_bytes for each in parts)),
            size(sum(each.stored_bytes for each in parts)),
            str(len(parts)),
            _beginning(parts[0]) if len(parts) == 1 else "",
            _content(parts),
        )
    for part in manifest.parts:
        for each in part.members:
            name, plain = str(each.relation), size(each.plain_bytes)
            yield name, str(each.rows), plain, "", f"in {part.name}", "", _content([each])


def _beginning(part: Part) -> str:
    """The beginning of the stored fingerprint, with its algorithm."""
    algorithm, colon, digits = part.stored_fingerprint.partition(":")
    return f"{algorithm}{colon}{digits[:SHOWN_OF_HASH]}"


def _content(pieces: Sequence[Part | Member]) -> str:
    """Whether the server computed a checksum, so that a restore proves more than the row count."""
    return "checksum" if all(each.checksum for each in pieces) else ""


def _others(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    for part in manifest.parts:
        if part.kind is PartKind.DATA and part.relation and not part.members:
            continue
        name = part.name if part.members else str(part.relation or part.name)
        held = f" ({counted(len(part.members), 'table')})" if part.members else ""
        yield (
            f"{name}{held}",
            part.kind.value,
            size(part.plain_bytes),
            size(part.stored_bytes),
            _beginning(part),
        )


def _cost(manifest: Manifest) -> list[tuple[str, str]]:
    measured = dict(manifest.metrics)

    def rate(name: str) -> str:
        found = measured.pop(name, None)
        return "" if found is None else f" at {size(round(found))}/s"

    def some(name: str, told: str) -> str:
        found = measured.pop(name, 0)
        return told.format(f"{found:g}") if found else ""

    smaller = f"{ratio(manifest.summary):.2f} times smaller"
    seconds = f"{manifest.seconds:.1f} s with {counted(manifest.workers, 'worker')}"
    paused = some("paused_seconds", ", paused for {} s")
    cpu = f"{measured.pop('cpu_seconds', 0):g} s{some('cpu_percent', ', {} % of one')}"
    trouble = [
        some("recoveries", "recovered {} times"),
        some("refused_tasks", "{} tasks refused by the kernel"),
    ]
    for said in ("seconds", "compression_ratio"):
        measured.pop(said, None)
    facts = [
        ("took", f"{seconds}{paused}"),
        ("read", f"{size(manifest.plain_bytes)}{rate('read_bytes_per_second')}"),
        (
            "stored",
            f"{size(manifest.stored_bytes)}{rate('written_bytes_per_second')}, {smaller}",
        ),
        ("processor", cpu),
        ("memory", f"at most {size(manifest.peak_memory_bytes)}"),
        ("trouble", ", ".join(filter(None, trouble))),
    ]
    facts += [(key.replace("_", " "), f"{value:g}") for key, value in measured.items() if value]
    return [(key, value) for key, value in facts if value]
