"""Receives WAL with pg_receivewal while the server writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.model.errors import SlotMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.postgres.files import cluster
from holdfast.sources.postgres.files.stream_facts import wire_failed
from holdfast.sources.postgres.server import client_programs
from holdfast.sources.postgres.server.login import Login

PROGRAM = "pg_receivewal"
_FACTS = """
SELECT (SELECT system_identifier FROM pg_control_system())::text,
       current_setting('server_version'), current_setting('server_version_num')::int,
       (SELECT slot_type FROM pg_replication_slots WHERE slot_name = %(slot)s),
       (SELECT active FROM pg_replication_slots WHERE slot_name = %(slot)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receiving:
    """Obeys `model.wal_archive.Receiving`."""

    child: Child

    @property
    def is_running(self) -> bool:
        return self.child.is_running

    def finish(self) -> None:
        try:
            self.child.finish()
        except ChildFailed as error:
            raise wire_failed(error, "cannot receive WAL") from error


class PostgresWalStream:
    """Obeys `model.wal_archive.WalStream`.

    Without a `slot` the server may recycle WAL that was not sent yet.
    """

    def __init__(self, login: Login, *, slot: str = "") -> None:
        self._login = login
        self._slot = slot

    def cluster(self) -> str:
        return self._examined()[0]

    @contextmanager
    def receiving(self, folder: str) -> Iterator[_Receiving]:
        _, version, number = self._examined()
        tool = client_programs.find(PROGRAM, number // 10000, version)
        argv = [str(tool.path), "--no-password", "--no-loop", f"--directory={folder}"]
        argv += [f"--slot={self._slot}"] if self._slot else []
        argv.append(f"--dbname={self._login.conninfo()}")
        with running(argv, env=self._login.environment(), stdout=False) as child:
            yield _Receiving(child=child)

    def _examined(self) -> tuple[str, str, int]:
        with cluster.session(self._login) as connection:
            row = connection.execute(_FACTS, {"slot": self._slot}).fetchone()
        identifier, version, number, kind, is_active = row or ("", "", 0, None, None)
        if self._slot:
            self._require_slot(kind, is_active=bool(is_active))
        return identifier, version, number

    def _require_slot(self, kind: str | None, *, is_active: bool) -> None:
        what = f"cannot receive WAL by slot '{self._slot}' of '{self._login.server}'"
        if kind is None:
            raise SlotMissing(
                f"{what}: it does not exist",
                hint=f"SELECT pg_create_physical_replication_slot('{self._slot}', true)",
            )
        if kind != "physical":
            raise SlotMissing(f"{what}: it is a {kind} slot", hint="name a physical slot")
        if is_active:
            raise SlotMissing(f"{what}: it is in use", hint="each client needs its own slot")
