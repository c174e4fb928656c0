"""The program: reads the settings, and serves a socket of systemd or its own until a signal."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import secrets
import selectors
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.config.load import load
from holdfast.config.settings import Settings
from holdfast.daemon.listener import Listener
from holdfast.daemon.peer_auth import PeerAuthority, group_id
from holdfast.daemon.session_manager import SessionManager
from holdfast.daemon.session_store import JobSessions, SessionLimits, SessionStore
from holdfast.model.errors import ConfigInvalid, HoldfastError
from holdfast.runtime import clock, events, preload, streams
from holdfast.runtime.cleanup import afterwards
from holdfast.wiring.repositories import job_settings
from holdfast.wiring.sources import sessions_of

FIRST_DESCRIPTOR = 3
BACKLOG = 64
# What is first needed for a session.
LATER = ("holdfast.sources.postgres.files.session_holder",)


def inherited_socket(environment: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that systemd passes, or None without socket activation.

    Raises `ConfigInvalid` unless it passes exactly one.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    if environment.get("LISTEN_FDS") != "1":
        raise ConfigInvalid(
            f"cannot serve on {environment.get('LISTEN_FDS')} sockets: exactly one is expected",
            hint="holdfast-sessiond.socket must have one ListenStream",
        )
    # A child process must not inherit the socket.
    fcntl.fcntl(FIRST_DESCRIPTOR, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return socket.socket(fileno=FIRST_DESCRIPTOR)


def own_socket(path: Path, *, group: int | None) -> socket.socket:
    """Listen on `path`, open to our user and `group`; the socket of a dead daemon is replaced.

    Raises `ConfigInvalid` if another daemon answers there or the path cannot be used.
    """
    try:
        _remove_dead(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody may connect before owner and mode are right.
        before = os.umask(0o177)
        with afterwards(os.umask, before):
            listening.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listening.listen(BACKLOG)
    except OSError as error:
        raise ConfigInvalid(
            f"cannot listen on '{path}': {os.strerror(error.errno or 0)}",
            hint="check `sessions.socket` in the configuration, and whether another daemon is"
            " running",
        ) from error
    return listening


def _remove_dead(path: Path) -> None:
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        answer = trial.connect_ex(str(path))
    if answer == 0:
        raise OSError(errno.EADDRINUSE, "another process listens there")
    path.unlink()


class Systemd:
    """Reports to systemd over `NOTIFY_SOCKET`; does nothing if there is none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        wanted = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_seconds = int(wanted) / 1e6 if wanted.isdigit() and ours else None

    @property
    def heartbeat_seconds(self) -> float | None:
        """How often to report: a third of the watchdog's limit; None without a watchdog."""
        return self._watchdog_seconds / 3 if self._watchdog_seconds else None

    def tell(self, *words: str) -> None:
        """Send `READY=1`, `WATCHDOG=1`, `STOPPING=1` or `STATUS=...`; ignores failures."""
        if not self._address:
            return
        # An abstract name begins with @ in the environment and with NUL in the kernel.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, suppress(OSError):
            connection.sendto("\n".join(words).encode(), address)


CONFIG = Path("/etc/holdfast/holdfast.yaml")
CATALOGUE = "sessions.sqlite"
# The longest time until a restarted server or an expired lease is noticed.
ROUND_SECONDS = 5.0


def main() -> None:
    """Serve until SIGTERM or SIGINT; a `HoldfastError` ends the program with its exit code."""
    streams.guard()
    os.umask(0o077)
    arguments = _arguments(sys.argv[1:])
    events.set_up(events.LogFormat.AUTO, verbose=arguments.verbose)
    try:
        _run(arguments.config, arguments.round_seconds)
    except HoldfastError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        sys.exit(error.exit_code)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="holdfast-sessiond",
        description="Holds database sessions for `holdfast session` (docs/sessions.md).",
    )
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE")
    parser.add_argument(
        "--round-seconds", type=float, default=ROUND_SECONDS, help="time between two checks"
    )
    parser.add_argument("--verbose", "-v", action="store_true")
    return parser.parse_args(argv)


def _run(config: Path, round_seconds: float) -> None:
    settings = load(config)
    preload.load_now(*LATER)
    sessions = settings.sessions
    group = group_id(sessions.group)
    authority = PeerAuthority(
        own_uid=os.geteuid(), group=group, admin_group=group_id(sessions.admin_group)
    )
    listening = inherited_socket(os.environ) or own_socket(sessions.socket, group=group)
    store = SessionStore(settings.state_directory / CATALOGUE)
    manager = SessionManager(
        store=store,
        authority=authority,
        sessions_of=lambda job: _sessions_of(load(config), job),
        limits=SessionLimits(per_server=sessions.per_server, longest=sessions.longest),
        clock=clock.now,
        new_id=lambda: secrets.token_hex(16),
    )
    manager.recover()
    supervisor = Systemd(os.environ)
    with listening:
        listener = Listener(manager, authority)
        _serve(listener, listening, supervisor, look=manager.round, round_seconds=round_seconds)
    manager.stop()
    store.close()


def _sessions_of(settings: Settings, job: str) -> JobSessions:
    holder, kind = sessions_of(job_settings(settings, job), job)
    return JobSessions(holder=holder, kind=kind)


def _serve(
    listener: Listener,
    listening: socket.socket,
    supervisor: Systemd,
    *,
    look: Callable[[], object],
    round_seconds: float,
) -> None:
    """Accept connections and start rounds until a signal comes.

    All slow work is in other threads, so a watchdog timeout means a bug.
    """
    listening.settimeout(0)
    woken = _wake_on_signals()
    pause = min(round_seconds, supervisor.heartbeat_seconds or round_seconds)
    next_round = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        supervisor.tell("READY=1")
        events.info("sessiond_ready")
        while True:
            ready = {key.fileobj for key, _ in selector.select(pause)}
            if woken in ready:
                break
            if listening in ready:
                listener.accept(listening)
            if time.monotonic() >= next_round:
                look()
                next_round = time.monotonic() + round_seconds
            supervisor.tell("WATCHDOG=1")
    supervisor.tell("STOPPING=1")
    events.info("sessiond_stopping")


def _wake_on_signals() -> socket.socket:
    """A socket that becomes readable on SIGTERM or SIGINT."""
    woken, waking = socket.socketpair()
    waking.settimeout(0)
    signal.set_wakeup_fd(waking.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _only_wake)
    return woken


def _only_wake(_number: int, _frame: object) -> None:
    """Does nothing: Python has already written a byte to the wake-up socket."""
