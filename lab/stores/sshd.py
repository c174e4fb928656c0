"""A real OpenSSH server on loopback that serves SFTP to the user who started it."""

import getpass
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import command
from lab.errors import CommandFailed
from lab.machine import install, missing
from lab.waiting import wait_until

PACKAGES = {"openssh-server": ["/usr/sbin/sshd"], "openssh-client": ["/usr/bin/ssh-keygen"]}
PROGRAM = "/usr/sbin/sshd"
START_SECONDS = 60.0
KEYS = {
    "host_key": "ed25519",
    "host_key_rsa": "rsa",
    "client_key": "ed25519",
    "writer_key": "ed25519",
}
# As root, sshd requires an empty folder for its unprivileged process.
SEPARATION = Path("/run/sshd")
CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
HostKey {folder}/host_key_rsa
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
MaxStartups 200
MaxSessions {channels}
Subsystem sftp internal-sftp
"""


# The SFTP requests that an append-only login may not make.
REMOVALS = "remove,rmdir,posix-rename"


@dataclass(frozen=True)
class SftpServer:
    """The server's port, host keys and login keys, all without a passphrase.

    A login with `writer_key` cannot remove anything.
    """

    port: int
    user: str
    host_key: str
    host_key_rsa: str
    private_key: Path
    writer_key: Path
    pid: int


@contextmanager
def sftp_server(folder: Path, *, channels: int = 10) -> Iterator[SftpServer]:
    """Start sshd with its files in `folder`; it and all its sessions end with the block.

    At most `channels` may share a connection; ten is OpenSSH's default.
    """
    install(missing(PACKAGES))
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        SEPARATION.mkdir(mode=0o755, exist_ok=True)
    for name in KEYS:
        kind, key = KEYS[name], str(folder / name)
        command.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", key])
    client, writer = ((folder / f"{name}_key.pub").read_text() for name in ("client", "writer"))
    forced = f'restrict,command="internal-sftp -P {REMOVALS}"'
    (folder / "authorized_keys").write_text(f"{client}{forced} {writer}")
    port = _free_port()
    configuration = folder / "sshd_config"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, channels=channels))
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(
            [PROGRAM, "-D", "-e", "-f", str(configuration)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            restore_signals=False,  # a file beyond its size limit is then an error, not SIGXFSZ
        )
    try:
        wait_until(lambda: _require_open(port), deadline_seconds=START_SECONDS)
        yield SftpServer(
            port=port,
            user=getpass.getuser(),
            host_key=(folder / "host_key.pub").read_text().strip(),
            host_key_rsa=(folder / "host_key_rsa.pub").read_text().strip(),
            private_key=folder / "client_key",
            writer_key=folder / "writer_key",
            pid=server.pid,
        )
    finally:
        end_sessions(server.pid)
        server.kill()
        server.wait()


def end_sessions(pid: int) -> None:
    """Cut every connection to the server with that `pid`, as a crash of the host would."""
    for session in reversed(_descendants(pid)):
        try:
            os.kill(session, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _descendants(pid: int) -> list[int]:
    """Processes below `pid`, parents first; sshd gives each session processes of its own."""
    found: list[int] = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return found
    for child in map(int, children):
        found += [child, *_descendants(child)]
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _require_open(port: int) -> None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            if not probe.recv(4).startswith(b"SSH-"):
                raise CommandFailed(f"what listens on port {port} is no SSH server")
    except OSError as error:
        raise CommandFailed(f"the SSH server does not listen on port {port}: {error}") from error
