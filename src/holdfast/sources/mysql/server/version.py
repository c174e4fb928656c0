"""Which server this is, and the limits it tells about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.model.backup import Server
from holdfast.sources.mysql.server.session import Session

MARIADB = "mariadb"
MYSQL = "mysql"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVersion:
    """MariaDB or MySQL, and which release."""

    kind: str
    version: str
    release: tuple[int, int]
    max_allowed_packet: int

    @property
    def mariadb(self) -> bool:
        return self.kind == MARIADB

    @property
    def backup_stages(self) -> bool:
        """Whether `BACKUP STAGE` exists: it stops commits only, not every write."""
        return self.mariadb and self.release >= (10, 5)

    def server(self, database: str) -> Server:
        return Server(kind=self.kind, version=self.version, database=database)

    @classmethod
    def of(cls, session: Session) -> ServerVersion:
        version, comment, packet = session.text(
            "SELECT VERSION(), @@version_comment, @@max_allowed_packet"
        )[0]
        mariadb = "mariadb" in f"{version} {comment}".lower()
        major, minor = [*re.findall(r"\d+", version), "0", "0"][:2]
        return cls(
            kind=MARIADB if mariadb else MYSQL,
            version=version,
            release=(int(major), int(minor)),
            max_allowed_packet=int(packet),
        )
