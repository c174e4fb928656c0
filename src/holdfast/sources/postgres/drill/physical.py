"""A throw-away server on a restored cluster: it recovers to the drill's target, and is asked."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from holdfast.model.backup import Manifest
from holdfast.model.drill import Answer, DrillFinding, Outcome, ProofRow
from holdfast.model.errors import DrillFailed, TargetOutOfReach, ToolMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.recovery import ASIDE, NO_TARGET, NOT_OURS, Recovery
from holdfast.ports.drill import DrillRoom, DrillServer
from holdfast.runtime.beneath import Owner
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.isolation import network_finding, user_named
from holdfast.runtime.tablespaces import NewTablespaces
from holdfast.sources.postgres.drill import proofs
from holdfast.sources.postgres.drill.restored_cluster import (
    forget_settings,
    give,
    libraries_in,
    libraries_of,
    require_inside,
    spaces_in,
    superusers,
)
from holdfast.sources.postgres.drill.server_process import (
    PORT,
    PostgresProcess,
    settings_of,
)
from holdfast.sources.postgres.drill.wal_socket import Fetch, WalSocket
from holdfast.sources.postgres.files.postmaster import require_ours
from holdfast.sources.postgres.files.target import DirectoryTarget, combiner
from holdfast.sources.postgres.server import client_programs

# The budget of the drill ends a recovery that takes too long.
RECOVERY_SECONDS = 7 * 86400.0
# A cluster need not have the first one; what initdb makes of the second stays.
MAINTENANCE_DATABASES = ("postgres", "template1")
WITHOUT_LOGIN_TRIGGERS = 17
# What a server logs if its WAL ends before the target.
_NOT_REACHED = "recovery ended before configured recovery target was reached"
_REPLAYED = """
SELECT to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
"""
_DATABASES = """
SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname
"""
_PRELOADS = """
SELECT substr(said, strpos(said, '=') + 1) FROM pg_db_role_setting, unnest(setconfig) AS said
WHERE split_part(said, '=', 1) IN ('session_preload_libraries', 'local_preload_libraries')
"""
_FAILED_PAGES = """
SELECT current_setting('data_checksums'), coalesce(sum(checksum_failures), 0)::bigint
FROM pg_stat_database
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalSupply:
    """What a recovery needs from the archive.

    `plan` is called with a `restore_command`, before anything is restored: it returns the recovery
    to carry out, None where the backup's own WAL is all there is. It raises `TargetOutOfReach`.
    `fetching` returns what fetches WAL for a server, and makes the tablespaces that the WAL makes.
    """

    plan: Callable[[str], Recovery | None]
    fetching: Callable[[NewTablespaces], Fetch]


class PhysicalDrillServer(DrillServer):
    """Restores a cluster's files below its room, and starts a server of their own release there."""

    def __init__(self, manifest: Manifest, room: DrillRoom, supply: WalSupply) -> None:
        self._manifest = manifest
        self._room = room
        self._supply = supply
        self._folder = Path(room.folder)
        self._data = self._folder / "data"
        self._user = user_named(room.user)
        self._process = PostgresProcess(room, self._data)
        self._spaces = self._folder / "spaces"
        self._wal = WalSocket(self._folder, Path(room.sockets), fetch=self._fetch, user=self._user)
        self._recovery: Recovery | None = None
        self._verified: list[ProofRow] = []
        self._version = ""
        self._reached: datetime | None = None
        self._settings: dict[str, str] = {}
        self._libraries: set[str] = set()

    @property
    def _major(self) -> int:
        return int(self._manifest.server.version.partition(".")[0])

    def problems(self, _stored: object) -> Sequence[DrillFinding]:
        try:
            self._program("postgres")
            if self._manifest.parent:
                combiner(self._manifest.server.version)
        except ToolMissing as error:
            return [
                DrillFinding(
                    subject=f"PostgreSQL {self._major}", problem=error.message, hint=error.hint
                )
            ]
        self._recovery = self._supply.plan(self._wal.command)
        return network_finding(self._room.user)

    def _program(self, name: str) -> str:
        """A program of the files' own release; raises `ToolMissing`."""
        major, version = self._major, self._manifest.server.version
        found = client_programs.find(name, major, version)
        if found.major != major:
            raise ToolMissing(
                f"cannot start a server of version {major}: only {name} {found.version} is here",
                hint=f"install it, on Debian: apt install postgresql-{major}",
            )
        return str(found.path)

    def prepare(self) -> None:
        return

    def target(self, _database: str) -> DirectoryTarget:
        spaces = quote(str(self._spaces))
        return DirectoryTarget(f"{self._data.as_uri()}?tablespaces={spaces}")

    @property
    def settings(self) -> Mapping[str, str]:
        return self._recovery.settings if self._recovery else ASIDE

    @property
    def holds_every_database(self) -> bool:
        return True

    def verify_files(self) -> Iterator[ProofRow]:
        """The row of `pg_verifybackup`, before a server changes the files."""
        name = "pg_verifybackup"
        try:
            program = self._program(name)
        except ToolMissing as error:
            yield ProofRow(name=name, outcome=Outcome.SKIPPED, detail=error.message)
            return
        self._settle()
        # The server of this drill reads the WAL itself.
        argv = [program, "--no-parse-wal", "--quiet", str(self._data)]
        try:
            self._process.run(argv, doing="verify the files")
        except DrillFailed as error:
            yield ProofRow(name=name, outcome=Outcome.FAILED, detail=error.message)
            return
        yield ProofRow(name=name, outcome=Outcome.PASSED)

    def _settle(self) -> None:
        """Make the restored files a server's own: examined and changed first, given to it last.

        Its user may put links there from then on, so root writes nothing below them any more.
        """
        if self._settings:
            return
        require_ours(self._data, self._manifest.proof.cluster)
        require_inside(self._data, self._folder)
        self._process.superusers = superusers(self._data)
        self._process.databases = MAINTENANCE_DATABASES
        self._libraries = libraries_of(self._data)
        self._settings = self._all_settings()
        for folder in (self._data, *spaces_in(self._spaces)):
            give(folder, self._user)

    def recover(self) -> None:
        self._settle()
        postgres = self._program("postgres")
        if self._recovery is not None:
            self._wal.open()
        self._process.start(postgres, self._settings)
        with afterwards(self._wal.close):
            try:
                self._version = self._process.wait(seconds=RECOVERY_SECONDS)
            except DrillFailed as error:
                raise self._why(error) from error
        self._reached = self._last_transaction()

    def _fetch(self, name: str, path: Path) -> bool:
        """Fetch one file of WAL; the tablespaces that it makes are the server's."""
        user = self._user
        owner = Owner(user=user.user, group=user.group) if user else None
        return self._supply.fetching(
            NewTablespaces(data=self._data, below=self._spaces, owner=owner)
        )(name, path)

    def _all_settings(self) -> dict[str, str]:
        """All settings of the server; the files of the backup set none."""
        recovery = self._recovery.settings if self._recovery else NOT_OURS | NO_TARGET
        triggers = {"event_triggers": "off"} if self._major >= WITHOUT_LOGIN_TRIGGERS else {}
        return {
            **forget_settings(self._data, self._folder, user=self._user),
            **settings_of(self._room),
            # The time that it takes is to be that of a real recovery.
            "fsync": "on",
            # Nobody is let in before the target is reached.
            "hot_standby": "off",
            "max_wal_senders": "0",
            # Transactions that were prepared on the primary need room here, too.
            "max_prepared_transactions": "1000",
            "max_locks_per_transaction": "256",
            **triggers,
            **recovery,
            **ASIDE,
        }

    def _why(self, error: DrillFailed) -> Exception:
        """The error of a fetch where there was one: the server only says that it ended."""
        if self._wal.problem is not None:
            return self._wal.problem
        if self._recovery is not None and _NOT_REACHED in error.message:
            return TargetOutOfReach(
                f"cannot recover '{self._manifest.backup_id}' to {self._recovery.told}: the"
                " archived WAL ends before",
                hint="name an earlier time, or --target latest",
            )
        return error

    def _last_transaction(self) -> datetime | None:
        """The time of the newest replayed transaction; else the end of the backup."""
        with self._process.session() as session:
            (at,) = session.execute(_REPLAYED).fetchone() or (None,)
        own = self._manifest.proof.wal
        ended = own.ended_at if own else None
        replayed = datetime.fromisoformat(at).replace(tzinfo=UTC) if at else None
        return max(filter(None, (replayed, ended)), default=None)

    def prove(self) -> Iterable[ProofRow]:
        self._process.require_running()
        yield from self._left_out()
        for name in self._databases():
            yield from proofs.amcheck(self._process.login(name))
        yield self._pages()

    def _left_out(self) -> Iterator[ProofRow]:
        """The row for the libraries of the original: none is loaded, and some may be missing."""
        with self._process.session() as session:
            told = session.execute(_PRELOADS).fetchall()
        names = sorted(self._libraries.union(*(libraries_in(str(value)) for (value,) in told)))
        if not names:
            return
        folder = Path(self._program("postgres")).resolve().parent.parent / "lib"
        # A package may have its libraries elsewhere; then this one is not there either.
        is_known = (folder / "plpgsql.so").exists()
        missing = [each for each in names if is_known and not (folder / f"{each}.so").exists()]
        detail = f"not loaded, as a drill needs none of them: {', '.join(names)}"
        if missing:
            detail += f"; this host lacks: {', '.join(missing)}"
        yield ProofRow(name="libraries", outcome=Outcome.SKIPPED, detail=detail)

    def _databases(self) -> list[str]:
        with self._process.session() as session:
            return [str(name) for (name,) in session.execute(_DATABASES).fetchall()]

    def _pages(self) -> ProofRow:
        """The server verifies the checksum of each page that it reads, and counts wrong ones."""
        with self._process.session() as session:
            is_on, wrong = session.execute(_FAILED_PAGES).fetchone() or ("off", 0)
        if is_on != "on":
            told = "the cluster was made without data checksums"
            return ProofRow(name="page checksums", outcome=Outcome.SKIPPED, detail=told)
        return ProofRow(
            name="page checksums",
            outcome=Outcome.FAILED if wrong else Outcome.PASSED,
            expected="0 wrong",
            found=f"{wrong} wrong",
        )

    def ask(self, sql: str, *, database: str, timeout_seconds: float) -> Answer:
        self._process.require_running()
        login = self._process.login(database or self._only_database())
        return proofs.answer(login, sql, timeout_seconds=timeout_seconds)

    def _only_database(self) -> str:
        """The one database that users made; without one, or with several, that of maintenance."""
        made = [name for name in self._databases() if name not in MAINTENANCE_DATABASES]
        return made[0] if len(made) == 1 else self._process.database

    @property
    def version(self) -> str:
        return self._version

    def reached(self) -> datetime | None:
        return self._reached

    @property
    def connection(self) -> str:
        user = self._process.superuser
        words = ("psql", "-h", self._room.listening, "-p", PORT, "-U", user)
        return shlex.join([*words, "-d", self._process.database])

    def abort(self) -> None:
        self._process.abort()

    def close(self, *, keep: bool = False) -> None:
        self._wal.close()
        if not (keep and self._process.is_running):
            self._process.end()
