"""A job whose source, repository and host are in memory."""

from __future__ import annotations

from datetime import timedelta

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest import Failure
from holdfast.limits.budget import Budget
from holdfast.limits.throttle import Throttle
from holdfast.model.backup import Codec
from holdfast.model.retention import Policy
from holdfast.operations.context import Context, JobSpec
from holdfast.operations.verify.backup import BackupReader
from holdfast.ports.repository import Repository
from holdfast.ports.sessions import Holder
from tests.fakes.clock import FakeClock
from tests.fakes.gauges import MemoryGauges
from tests.fakes.guard import MemoryGuard
from tests.fakes.journal import MemoryJournal
from tests.fakes.ledger import MemoryLedger
from tests.fakes.lists import MemoryLists
from tests.fakes.progress import FakeProgress
from tests.fakes.proofs import MemoryProofs
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSource, FakeTable, table


class MemoryJob:
    """Job `shop`; a test may look at each of its parts, or break it."""

    def __init__(self, *tables: FakeTable, timeout: timedelta | None = None) -> None:
        shop = (table("orders", "1,ann", "2,bob", "3,eve"), table("items", "1,9"), table("empty"))
        self.source = FakeSource(*(tables or shop))
        self.repository = MemoryRepository(free_bytes=1 << 30)
        self.guard = MemoryGuard()
        self.ledger = MemoryLedger()
        self.progress = FakeProgress()
        self.clock = FakeClock(step=timedelta(seconds=1))
        self.timeout = timeout
        self.retention = Policy(last=2)
        self.stall_timeout: timedelta | None = None
        self.resumable = False
        self.recipients: tuple[str, ...] = ()
        self.workers = 2
        self.journal = MemoryJournal()
        self.lists = MemoryLists()
        self.proofs = MemoryProofs()
        self.blob_grace = timedelta(0)
        self.gauges = MemoryGauges()
        self.pace = Throttle()
        self.sessions: Holder | None = None
        self._runs = 0

    @property
    def context(self) -> Context:
        return Context(
            job=JobSpec(
                name="shop",
                codec=Codec.ZSTD,
                level=3,
                timeout=self.timeout,
                retention=self.retention,
                stall_timeout=self.stall_timeout,
                resumable=self.resumable,
                blob_grace=self.blob_grace,
                recipients=self.recipients,
            ),
            source=self.source,
            repository=self.repository,
            guard=self.guard,
            ledger=self.ledger,
            progress=self.progress,
            clock=self.clock,
            host="db1",
            choose_workers=lambda _source: Budget(
                slots=self.workers,
                decided_by="asked",
                allowed={"asked": self.workers},
                ceilings=(),
            ),
            new_run_id=self._new_run_id,
            peak_memory_bytes=lambda: 50 << 20,
            cpu_seconds=lambda: 1.5,
            journal=self.journal,
            lists=self.lists,
            proofs=self.proofs,
            gauges=self.gauges,
            pace=lambda _source: self.pace,
            blob_secret=lambda: b"of this host",
            sessions=self.sessions,
        )

    @property
    def reader(self) -> BackupReader:
        return self.reader_of(self.repository)

    def reader_of(self, repository: Repository) -> BackupReader:
        return BackupReader(
            repository=repository,
            proofs=self.proofs,
            clock=self.clock,
            progress=self.progress,
        )

    def _new_run_id(self) -> str:
        self._runs += 1
        return f"{self._runs:032x}"[::-1]

    def forget_failure(self) -> Failure:
        """The only record of a failure, which is gone afterwards."""
        catalog = Catalog(self.repository)
        (failure,) = catalog.survey("shop").failures
        self.repository.delete(f"{failure.backup_id}/failed.json")
        return failure

    def stored_names(self) -> list[str]:
        return sorted(key.split("/", 2)[2] for key in self.repository.objects)
