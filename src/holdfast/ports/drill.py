"""The port to a throw-away server: it receives a restored backup, and proves what it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.model.backup import Manifest
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.port import Port
from holdfast.ports.target import WHOLE, RestoreOptions, Target

if TYPE_CHECKING:
    from holdfast.model.drill import Answer, DrillFinding, ProofRow
    from holdfast.model.restore import StoredParts


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRoom:
    """What a throw-away server may use of this host.

    `folder` is an absolute path, and `sockets` is one that is short enough for a Unix socket below
    it; both may be the same folder. holdfast owns and writes them: `user` may pass, and nobody else
    may enter. `home` and `listening` are the server's own folders in them, empty and private
    (0700). Root writes nothing below what it gave to the server's user, who could put links there.
    The server writes nothing elsewhere. Each of its processes works in a folder below `folder`, or
    names one in its arguments: so the next drill finds what a killed one left. `user` is the user
    to run as, empty for the user of this process; only root names another. The server plans for
    `memory_bytes`, 0 for no limit. It may not see the folders and files of `hidden`.
    """

    folder: str
    sockets: str
    user: str = ""
    memory_bytes: int = 0
    hidden: tuple[str, ...] = ()

    @property
    def home(self) -> str:
        """Where the server works, and keeps temporary files."""
        return f"{self.folder}/home"

    @property
    def listening(self) -> str:
        """Where the server makes its socket."""
        return f"{self.sockets}/s"


class DrillServer(Port, ABC):
    """A server of one drill's own: no port, a private socket, no connection to any other server.

    Making one does nothing yet. A drill calls `problems`, `prepare`, then restores into `target`,
    then `recover`, `prove` and `ask`, and always `close`, after whatever failed. The server never
    archives WAL or a binary log, never connects to a primary, a replica or the internet, and runs
    none of the jobs of its databases (pg_cron, subscriptions, the event scheduler). `abort` comes
    from another thread; all else from one.
    """

    __slots__ = ()

    @abstractmethod
    def problems(self, stored: StoredParts) -> Sequence[DrillFinding]:
        """What this host lacks for the backup: programs of that version, extensions, collations,
        plugins. The caller has seen that there is room on the disk.

        Reads definitions through `stored` where it must; starts no server, writes no file. Raises
        `VerifyFailed` for a damaged part.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Get ready for the restore: a server for rows starts empty, one for files gets its folder.

        Raises `ToolMissing`, `DrillFailed` with the last lines of the server's log.
        """

    @abstractmethod
    def target(self, database: str) -> Target:
        """Where the backup goes; its whole content, roles and accounts included, may go there.

        `database` is the name that the restored database gets; a target for files ignores it.
        """

    @property
    def options(self) -> RestoreOptions:
        """How the backup is restored into the target: as much of it as the target can take."""
        return WHOLE

    @property
    def settings(self) -> Mapping[str, str] | None:
        """The settings that a restore writes for the server of a cluster; None for other kinds."""
        return None

    @property
    def holds_every_database(self) -> bool:
        """Whether a backup of a whole server was restored, with any number of databases."""
        return False

    def verify_files(self) -> Iterable[ProofRow]:
        """What the server's own programs say of restored files, before `recover` changes them."""
        return ()

    def recover(self) -> None:
        """Bring what was restored to the drill's target: a server for files starts here.

        Returns once statements can be asked. Does nothing where rows were restored. Raises
        `ToolMissing`, `TargetOutOfReach`, `DrillFailed` with the last lines of the server's log.
        """
        return

    @abstractmethod
    def prove(self) -> Iterable[ProofRow]:
        """The server's own checks of what it holds, one row each, bad ones too.

        A check that this server does not have is a row with `Outcome.SKIPPED`. Raises
        `DrillFailed` only if the server is gone.
        """

    @abstractmethod
    def ask(self, sql: str, *, database: str, timeout_seconds: float) -> Answer:
        """Ask one SELECT in a read-only transaction that is rolled back.

        Raises `CheckRefused` for any other statement or for several, and `DrillFailed` with the
        server's message for one that fails or takes too long; the server stays usable.
        """

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the throw-away server; empty before `prepare` or `recover` found it."""

    def reached(self) -> datetime | None:
        """The newest moment that a recovery reached; None where the backup's own moment counts."""
        return None

    @property
    def connection(self) -> str:
        """How an operator connects to a server that is kept, as one line for the shell."""
        return ""

    @abstractmethod
    def abort(self) -> None:
        """Stop the server at once, so that a call in progress fails; from any thread, never raises.

        `close` is still to be called.
        """

    @abstractmethod
    def close(self, *, keep: bool = False) -> None:
        """Stop the server and reap its processes; may be called more than once.

        With `keep` a running server stays for the operator. The folder belongs to the caller, who
        removes it afterwards.
        """


OpenServer = Callable[[Manifest, DrillRoom, datetime | None], DrillServer]
"""Makes the throw-away server for a backup; raises `Unsupported` for a kind without drills.

The moment is that to which a cluster recovers; None for the newest one that its archive reaches.
"""
