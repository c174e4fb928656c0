"""The server's own command-line client, fed with scripts; it parses them at the speed of C."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from holdfast.model.errors import ToolMissing
from holdfast.model.restore import Proven
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.mysql.server.connection import Address

CLIENTS = ("mariadb", "mysql")
PACKAGES = "mariadb-client or default-mysql-client"


class Stopped(Exception):
    """The restore is over because of another script; this one did not fail by itself."""


def find_client() -> str:
    """The path of a client; raises `ToolMissing`."""
    for name in CLIENTS:
        if path := shutil.which(name):
            return path
    raise ToolMissing(f"cannot run '{CLIENTS[0]}': it is not installed", hint=f"install {PACKAGES}")


class Clients:
    """Clients at work on one database; all of them can be ended at once.

    Each begins with the statement `preparation`: what a session of ours was prepared with.
    """

    def __init__(self, address: Address, *, preparation: str) -> None:
        self._address = address
        self._preparation = preparation
        self._program = find_client()
        self._running: set[Child] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, script: Proven) -> None:
        """Carry out `script` to its end; raises `ChildFailed`, or `Stopped` after `stop`."""
        with login_file(self._address, more={"init-command": self._preparation}) as descriptor:
            argv = _command(self._program, descriptor, self._address)
            client = running(argv, stdin=True, stdout=False, pass_fds=(descriptor,))
            with client as child, self._listed(child):
                self._feed(child, script)

    def stop(self) -> None:
        """End every client, and let none begin; from any thread."""
        with self._lock:
            self._stopped = True
            children = list(self._running)
        for child in children:
            child.end()

    @contextmanager
    def _listed(self, child: Child) -> Iterator[None]:
        with self._lock:
            if self._stopped:
                raise Stopped
            self._running.add(child)
        with afterwards(self._unlist, child):
            yield

    def _unlist(self, child: Child) -> None:
        with self._lock:
            self._running.discard(child)

    def _feed(self, child: Child, script: Proven) -> None:
        try:
            child.feed(script)
            child.finish()
        except ChildFailed:
            if self._stopped:
                raise Stopped from None
            raise


def _command(program: str, descriptor: int, address: Address) -> list[str]:
    return [
        program,
        # First by the client's own rule; nothing of the host's files is read besides.
        f"--defaults-file=/dev/fd/{descriptor}",
        f"--database={address.database}",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        # Of the client's own commands only those for a delimiter and a character set are left:
        # none that runs a program, or reads or writes a file.
        "--binary-mode",
        # Else the server, or whoever wrote the script, could ask for any file of this host.
        "--local-infile=0",
        "--comments",
        "--batch",
        "--skip-reconnect",
    ]


@contextmanager
def login_file(address: Address, *, more: Mapping[str, str] | None = None) -> Iterator[int]:
    """An option file in memory, by its descriptor, that only this process and its children read.

    It holds the login, and `more` options in its stead or beside it.
    """
    descriptor = os.memfd_create("holdfast-login")
    with afterwards(os.close, descriptor):
        # The client ignores a file that anybody may write to.
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, login_options(address, more=more).encode())
        yield descriptor


def login_options(address: Address, *, more: Mapping[str, str] | None = None) -> str:
    """An option file for a client."""
    options = {"user": address.user, "password": address.password}
    if address.unix_socket:
        options |= {"protocol": "socket", "socket": address.unix_socket}
    else:
        options |= {"protocol": "tcp", "host": address.host, "port": str(address.port)}
    if address.ssl_ca:
        options["ssl-ca"] = address.ssl_ca
    else:
        # As our own sessions do: encrypted where offered, proven only where a CA is given.
        options["loose-ssl-verify-server-cert"] = "0"
    options |= more or {}
    lines = [f'{name}="{_escaped(value)}"' for name, value in options.items()]
    # Read by the client of MariaDB alone, and known to it since May 2024: the same once more.
    return "\n".join(["[client]", *lines, "[mariadb-client]", "loose-sandbox", ""])


def _escaped(value: str) -> str:
    for plain, written in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(plain, written)
    return value
