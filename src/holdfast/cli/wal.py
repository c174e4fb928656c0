"""`holdfast wal ...`: the WAL of a PostgreSQL server, archived and fetched.

A server starts it once per segment, so each command imports its needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli.command_line import NOT_ARCHIVED
from holdfast.cli.context import (
    Caller,
    JobName,
    JsonOption,
    acting_session_of,
    print_document,
    session_of,
)
from holdfast.cli.parameters import Argument, Group, Option
from holdfast.model.errors import Interrupted
from holdfast.runtime import streams

if TYPE_CHECKING:
    from holdfast.cli.documents import Document
    from holdfast.cli.tables import Column
    from holdfast.model.timelines import ClusterWal, Stretch
    from holdfast.operations.wal.push import Pushed
    from holdfast.runtime.tablespaces import NewTablespaces

commands = Group(
    help="Archive and fetch the WAL of a PostgreSQL server (docs/wal.md).",
)
AT_ONCE = 4
# They are loaded for the first segment, and for a message: the first may come after weeks.
_LATER = (
    "holdfast.pipeline.frame_compressor",
    *(f"holdfast.notifications.{each}" for each in ("ping", "webhook", "apprise")),
)


def _identifier(text: str) -> str:
    """Refuse an impossible identifier, which would look like a cluster without archived WAL."""
    if text and not (text.isascii() and text.isdigit()):
        import typer  # only for a mistake

        raise typer.BadParameter(f"'{text}' is not a system identifier: it must be a number")
    return text


def _place_of_tablespaces(where: str) -> str:
    """Refuse a relative folder while the line is read: nothing else about it is a mistake."""
    if not where or Path(where).is_absolute():
        return where
    from holdfast.runtime.tablespaces import WhenInUse  # only for a word

    if where not in list(WhenInUse):
        import typer  # only for a mistake

        raise typer.BadParameter("name an absolute path")
    return where


Cluster = Annotated[
    str,
    Option(
        "--cluster",
        metavar="ID",
        callback=_identifier,
        help="The system identifier of the cluster. Default: that of the data directory.",
    ),
]
AtOnce = Annotated[
    int,
    Option(min=1, max=64, help="How many files to transfer at a time, this one included."),
]
# Typer must not check the path (`readable=False`): our own error has a code and a hint.
File = Annotated[Path, Argument(metavar="PATH", readable=False, help="The file: %p.")]
Name = Annotated[str, Argument(metavar="NAME", help="The name of the file: %f.")]
Tablespaces = Annotated[
    str,
    Option(
        "--tablespaces",
        metavar="WHERE",
        help="What to do if WAL creates a tablespace in a folder that is in use here. A DIRECTORY"
        " receives all new ones; refuse stops the server; end-before ends the recovery before it.",
        callback=_place_of_tablespaces,
    ),
]
Destination = Annotated[
    Path, Argument(metavar="DESTINATION", readable=False, help="Where to write it: %p.")
]


PUSH_EXAMPLES = """\
# Let the server archive its WAL
psql -c "ALTER SYSTEM SET archive_command = '/usr/local/bin/holdfast wal push shop %p'"

# Archive one segment by hand, in the data directory
holdfast wal push shop pg_wal/000000010000000000000042
"""


@commands.command(examples=PUSH_EXAMPLES)
def push(
    context: Caller,
    job: JobName,
    path: File,
    *,
    at_once: AtOnce = AT_ONCE,
    cluster: Cluster = "",
    identity: Annotated[
        Path | None,
        Option(
            "--identity",
            metavar="FILE",
            readable=False,
            help="The identity that opens encrypted WAL, to replace an unfinished segment.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Archive one file of the WAL; PostgreSQL calls this as archive_command.

    The file is compressed and encrypted like JOB's backups, and stored durably when the exit code
    is 0. The same file again is no error. A different file under the same name is refused (exit
    code 70); nothing is ever overwritten. Other segments that already wait are sent in the same
    call.
    """
    from holdfast.operations.wal.push import push as push_file
    from holdfast.wiring import wal as wiring_wal

    session = acting_session_of(context)
    pushed = push_file(
        wiring_wal.archiving(session.settings, job, chosen=session.chosen_repository),
        path,
        cluster=cluster,
        at_once=at_once,
        identities=session.identities(identity) if identity else None,
    )
    if as_json:
        print_document("wal-push", _of_pushed(pushed))
        # The server acts on the exit code, whether or not the document could be written.
        streams.code_is_the_answer()
        return
    was = "already archived:" if pushed.was_there else "archived"
    ahead = f", and {len(pushed.ahead)} waiting" if pushed.ahead else ""
    session.say(f"{was} {pushed.name}{ahead}")


GET_EXAMPLES = """\
# Let a standby fetch WAL from the archive
psql -c "ALTER SYSTEM SET restore_command = '/usr/local/bin/holdfast wal get shop %f %p'"

# Fetch one segment by hand, outside a data directory
holdfast wal get shop 000000010000000000000042 /tmp/segment --cluster 7301234567890123456
"""


@commands.command(examples=GET_EXAMPLES)
def get(
    context: Caller,
    job: JobName,
    *,
    name: Name,
    destination: Destination,
    at_once: AtOnce = AT_ONCE,
    cluster: Cluster = "",
    identity: Annotated[
        Path | None,
        Option(
            "--identity",
            metavar="FILE",
            readable=False,
            help="The identity that opens encrypted WAL.",
        ),
    ] = None,
    tablespaces: Tablespaces = "",
    # Read in `command_line.code_for_server`, which translates the exit codes of all errors.
    _standby: Annotated[
        bool,
        Option("--standby", help="End with 1 after every error: a standby asks again."),
    ] = False,
) -> None:
    """Fetch one file of the WAL from the archive; PostgreSQL calls this as restore_command.

    Its fingerprint is checked before the file appears. Exit code 1 means that the file is not
    archived, and the server then ends its recovery. If that is not certain (the store is down, a
    file is damaged), the exit code is 150 plus that of the error: the server then stops, instead of
    opening the database without the rest.
    """
    from holdfast.operations.wal.files import cluster_in
    from holdfast.operations.wal.get import Getting, get as get_file
    from holdfast.wiring import wal as wiring_wal

    session = acting_session_of(context)
    archiving = wiring_wal.fetching(session.settings, job, chosen=session.chosen_repository)
    wanted = Getting(
        cluster=cluster or cluster_in(Path()),
        name=name,
        destination=destination,
        spool=wiring_wal.spool(session.settings, job) / "early",
        at_once=at_once,
        identities=session.identities(identity),
        spaces=_spaces(tablespaces),
    )
    if not get_file(archiving, wanted):
        raise SystemExit(NOT_ARCHIVED)


def _spaces(where: str) -> NewTablespaces | None:
    """The option's value for the server that runs us in its data directory."""
    from holdfast.runtime.tablespaces import NewTablespaces, WhenInUse

    if not where:
        return None
    if where in list(WhenInUse):
        return NewTablespaces(data=Path(), otherwise=WhenInUse(where))
    return NewTablespaces(data=Path(), below=Path(where))


RECEIVE_EXAMPLES = """\
# Stream; the slot makes the server keep unsent WAL
holdfast wal receive shop --slot holdfast

# Create that slot first, once
psql -c "SELECT pg_create_physical_replication_slot('holdfast', true)"

# Stream without a slot
holdfast wal receive shop
"""


@commands.command(examples=RECEIVE_EXAMPLES)
def receive(
    context: Caller,
    job: JobName,
    *,
    slot: Annotated[
        str,
        Option(
            metavar="NAME",
            help="A physical replication slot, for which the server keeps unsent WAL.",
        ),
    ] = "",
) -> None:
    """Archive WAL while JOB's server writes it, from any host, until this is stopped.

    pg_receivewal streams it, and every finished segment is stored as by `wal push`. If anything
    fails, the command ends; when it is started again, it continues where it was. Without --slot,
    that works only as long as the server still has the WAL that was written since.
    """
    from holdfast.model.units import counted
    from holdfast.operations.wal.receive import Received, receive as receive_wal
    from holdfast.runtime.preload import LIBRARIES, load_now
    from holdfast.wiring import wal as wiring_wal

    session = acting_session_of(context)
    so_far: list[Received] = []

    def told(received: Received) -> None:
        so_far.append(received)
        session.say(f"receiving the WAL of cluster {received.cluster}")

    load_now(*LIBRARIES, *_LATER)
    stream = wiring_wal.stream(session.settings, job, slot=slot)
    folder = wiring_wal.spool(session.settings, job) / "received"
    try:
        archive = wiring_wal.archiving(session.settings, job, chosen=session.chosen_repository)
        receive_wal(archive, stream, folder, received=told)
    except Interrupted:
        # An interruption is the normal end of this command, not an error.
        for received in so_far:
            newest = f", the newest is {received.newest}" if received.newest else ""
            verb = "was" if received.files == 1 else "were"
            session.say(f"stopped: {counted(received.files, 'file')} {verb} archived{newest}")


LIST_EXAMPLES = """\
# What is archived of 'shop'
holdfast wal list shop

# Only the timelines with gaps
holdfast wal list shop --json | jq '.timelines[] | select(.missing != [])'
"""


@commands.command("list", examples=LIST_EXAMPLES)
def list_wal(context: Caller, job: JobName, *, as_json: JsonOption = False) -> None:
    """List the archived WAL of JOB by timeline, and the segments that are missing in between."""
    from holdfast.cli.tables import Table
    from holdfast.model.units import size
    from holdfast.operations.wal.list import archived
    from holdfast.wiring import wal as wiring_wal

    session = session_of(context)
    found = archived(
        wiring_wal.fetching(session.settings, job, chosen=session.chosen_repository).repositories[
            0
        ],
        job,
    )
    lines: list[dict[str, Any]] = [
        _of_timeline(wal, number) for wal in found for number in wal.timelines
    ]
    if as_json:
        print_document("wal-list", {"job": job, "timelines": lines})
        return
    rows = [
        (
            line["cluster"],
            str(line["timeline"]),
            line["first"] or "",
            line["last"] or "",
            str(line["segments"]),
            size(line["stored_bytes"]),
            ", ".join(_gap(gap) for gap in line["missing"]) or "nothing",
        )
        for line in lines
    ]
    if rows:
        session.show(Table(_columns(), rows))
    else:
        session.say(f"no WAL of '{job}' is archived")


def _columns() -> tuple[Column, ...]:
    from holdfast.cli.tables import key, number, words

    return (
        words("CLUSTER", drop=4),
        number("TIMELINE", drop=3),
        key("FIRST"),
        key("LAST"),
        number("SEGMENTS", drop=1),
        number("STORED", drop=2),
        words("MISSING"),
    )


def _gap(gap: dict[str, Any]) -> str:
    if gap["segments"] == 1:
        return str(gap["first"])
    return f"{gap['first']} to {gap['last']} ({gap['segments']})"


def _of_pushed(pushed: Pushed) -> Document:
    return {
        "file": pushed.name,
        "cluster": pushed.cluster,
        "was_there": pushed.was_there,
        "plain_bytes": pushed.plain_bytes,
        "seconds": pushed.seconds,
        "ahead": list(pushed.ahead),
    }


def _of_timeline(wal: ClusterWal, number: int) -> Document:
    line = wal.timelines[number]
    ends = (min(line.segments), max(line.segments)) if line.segments else ()
    names = [wal.name(number, each) for each in ends]
    return {
        "cluster": wal.cluster,
        "timeline": number,
        "first": names[0] if names else None,
        "last": names[-1] if names else None,
        "segments": len(line.segments),
        "stored_bytes": line.stored_bytes,
        "missing": [_of_gap(wal, gap) for gap in wal.gaps(number)],
        "switches": [{"timeline": each.timeline, "at": each.at} for each in line.switches],
    }


def _of_gap(wal: ClusterWal, gap: Stretch) -> Document:
    return {
        "first": wal.name(gap.timeline, gap.first),
        "last": wal.name(gap.timeline, gap.last),
        "segments": len(gap),
    }
