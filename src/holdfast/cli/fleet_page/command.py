"""`holdfast fleet --html` and `--serve`; only these two need what the page is made with."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import typer

from holdfast.cli.context import Session
from holdfast.cli.fleet_page.render import page
from holdfast.cli.fleet_page.server import Address, PageServer
from holdfast.cli.fleet_page.state import FleetState
from holdfast.cli.fleet_page.view import PageView
from holdfast.cli.fleet_table import conclude
from holdfast.model.errors import ConfigInvalid
from holdfast.operations.fleet import Fleet
from holdfast.runtime import preload, streams
from holdfast.runtime.files import whole_file, write_all

STDOUT = Path("-")
# A web server, as another user, reads the page.
PAGE_FILE = 0o644


def write_page(session: Session, found: Fleet, path: Path, *, at: datetime) -> None:
    """Write the page, whole or not at all."""
    pieces = page(PageView(fleet=found, at=at))
    if path == STDOUT:
        streams.output_is_the_answer()
        sys.stdout.flush()
        sys.stdout.buffer.writelines(pieces)
        return
    _require_file(path)
    try:
        with whole_file(path, mode=PAGE_FILE) as descriptor:
            for piece in pieces:
                write_all(descriptor, piece)
    except OSError as error:
        raise ConfigInvalid(
            f"cannot write the page '{path}': {error.strerror}",
            hint="its folder must exist, be writable and have room",
        ) from error
    conclude(session, found)
    session.tell_unseen(found.unseen)


def _require_file(path: Path) -> None:
    """Raise `ConfigInvalid` for what must not be replaced: /dev/null, a link, a folder."""
    try:
        found = path.lstat()
    except OSError:
        # It is missing, or the attempt to write says what is wrong.
        return
    if not stat.S_ISREG(found.st_mode):
        raise ConfigInvalid(
            f"cannot write the page '{path}': it exists and is no regular file",
            hint="name a file, no link, folder or device; --html - writes to stdout",
        )


def serve_page(
    session: Session,
    read: Callable[[], Fleet],
    address: str,
    *,
    names: Sequence[str],
    refresh: timedelta,
    clock: Callable[[], datetime],
) -> None:
    """Serve the page until interrupted."""
    try:
        where = Address.parse(address)
    except ValueError as error:
        raise typer.BadParameter(f"--serve: {error}") from error
    preload.load_now(*preload.LIBRARIES)
    state = FleetState(read, refresh=refresh, clock=clock)
    with PageServer(where, state, names=names) as server:
        state.begin()
        if not where.is_loopback:
            session.say(
                "warning: everybody who reaches this address sees the names and errors of all jobs;"
                " there is no login and no TLS"
            )
        session.say(f"serving {server.url}, until interrupted")
        sys.stdout.flush()
        server.serve_forever()
