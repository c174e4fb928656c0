"""One throw-away server: made empty or started on restored files, logged into, and ended."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from holdfast.model.errors import DatabaseUnreachable, DrillFailed, HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.drill import DrillRoom
from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.files import PRIVATE_FILE, give_all, make_folder, new_file, opened
from holdfast.runtime.isolation import isolated, user_named
from holdfast.runtime.process import ChildFailed, output_of, running
from holdfast.runtime.server_process import ServerProcess, environment, last_words
from holdfast.sources.mysql.drill.host_gaps import confining_profile
from holdfast.sources.mysql.dump.programs import Program, installer_of
from holdfast.sources.mysql.server.connection import Address, ConnectionLost, login_options
from holdfast.sources.mysql.server.session import MARIADB, Session, session

ACCOUNT = "holdfast-drill"
LONGEST_LINE = 500
# The budget of the drill ends a start that takes too long.
START_SECONDS = 7 * 86400.0
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
    home: Path
    listening: Path

    @property
    def own(self) -> list[Path]:
        """All that the server may write to."""
        return list(dict.fromkeys((self.folder, self.sockets)))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.listening / "mysql.sock"

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


def of_server(place: Place, *, memory_bytes: int) -> list[str]:
    """The options of a server; `--no-defaults` is first, so no file of this host adds any."""
    return [
        "--no-defaults",
        f"--datadir={place.data}",
        f"--socket={place.socket}",
        f"--pid-file={place.home / 'server.pid'}",
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


class Instance:
    """A server in the folder of `room`, which nobody but its user and root may enter."""

    def __init__(self, room: DrillRoom, program: Program) -> None:
        self.place = Place(
            folder=Path(room.folder),
            sockets=Path(room.sockets),
            home=Path(room.home),
            listening=Path(room.listening),
        )
        self._room = room
        self._program = program
        self._user = user_named(room.user)
        self._password = f"Aa1-{secrets.token_hex(16)}"
        self._work = Cancellation()
        self._server: ServerProcess | None = None

    def initialize(self, *, options: Sequence[str] = ()) -> None:
        """Make an empty data directory; raises `DrillFailed`, `ToolMissing`."""
        if self._program.kind == MARIADB:
            argv = [
                *(installer_of(self._program), "--no-defaults", f"--datadir={self.place.data}"),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
                *("--skip-name-resolve", f"--tmpdir={self.place.temporary}", *options),
            ]
        else:
            argv = [
                *(self._program.path, "--no-defaults", f"--datadir={self.place.data}"),
                *("--initialize-insecure", f"--log-error={self.place.log}"),
                *(f"--tmpdir={self.place.temporary}", *options),
            ]
        self._make_folders()
        make_folder(self.place.data)
        self._give(self.place.data)
        os.close(opened(self.place.log, os.O_WRONLY))
        self._give(self.place.log)
        try:
            # As the server's user: the script of MariaDB, run by root, changes files of the host.
            with (
                running(
                    self._isolated(argv),
                    stdout=False,
                    cwd=self.place.home,
                    user=self._user,
                    env=environment(self.place.home),
                ) as child,
                self._work.registered(child.end),
            ):
                child.finish()
        except ChildFailed as error:
            raise self.failed(error.stderr or error.message, doing="make") from error

    def _isolated(self, argv: Sequence[str]) -> list[str]:
        hidden = [Path(each) for each in self._room.hidden]
        return isolated(argv, self._user, own=self.place.own, hidden=hidden)

    def start(self, *, options: Sequence[str] = ()) -> str:
        """Start the server and wait until it answers; its version. Raises `DrillFailed`."""
        self._make_folders()
        self._write_login()
        argv = [
            self._program.path,
            *of_server(self.place, memory_bytes=self._room.memory_bytes),
            *options,
        ]
        self._server = ServerProcess.started(
            self._isolated(argv),
            folder=self.place.home,
            notices_in=self.place.sockets,
            log=self.place.log,
            user=self._user,
        )
        with self._work.registered(self._server.end):
            if not self._server.wait(self._answers, within_seconds=START_SECONDS):
                raise self.failed("it ended before it answered", doing="start")
        # It holds the password, and the server has read it.
        self.place.first_statements.unlink()
        with self.session() as asking:
            return asking.value("SELECT VERSION()")

    def _make_folders(self) -> None:
        for folder in (self.place.temporary, self.place.exchanged):
            if make_folder(folder):
                self._give(folder)

    def _write_login(self) -> None:
        self._private(self.place.first_statements, f"{_statements(self._password)}\n")
        self._private(self.place.login, login_options(self.address("")))

    def _private(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        new_file(path, text.encode(), mode=PRIVATE_FILE)
        self._give(path)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.user, self._user.group, follow_symlinks=False)

    def give_data(self) -> None:
        """As root, give all restored files to the server's user."""
        if self._user is not None:
            give_all(self.place.data, user=self._user.user, group=self._user.group)

    def _answers(self) -> bool:
        try:
            with self.session() as asking:
                return asking.value("SELECT 1") == "1"
        except HoldfastError:
            return False

    def address(self, database: str) -> Address:
        return Address(
            user=ACCOUNT,
            host="localhost",
            port=0,
            database=database,
            unix_socket=str(self.place.socket),
            ssl_ca="",
            password=self._password,
        )

    def url(self, database: str) -> str:
        """The address of a database, without the password."""
        socket = quote(str(self.place.socket), safe="/")
        return f"mysql://{ACCOUNT}@localhost/{quote(database, safe='')}?unix_socket={socket}"

    @property
    def password(self) -> str:
        return self._password

    @contextmanager
    def session(self, database: str = "") -> Iterator[Session]:
        """A session of the server's administrator; `abort` cuts it.

        Raises `DrillFailed` if the server has ended, or ends during the session.
        """
        try:
            with (
                session(self.address(database), database=database) as asking,
                self._work.registered(asking.cut),
            ):
                yield asking
        except (ConnectionLost, DatabaseUnreachable) as error:
            raise self.failed(error.message, doing="use") from error

    @property
    def connection(self) -> str:
        """How an operator logs in, as one line for the shell."""
        client = "mariadb" if self._program.kind == MARIADB else "mysql"
        return f"{client} --defaults-file={shlex.quote(str(self.place.login))}"

    @property
    def is_running(self) -> bool:
        return self._server is not None and self._server.is_running

    def failed(self, cause: str, *, doing: str) -> DrillFailed:
        """The error that names `cause` and the last errors in the server's log."""
        words = last_words(self.place.log, lambda line: "[ERROR]" in line)
        said = " | ".join(dict.fromkeys([cause, *(each[:LONGEST_LINE] for each in words)]))
        hint = ""
        if profile := confining_profile(self._program):
            hint = (
                f"AppArmor's profile '{profile}' names the folders that it may use: allow"
                f" '{self.place.folder.parent}/**' in {profile.parent}/local/{profile.name}, or"
                " drill below /tmp or /var/tmp"
            )
        return DrillFailed(
            f"cannot {doing} a throw-away {self._program.kind} server: {said}", hint=hint
        )

    def abort(self) -> None:
        """End whatever runs; from any thread, never raises."""
        self._work.abort()
        if self._server is not None:
            self._server.end()

    def close(self, *, keep: bool) -> None:
        """End the server, without a shutdown: nobody needs its files. With `keep` it runs on."""
        if self._server is None:
            return
        if not keep:
            self._server.end()
        self._server.close()


def _statements(password: str) -> str:
    """Make our own account: those of the backup may change or replace root's."""
    return "\n".join(
        [
            f"DROP USER IF EXISTS '{ACCOUNT}'@'localhost';",
            f"CREATE USER '{ACCOUNT}'@'localhost' IDENTIFIED BY '{password}';",
            f"GRANT ALL PRIVILEGES ON *.* TO '{ACCOUNT}'@'localhost' WITH GRANT OPTION;",
        ]
    )


def printed_options(program: Program, room: DrillRoom, options: Sequence[str]) -> str:
    """What the server prints as its options; it starts nothing and opens no data directory.

    Raises `ChildFailed` for options that it refuses.
    """
    # It tests the data directory for capital letters by a file: never in production's.
    home = Path(room.home)
    argv = [program.path, "--no-defaults", f"--datadir={home}", *options]
    return output_of(
        [*argv, "--verbose", "--help"],
        env=environment(home),
        cwd=home,
        user=user_named(room.user),
    )
