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
from holdfast.cli.parameters import Group
from holdfast.cli.tables import Table, key, time_of, words
from holdfast.ports.sessions import HeldKind

if TYPE_CHECKING:
    from holdfast.sessions.client import SessionClient
    from holdfast.sessions.protocol import SessionRecord

commands = Group(
    help="Hold a base backup or a snapshot open for other processes.",
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


SessionId = Annotated[str, typer.Argument(metavar="ID", help="The id that `begin` printed.")]
Ttl = Annotated[
    timedelta,
    typer.Option(
        "--ttl",
        metavar="TIME",
        parser=duration_option,
        help="How long the session is held without a heartbeat: 90m, 6h. Default: 6h.",
        show_default=False,
    ),
]


BEGIN_EXAMPLES = """\
# What the job's method needs, after a checkpoint at once
holdfast session begin --job shop --fast --json

# A snapshot, held for two hours
holdfast session begin --job shop --kind snapshot --ttl 2h
"""


@commands.command(examples=BEGIN_EXAMPLES)
def begin(
    context: typer.Context,
    *,
    job: Annotated[
        str, typer.Option("--job", metavar="JOB", help="The job whose server holds the session.")
    ],
    label: Annotated[str, typer.Option(help="The name of the backup in backup_label.")] = "",
    kind: Annotated[
        HeldKind | None, typer.Option(help="What to hold. Default: what the job's method needs.")
    ] = None,
    database: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The database of the snapshot. Default: that of the dsn."
        ),
    ] = "",
    fast: Annotated[
        bool, typer.Option("--fast", help="Make the server checkpoint at once.")
    ] = False,
    ttl: Ttl = TTL,
    as_json: JsonOption = False,
) -> None:
    """Begin a base backup or export a snapshot, which the session daemon then holds open."""
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


JOIN_EXAMPLES = """\
# Work under this session
holdfast session join c6a839956c1a5ab0079eadcb4a05ccf7

# The same; print only the exported snapshot, for SET TRANSACTION SNAPSHOT
holdfast session join c6a839956c1a5ab0079eadcb4a05ccf7 --json | jq -r .snapshot
"""


@commands.command(examples=JOIN_EXAMPLES)
def join(context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False) -> None:
    """Join a session that somebody else began, and renew its lease."""
    session = acting_session_of(context)
    _tell(session, "joined", _client(session).join(session_id), as_json=as_json)


HEARTBEAT_EXAMPLES = """\
# Renew the lease during a long copy
holdfast session heartbeat c6a839956c1a5ab0079eadcb4a05ccf7

# The same; print how long it is held now
holdfast session heartbeat c6a839956c1a5ab0079eadcb4a05ccf7 --json | jq -r .lease_until
"""


@commands.command(examples=HEARTBEAT_EXAMPLES)
def heartbeat(
    context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False
) -> None:
    """Check that a session is still valid, and renew its lease."""
    session = acting_session_of(context)
    _tell(session, "renewed", _client(session).heartbeat(session_id), as_json=as_json)


END_EXAMPLES = """\
# End the backup, and print what belongs beside the copy
holdfast session end c6a839956c1a5ab0079eadcb4a05ccf7

# The same; write the label to a file
holdfast session end c6a839956c1a5ab0079eadcb4a05ccf7 --json | jq -r .backup_label > backup_label
"""


@commands.command(examples=END_EXAMPLES)
def end(context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False) -> None:
    """End a session.

    For a base backup, this prints backup_label and tablespace_map, which a restore needs.
    """
    session = session_of(context)
    _tell(session, "ended", _client(session).end(session_id), as_json=as_json)


ABORT_EXAMPLES = """\
# Give up a copy
holdfast session abort c6a839956c1a5ab0079eadcb4a05ccf7

# The same; print the session as JSON
holdfast session abort c6a839956c1a5ab0079eadcb4a05ccf7 --json
"""


@commands.command(examples=ABORT_EXAMPLES)
def abort(context: typer.Context, session_id: SessionId, *, as_json: JsonOption = False) -> None:
    """End a session on the server and discard it: a copy made under it is no backup."""
    session = acting_session_of(context)
    _tell(session, "aborted", _client(session).abort(session_id), as_json=as_json)


LIST_EXAMPLES = """\
# The open sessions
holdfast session list

# Also those that ended, and why
holdfast session list --all
"""


@commands.command("list", examples=LIST_EXAMPLES)
def list_sessions(
    context: typer.Context,
    *,
    all_states: Annotated[
        bool,
        typer.Option("--all", help="Also list sessions that are no longer open, with the reason."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the sessions that are held for you; for an admin, those of all users."""
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
