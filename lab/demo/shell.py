"""Programs inside the hosts of the demo, run by podman: independent of Ansible and the runner."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import command
from lab.fleet import Fleet, Host

POSTGRES = "postgres"
MARIADB = "mariadb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """One host of the demo and its container."""

    host: Host
    container: str

    @property
    def kind(self) -> str:
        """The database server in the host's image."""
        return POSTGRES if self.host.image.endswith(POSTGRES) else MARIADB

    def run(self, argv: Sequence[str], *, feed: bytes | None = None) -> str:
        """Run a program to its end; raises `CommandFailed` with its last lines."""
        interactive = ["--interactive"] if feed is not None else []
        return command.run(["podman", "exec", *interactive, self.container, *argv], feed=feed)

    def sql(self, text: str, *, database: str = "") -> str:
        """The output of the server's own client for `text`, without headers or alignment."""
        return self.run(self.client(database), feed=text.encode())

    def load(self, script: Path, *, database: str = "") -> None:
        """Feed a script to the server's own client."""
        self.run(self.client(database), feed=script.read_bytes())

    def client(self, database: str) -> list[str]:
        if self.kind == POSTGRES:
            as_owner = ["runuser", "-u", "postgres", "--", "psql", "-qXAt", "-v", "ON_ERROR_STOP=1"]
            return [*as_owner, "-d", database or "postgres"]
        return ["mariadb", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"] + (
            [database] if database else []
        )


def shells(fleet: Fleet) -> list[Shell]:
    """A shell for every host."""
    return [Shell(host=host, container=host.container(fleet.network)) for host in fleet.hosts]
