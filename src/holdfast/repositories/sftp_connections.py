"""Connections to one SSH server with a known key, and channels that are used repeatedly."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import timedelta
from pathlib import Path

import paramiko
from paramiko.sftp import SFTPError

from holdfast.model.errors import HoldfastError, RepositoryRefused, RepositoryUnreachable
from holdfast.model.lazy_dataclass import dataclass
from holdfast.repositories.known_hosts import HostUntrusted, KnownKeys, keys_in_file, keys_listed
from holdfast.repositories.sftp_session import FSYNC, SftpSession
from holdfast.runtime import events
from holdfast.runtime.cleanup import noted_on

CONNECT_SECONDS = 15.0
KEEPALIVE_SECONDS = 30
# OpenSSH lets ten channels share a connection by default; we stay below that.
CHANNELS_A_CONNECTION = 8
# Errors are raised: without a handler, paramiko would also print tracebacks to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
_CUT = (
    "Authentication failed: transport shut down or saw EOF",
    "Authentication timeout.",
)
# After one of these errors a connection is of no use.
BROKEN = (EOFError, SFTPError, paramiko.SSHException, TimeoutError, ConnectionError)
_KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshLogin:
    """The server, the user and the secrets of a login; `host_keys` or `known_hosts` verify the key.

    `host_keys` are lines as `ssh-keyscan` prints them, without the name. Either `private_key`,
    the content of an OpenSSH key, or `password` is given.
    """

    host: str
    port: int
    user: str
    host_keys: tuple[str, ...] = ()
    known_hosts: Path | None = None
    private_key: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    timeout: timedelta = timedelta(minutes=2)

    @property
    def server(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


@dataclass
class _Connection:
    client: paramiko.SSHClient
    channels: int = 0
    most_channels: int = CHANNELS_A_CONNECTION

    @property
    def is_alive(self) -> bool:
        transport = self.client.get_transport()
        return transport is not None and transport.is_active()

    @property
    def is_shared(self) -> bool:
        return self.is_alive and self.channels > 1


class _ChannelRefused(Exception):
    """The connection is fine, and the server lets no more channels share it."""


class SshConnections:
    """Channels for any number of threads; each belongs to one thread until it is returned."""

    def __init__(self, login: SshLogin) -> None:
        self._login = login
        self._lock = threading.Lock()
        self._idle: list[tuple[_Connection, SftpSession]] = []
        self._connections: list[_Connection] = []
        self._warned = False

    @contextmanager
    def session(self) -> Iterator[SftpSession]:
        """A channel; after an error of the connection it is closed, and the next one is new.

        Raises `RepositoryRefused`, `RepositoryUnreachable`.
        """
        connection, session = self._taken()
        try:
            yield session
        except BROKEN as error:
            with noted_on(error):
                self._drop(connection)
            raise self._unreachable(error) from error
        except BaseException as error:
            # An answer may still be on its way, and must not reach another thread.
            with noted_on(error):
                self._close(connection, session)
            raise
        if session.is_busy:
            self._close(connection, session)
            return
        with self._lock:
            self._idle.append((connection, session))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Translates errors of the connection for a caller that reads from a channel over time."""
        try:
            yield
        except BROKEN as error:
            raise self._unreachable(error) from error

    def _taken(self) -> tuple[_Connection, SftpSession]:
        with self._lock:
            while self._idle:
                connection, session = self._idle.pop()
                if connection.is_alive:
                    return connection, session
            self._connections = [each for each in self._connections if each.is_alive]
            free = [each for each in self._connections if each.channels < each.most_channels]
            connection = free[0] if free else self._connected()
            connection.channels += 1
        try:
            return connection, self._opened(connection)
        except _ChannelRefused:
            # This server lets fewer channels share a connection: open another connection.
            with self._lock:
                connection.channels -= 1
                connection.most_channels = connection.channels
            return self._taken()
        except HoldfastError as error:
            with noted_on(error):
                self._drop(connection)
            raise

    def _opened(self, connection: _Connection) -> SftpSession:
        transport = connection.client.get_transport()
        try:
            opened: SftpSession | None = transport and SftpSession.from_transport(transport)
        except (EOFError, OSError, SFTPError, paramiko.SSHException) as error:
            # Of several threads, paramiko raises the refusal's own class in only one.
            if isinstance(error, paramiko.SSHException) and connection.is_shared:
                raise _ChannelRefused from error
            raise self._unreachable(error) from error
        if opened is None:
            raise self._unreachable("the connection is closed")
        opened.get_channel().settimeout(self._login.timeout.total_seconds())
        if FSYNC not in opened.extensions and not self._warned:
            self._warned = True
            events.warning("fsync_not_supported", server=self._login.server)
        return opened

    def _connected(self) -> _Connection:
        client = paramiko.SSHClient()
        login = self._login
        with self._refusals_told():
            known = self._known_keys()
            known.require_some()
            # The client itself knows no keys, so that it asks the policy about every key.
            client.set_missing_host_key_policy(_OnlyKnown(known))
            client.connect(
                login.host,
                port=login.port,
                username=login.user,
                pkey=_private_key(login),
                password=login.password or None,
                allow_agent=False,
                look_for_keys=False,
                timeout=CONNECT_SECONDS,
                banner_timeout=CONNECT_SECONDS,
                auth_timeout=CONNECT_SECONDS,
                disabled_algorithms={"keys": _others(known.algorithms)},
            )
        transport = client.get_transport()
        if transport:
            transport.set_keepalive(KEEPALIVE_SECONDS)
            # Nagle's algorithm would delay each small request until the last is acknowledged.
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # If the server falls silent, paramiko would wait an hour for a new channel.
            transport.channel_timeout = login.timeout.total_seconds()
        connection = _Connection(client)
        self._connections.append(connection)
        return connection

    @contextmanager
    def _refusals_told(self) -> Iterator[None]:
        """Translates the errors of a login: who is to blame, and what to do."""
        login = self._login
        try:
            yield
        except HostUntrusted as error:
            raise self._refused(error.cause, hint=error.hint) from error
        except paramiko.AuthenticationException as error:
            # A cut connection has the same class as a refused key.
            if str(error) in _CUT:
                raise self._unreachable(error) from error
            raise self._refused(
                "the server refused the login",
                hint=f"put the public key into authorized_keys of '{login.user}' there",
            ) from error
        except paramiko.SSHException as error:
            if "no acceptable host key" in str(error):
                known = self._known_keys()
                raise self._refused(
                    f"the server has no key of a known type: {', '.join(known.kinds)}",
                    hint=f"check another of its keys, then list it too: {known.asked}",
                ) from error
            raise self._unreachable(error) from error
        except (EOFError, OSError) as error:
            raise self._unreachable(error) from error

    def _known_keys(self) -> KnownKeys:
        """The known keys, read for each connection, so that a newly revoked key is refused."""
        login = self._login
        if login.known_hosts is None:
            return keys_listed(login.host_keys, login.host, login.port)
        try:
            return keys_in_file(login.known_hosts, login.host, login.port)
        except OSError as error:
            cause = os.strerror(error.errno or 0)
            raise self._refused(
                f"known_hosts '{login.known_hosts}' cannot be read: {cause}",
                hint="known_hosts must name a file that the user who runs holdfast can read",
            ) from error

    def _drop(self, connection: _Connection) -> None:
        """Close a connection that failed, so that it gives no more channels."""
        with self._lock:
            self._idle = [each for each in self._idle if each[0] is not connection]
            if connection in self._connections:
                self._connections.remove(connection)
        connection.client.close()

    def _close(self, connection: _Connection, session: SftpSession) -> None:
        with self._lock:
            connection.channels -= 1
        with suppress(EOFError, OSError, paramiko.SSHException):
            session.close()

    def _unreachable(self, error: object) -> RepositoryUnreachable:
        cause = str(error) or type(error).__name__
        return RepositoryUnreachable(
            f"cannot talk to '{self._login.server}': {cause}",
            hint="check the host, and whether its SSH server answers",
        )

    def _refused(self, cause: str, *, hint: str) -> RepositoryRefused:
        return RepositoryRefused(f"cannot log in to '{self._login.server}': {cause}", hint=hint)


class _OnlyKnown(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko has no types
    """Checks every key that a server has proven to own, before the login is sent."""

    def __init__(self, known: KnownKeys) -> None:
        self._known = known

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002 - as paramiko calls it
        self._known.require(key.asbytes())


def _others(algorithms: Collection[str]) -> list[str]:
    """The algorithms to disable: the server must not choose a kind of key that is not known."""
    return [each for each in paramiko.Transport._preferred_keys if each not in algorithms]  # noqa: SLF001 - the list has no public name, and what it lacks is not offered anyway


def _private_key(login: SshLogin) -> paramiko.PKey | None:
    if not login.private_key:
        return None
    passphrase = login.passphrase or None
    for kind in _KEY_KINDS:
        with suppress(paramiko.SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(login.private_key), passphrase)
    raise RepositoryRefused(
        f"cannot log in to '{login.server}': the private key cannot be used",
        hint="it must be an Ed25519, ECDSA or RSA key in OpenSSH's format, with its passphrase",
    )
