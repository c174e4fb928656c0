"""Repositories made by earlier releases, which every later version must read."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.installation import Installation

GOLDEN = Path(__file__).parents[1] / "golden"
DUMP = "shop.dump.sql"


class GoldenInstallation(Installation):
    """A configuration for an unpacked golden repository, without its database server."""

    def __init__(self, folder: Path, archive: str, *, dump: str = "") -> None:
        """`dump` is an archive with the database's dump, if `archive` holds backups only."""
        self.archive = archive
        _unpack(GOLDEN / archive, folder)
        if dump:
            _unpack(GOLDEN / dump, folder, DUMP)
        (folder / "state").mkdir(mode=0o700)
        self.folder = folder
        self.repository = folder / "main"
        self.settings = {
            "state_directory": str(folder / "state"),
            "repositories": {"main": {"kind": "local", "path": str(self.repository)}},
            "jobs": {},
        }

    def job_of(self, name: str, kind: str, *, repository: str = "main") -> None:
        """Configure a job of which only the backups exist."""
        dsn = {"postgres": "host=/nowhere dbname=shop", "mysql": "mysql://nobody@localhost/shop"}
        self.settings["jobs"][name] = {
            "source": {"kind": kind, "dsn": dsn[kind]},
            "repository": repository,
        }

    def seal(self) -> None:
        """Add the repository with encrypted parts and signed manifests."""
        recipients = [(self.folder / "identity").read_text().split("public key: ")[1].split()[0]]
        self.settings["repositories"]["sealed"] = {
            "kind": "local",
            "path": str(self.folder / "sealed"),
            "encryption": {"recipients": recipients},
            "authentication": {"public_keys": [(self.folder / "signing.pub").read_text()]},
        }
        (self.folder / "identity").chmod(0o600)

    @property
    def dump(self) -> bytes:
        """The dump of the database by its own program, from when the backups were made."""
        return (self.folder / DUMP).read_bytes()


def _unpack(archive: Path, folder: Path, *names: str) -> None:
    argv = ["tar", "-xf", str(archive), "-C", str(folder), "--no-same-owner", *names]
    subprocess.run(argv, check=True)
