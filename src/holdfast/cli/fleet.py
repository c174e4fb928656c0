"""`holdfast fleet`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.context import (
    JsonOption,
    Session,
    duration_option,
    end_unseen,
    print_rows,
    session_of,
)
from holdfast.cli.fleet_table import show_fleet
from holdfast.model.errors import ConfigInvalid, JobNeedsAttention
from holdfast.model.units import counted
from holdfast.runtime.clock import now

if TYPE_CHECKING:
    from holdfast.operations.fleet import Fleet

Expect = Annotated[
    Path | None,
    typer.Option(
        "--expect",
        metavar="FILE",
        readable=False,
        help="Hosts and their jobs, as playbooks/fleet.yml writes them: those that never reported"
        " are listed too.",
    ),
]
Repositories = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="NAME",
        help="Read this repository of the configuration. May be repeated. Default: all of them.",
    ),
]
MaxAge = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME",
        parser=duration_option,
        help="How old a newest good backup may be: 26h, 8d. Each job's own overdue_after counts in"
        " any case.",
    ),
]
MaxDrillAge = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME",
        parser=duration_option,
        help="How old a newest good drill may be: 30d. Default: as each drill.schedule allows.",
    ),
]
Forget = Annotated[
    str,
    typer.Option(
        metavar="HOST",
        help="Remove what this host left: it is gone for good. Its backups stay.",
    ),
]

Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        allow_dash=True,
        help="Write one page for a browser, which loads nothing else; - writes it to stdout.",
    ),
]
Serve = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Serve that page until interrupted: 127.0.0.1:8044, [::1]:8044, or a port alone for"
        " this machine only.",
    ),
]
ServeAs = Annotated[
    list[str] | None,
    typer.Option(
        "--serve-as",
        metavar="NAME",
        help="Answer to this host name, too: a browser must ask for an address, for localhost or"
        " for the name of this machine. May be repeated.",
    ),
]
Refresh = Annotated[
    timedelta,
    typer.Option(
        metavar="TIME",
        parser=duration_option,
        help="With --serve: read the repositories at most once in this time.",
    ),
]

EXAMPLES = """\
# For a monitor: exit code 44 if any job of any host needs attention
holdfast fleet --max-age 26h

# List the hosts of the inventory that never reported, too
holdfast fleet --expect /etc/holdfast/fleet.json

# One page for a web server, or to send to a colleague
holdfast fleet --html /var/www/fleet/index.html

# The same page without a web server, for a screen on the wall
holdfast fleet --serve 127.0.0.1:8044 --refresh 60s

# Only what needs attention, for machines
holdfast fleet --json | jq '.jobs[] | select(.why) | {host, job, why}'
"""


def fleet(
    context: typer.Context,
    *,
    expect: Expect = None,
    repository: Repositories = None,
    max_age: MaxAge = None,
    max_drill_age: MaxDrillAge = None,
    forget: Forget = "",
    html: Html = None,
    serve: Serve = "",
    serve_as: ServeAs = None,
    refresh: Refresh = timedelta(seconds=60),
    as_json: JsonOption = False,
) -> None:
    """Show the jobs of all hosts, worst first, from what each host left beside its backups.

    Only the repositories are read, no host is asked. A host is silent once a status is missing that
    its own schedule promised. The exit code is 44 if a job is silent, overdue, failed, damaged or
    not drilled for longer than allowed, or if an expected host never reported.
    """
    from holdfast.model.fleet import Allowed
    from holdfast.operations.fleet import FleetReader, forget as forget_host
    from holdfast.wiring.fleet import fleet_repositories

    if sum(map(bool, (forget, html, serve, as_json))) > 1:
        raise typer.BadParameter("use one of --forget, --html, --serve and --json at a time")
    session = session_of(context)
    stores = fleet_repositories(session.settings, repository or session.repositories(None))
    if forget:
        removed = forget_host(stores, forget)
        session.say(f"{forget}: removed {counted(removed, 'status', 'statuses')}")
        return
    reader = FleetReader(stores, Allowed(age=max_age, drill_age=max_drill_age))

    def read() -> Fleet:
        return reader.read(_expected(expect), now=now())

    if serve:
        from holdfast.cli.fleet_page.command import serve_page

        serve_page(session, read, serve, names=serve_as or (), refresh=refresh, clock=now)
        return
    found = read()
    if len(stores) == 1:
        for error in found.unseen.values():
            raise error
    _show(session, found, html=html, as_json=as_json)
    end_unseen(found.unseen)
    if found.needs_attention:
        raise typer.Exit(JobNeedsAttention.exit_code)


def _show(session: Session, found: Fleet, *, html: Path | None, as_json: bool) -> None:
    if as_json:
        from holdfast.cli.fleet_document import head_of, of_row

        print_rows("fleet", head_of(found), jobs=(of_row(row) for row in found.rows))
    elif html is not None:
        from holdfast.cli.fleet_page.command import write_page

        write_page(session, found, html, at=now())
    else:
        show_fleet(session, found, at=now())
        session.tell_unseen(found.unseen)


def _expected(path: Path | None) -> list[tuple[str, str]]:
    """Pairs of a host and a job; an empty job stands for any. Raises `ConfigInvalid`."""
    from holdfast.model.fleet import SCHEMA, expected_in

    if path is None:
        return []
    try:
        with path.open("rb") as file:
            return expected_in(iter(lambda: file.read(1 << 16), b""))
    except OSError as error:
        cause, hint = error.strerror, "playbooks/fleet.yml writes it from the inventory"
    except ValueError as error:
        cause, hint = str(error), f"it has the schema {SCHEMA}: see docs/fleet.md"
    raise ConfigInvalid(f"cannot read the expected hosts in '{path}': {cause}", hint=hint)
