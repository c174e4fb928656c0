"""The options of a throw-away server: unreachable, without jobs, inside its folder and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
LARGEST_PACKET = "1G"
# The server itself needs about this much beside its buffer pool, and each session some more.
SERVER_MIB = 160
LEAST_POOL_MIB, MOST_POOL_MIB = 16, 1024
DEFAULT_POOL_MIB = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The files of one server, all in the private folders of its drill."""

    folder: Path
    sockets: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.sockets / "mysql.sock"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def first_statements(self) -> Path:
        """The statements that the server runs before it answers anybody."""
        return self.folder / "first.sql"

    @property
    def login(self) -> Path:
        """The option file that a client logs in with, for the operator of a kept server."""
        return self.folder / "login.cnf"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def exchanged(self) -> Path:
        """The empty folder that LOAD DATA and INTO OUTFILE are confined to."""
        return self.folder / "files"


# `loose`: one of the two servers, or an older release, lacks the option.
ALONE = (
    "--skip-networking",
    "--skip-name-resolve",
    "--event-scheduler=OFF",
    "--skip-log-bin",
    "--loose-skip-slave-start",
    "--loose-skip-replica-start",
    # It would listen on a port and a socket of its own.
    "--loose-mysqlx=OFF",
    "--local-infile=OFF",
    "--loose-symbolic-links=OFF",
    # It reports to MariaDB's authors.
    "--loose-feedback=OFF",
    "--loose-wsrep-on=OFF",
)
SMALL = (
    "--performance-schema=OFF",
    "--loose-innodb-buffer-pool-load-at-startup=OFF",
    "--loose-innodb-buffer-pool-dump-at-shutdown=OFF",
    "--loose-auto-generate-certs=OFF",
    "--loose-sha256-password-auto-generate-rsa-keys=OFF",
    "--loose-caching-sha2-password-auto-generate-rsa-keys=OFF",
)
# A server that refuses what a backup may hold would fail the drill, and not the backup.
ADMITTING = (
    f"--max-allowed-packet={LARGEST_PACKET}",
    "--loose-innodb-read-only-compressed=OFF",
    "--loose-mysql-native-password=ON",
)
# Values that fit the old server's files (`backup-my.cnf`), and no others.
OF_FILES = (
    "innodb_page_size",
    "innodb_data_file_path",
    "innodb_undo_tablespaces",
    "innodb_checksum_algorithm",
    "innodb_log_file_size",
)


def of_server(place: Place, *, memory_bytes: int) -> list[str]:
    """The options of a server; `--no-defaults` is first, so no file of this host adds any."""
    return [
        "--no-defaults",
        f"--datadir={place.data}",
        f"--socket={place.socket}",
        f"--pid-file={place.folder / 'server.pid'}",
        f"--log-error={place.log}",
        f"--tmpdir={place.temporary}",
        f"--secure-file-priv={place.exchanged}",
        f"--init-file={place.first_statements}",
        f"--innodb-buffer-pool-size={pool_mib(memory_bytes)}M",
        *ALONE,
        *SMALL,
        *ADMITTING,
    ]


def pool_mib(memory_bytes: int) -> int:
    """The size of InnoDB's buffer pool: half of the memory that the server itself leaves."""
    if not memory_bytes:
        return DEFAULT_POOL_MIB
    left = memory_bytes // MIB - SERVER_MIB
    return max(LEAST_POOL_MIB, min(left // 2, MOST_POOL_MIB))
