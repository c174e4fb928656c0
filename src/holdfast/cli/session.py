"""`holdfast session ...`: database sessions that the daemon holds for other processes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.context import (
    JsonOption,
    Session,
    acting_session_of,
    duration_option,
    print_document,
    session_of,
)
from holdfast.cli.tables import Table, key, time_of, words
from holdfast.ports.sessions import HeldKind

if TYPE_CHECKING:
    from holdfast.sessions.client import SessionClient
    from holdfast.sessions.protocol import SessionRecord

commands = typer.Typer(
    name="session",
    help="Hold a backup or a snapshot open for other processes.",
    no_args_is_help=True,
)
TTL = timedelta(hours=6)
COLUMNS = (
    key("SESSION"),
    key("JOB"),
    words("KIND", drop=2),
    words("STATE"),
    words("LEASE UNTIL"),
    words("START", drop=1),
    words("REASON"),
)


SessionId = Annotated[str, typer.Argument(metavar="ID", help="What `begin` printed.")]
Ttl = Annotated[
    timedelta,
    typer.Option(
        "--ttl",
        metavar="TIME",
        parser=duration_option,
        help="How long the session is held without a heartbeat: 90m, 6h.",
        show_default="6h",
    ),
]


@commands.command()
def begin(
    context: typer.Context,
    *,
    job: Annotated[str, typer.Option("--job", metavar="JOB", help="Whose server to ask.")],
    label: Annotated[str, typer.Option(help="A name for the backup, kept in its label.")] = "",
    kind: Annotated[
        HeldKind | None, typer.Option(help="What to hold; by default what the job's engine needs.")
    ] = None,
    database: Annotated[
        str, typer.Option(metavar="NAME", help="Whose snapshot; by default the dsn's own.")
    ] = "",
    fast: Annotated[bool, typer.Option("--fast", help="Checkpoint at once.")] = False,
    ttl: Ttl = TTL,
    as_json: JsonOption = False,
) -> None:
    """Begin a base backup, or export a snapshot, and have it held.

    \b
    holdfast session begin --job shop --fast --json
    holdfast session begin --job shop --kind snapshot --ttl 2h
    """
    session = session_of(context)
    record = _client(session).begin(
        job=job,
        label=label,
        kind=kind,
        database=database,
        fast=fast,
        ttl_seconds=int(ttl.total_seconds()),
    )
    _tell(session, "begun", record, as_json=as_json)


@commands.command()
def join(context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False) -> None:
    """Work under a session that somebody else began; renews its lease."""
    session = acting_session_of(context)
    _tell(session, "joined", _client(session).join(session_id), as_json=as_json)


@commands.command()
def heartbeat(
    context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False
) -> None:
    """Prove that a session still counts, and renew its lease."""
    session = acting_session_of(context)
    _tell(session, "renewed", _client(session).heartbeat(session_id), as_json=as_json)


@commands.command()
def end(context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False) -> None:
    """End a session; of a backup prints backup_label and tablespace_map, which a restore needs."""
    session = session_of(context)
    _tell(session, "ended", _client(session).end(session_id), as_json=as_json)


@commands.command()
def abort(context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False) -> None:
    """Have the server forget a session: what was copied under it is no backup."""
    session = acting_session_of(context)
    _tell(session, "aborted", _client(session).abort(session_id), as_json=as_json)


@commands.command("list")
def list_sessions(
    context: typer.Context,
    *,
    all_states: Annotated[
        bool, typer.Option("--all", help="Also those that are no longer open, with the reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The sessions that are held for you; for an admin, everybody's."""
    from holdfast.sessions.protocol import to_document

    session = session_of(context)
    records = _client(session).listed(all_states=all_states)
    if as_json:
        print_document("session-list", {"sessions": [to_document(each) for each in records]})
        return
    rows = [
        (
            each.session_id,
            each.job,
            each.begun.kind.value,
            each.state.value,
            time_of(each.lease_until),
            each.begun.snapshot or each.begun.start_lsn,
            each.reason,
        )
        for each in records
    ]
    session.show(Table(COLUMNS, rows))


def _client(session: Session) -> SessionClient:
    from holdfast.sessions.client import SessionClient

    return SessionClient(socket_path=session.settings.sessions.socket)


def _tell(session: Session, act: str, record: SessionRecord, *, as_json: bool) -> None:
    from holdfast.sessions.protocol import to_document

    if as_json:
        print_document("session", {"act": act, **to_document(record)})
        return
    start = record.begun.snapshot or record.begun.start_lsn
    session.say(f"{act} {record.session_id}")
    session.say(f"{record.begun.kind.value} {start}, timeline {record.begun.anchor.timeline}")
    if record.is_open:
        session.say(f"held until {time_of(record.lease_until)}, at most {time_of(record.deadline)}")
    ended = record.ended
    if ended.backup_label:
        session.say(f"stop {ended.stop_lsn}\n\nbackup_label:\n{ended.backup_label}")
        if ended.tablespace_map:
            session.say(f"tablespace_map:\n{ended.tablespace_map}")
