"""The secrets that the configuration names by `{credential: NAME}`, wherever this host has them.

In a unit systemd hands them over. Elsewhere they are in the folder that the role `backup_runner`
keeps: `NAME.cred`, sealed with the key of the host, which only root has, or the file `NAME.secret`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.config.private_files import NotPrivate, require_private
from holdfast.model.errors import HoldfastError

CREDENTIALS = "CREDENTIALS_DIRECTORY"
KEPT = Path("/etc/holdfast/credentials")
SEALED, PLAIN = ".cred", ".secret"
PROGRAM = "systemd-creds"


class NoCredential(Exception):
    """This host has no such secret, or this user may not read it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Absent(NoCredential):
    """This user finds none of that name; another one might."""


def credential(name: str, environment: Mapping[str, str]) -> bytes:
    """The content of the credential; raises `NoCredential`."""
    found = _given(name, environment)
    if found is None:
        found = _plain(KEPT / f"{name}{PLAIN}")
    return _opened(KEPT / f"{name}{SEALED}", name) if found is None else found


def credential_if_any(name: str, environment: Mapping[str, str]) -> bytes | None:
    """The content of the credential, None if this user has none; raises `NoCredential`."""
    try:
        return credential(name, environment)
    except Absent:
        return None


def _given(name: str, environment: Mapping[str, str]) -> bytes | None:
    """What systemd gave to the unit; without mount namespaces it gives a folder of root's."""
    folder = environment.get(CREDENTIALS)
    # A missing file, or one that this user may not read: the host may keep the secret elsewhere.
    with suppress(OSError):
        return Path(folder, name).read_bytes() if folder else None
    return None


def _plain(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
        # The role gives the folder and shared files to the group of backups, whatever its name is.
        require_private(path, groups=[path.parent.stat().st_gid])
    except OSError:
        return None
    except NotPrivate as error:
        raise NoCredential(error.what, error.hint) from error
    return content


def _opened(path: Path, name: str) -> bytes:
    if not _is_there(path):
        raise Absent(
            f"this host has no credential '{name}'",
            f"name it in backup_runner_secrets and deploy the host (docs/secrets.md), or add"
            f" LoadCredential={name}:PATH to the unit of the job",
        )
    if os.geteuid() != 0:
        raise Absent(
            f"only root can open credential '{name}', and no unit of a job was given it",
            "run holdfast as root, or by the unit of a job: systemctl start holdfast-backup-JOB",
        )
    return _unsealed(path, name)


def _unsealed(path: Path, name: str) -> bytes:
    from holdfast.runtime.process import running  # for root outside of a unit only

    try:
        with running([PROGRAM, "decrypt", f"--name={name}", str(path), "-"]) as child:
            return b"".join(child.chunks())
    except HoldfastError as error:
        hint = (
            "if this host is a copy of another one, deploy it again: the key of a host is its own"
        )
        raise NoCredential(f"cannot open '{path}': {error.message}", hint) from error


def _is_there(path: Path) -> bool:
    with suppress(OSError):
        return path.exists()
    return False
