"""A job whose source, repository and host are in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest import Failure
from holdfast.limits.budget import Budget
from holdfast.limits.throttle import Throttle
from holdfast.model.backup import Codec
from holdfast.model.fingerprints import FAST
from holdfast.model.retention import Policy
from holdfast.operations.context import (
    BackupContext,
    Hooks,
    Host,
    HostState,
    JobSpec,
    Mirror,
    Ownership,
    RunRules,
    StoredForm,
)
from holdfast.operations.prune import PruneContext
from holdfast.operations.repair import RepairContext
from holdfast.operations.status import CheckContext, StatusContext
from holdfast.operations.verify.backup import BackupReader
from holdfast.ports.repository import Repository
from holdfast.ports.sessions import Holder
from tests.fakes.clock import FakeClock
from tests.fakes.file_lists import MemoryFileLists
from tests.fakes.gauges import MemoryGauges
from tests.fakes.guard import MemoryGuard
from tests.fakes.journal import MemoryJournal
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.run_history import MemoryRunHistory
from tests.fakes.source import FakeSource, FakeTable, table
from tests.fakes.verification_log import MemoryVerificationLog


class MemoryJob:
    """Job `shop`, whose components a test may inspect or replace."""

    def __init__(self, *tables: FakeTable, timeout: timedelta | None = None) -> None:
        shop = (table("orders", "1,ann", "2,bob", "3,eve"), table("items", "1,9"), table("empty"))
        self.source = FakeSource(*(tables or shop))
        self.repository = MemoryRepository(free_bytes=1 << 30)
        self.guard = MemoryGuard()
        self.history = MemoryRunHistory()
        self.progress = FakeProgress()
        self.clock = FakeClock(step=timedelta(seconds=1))
        self.timeout = timeout
        self.retention = Policy(last=2)
        self.stall_timeout: timedelta | None = None
        self.resumable = False
        self.recipients: tuple[str, ...] = ()
        self.fingerprints = FAST
        self.workers = 2
        self.journal = MemoryJournal()
        self.file_lists = MemoryFileLists()
        self.verification_log = MemoryVerificationLog()
        self.blob_grace = timedelta(0)
        self.hooks = Hooks()
        self.gauges = MemoryGauges()
        self.throttle = Throttle()
        self.sessions: Holder | None = None
        self._runs = 0

    @property
    def spec(self) -> JobSpec:
        return JobSpec(
            name="shop",
            form=StoredForm(
                codec=Codec.ZSTD,
                level=3,
                recipients=self.recipients,
                fingerprints=self.fingerprints,
            ),
            rules=RunRules(
                timeout=self.timeout,
                stall_timeout=self.stall_timeout,
                resumable=self.resumable,
            ),
            retention=self.retention,
            blob_grace=self.blob_grace,
            hooks=self.hooks,
        )

    @property
    def context(self) -> BackupContext:
        return BackupContext(
            job=self.spec,
            source=self.source,
            sessions=self.sessions,
            repository=self.repository,
            ownership=Ownership(new_run_id=self._new_run_id, guard=self.guard),
            state=HostState(
                history=self.history,
                journal=self.journal,
                file_lists=self.file_lists,
                verification_log=self.verification_log,
                gauges=self.gauges,
                blob_secret=lambda: b"of this host",
            ),
            host=Host(
                name="db1",
                clock=self.clock,
                peak_memory_bytes=lambda: 50 << 20,
                cpu_seconds=lambda: 1.5,
                choose_workers=lambda _source: Budget(
                    slots=self.workers,
                    decided_by="asked",
                    allowed={"asked": self.workers},
                    ceilings=(),
                ),
                throttle=lambda _source: self.throttle,
            ),
            progress=self.progress,
        )

    @property
    def prune_context(self) -> PruneContext:
        return repair_context(self.context)

    @property
    def repair_context(self) -> RepairContext:
        return repair_context(self.context)

    @property
    def status_context(self) -> StatusContext:
        return StatusContext(
            job=self.spec,
            archiver=self.source.archiver,
            repository=self.repository,
            history=self.history,
            guard=self.guard,
            clock=self.clock,
        )

    @property
    def check_context(self) -> CheckContext:
        return check_context(self.context)

    @property
    def reader(self) -> BackupReader:
        return self.reader_of(self.repository)

    def reader_of(self, repository: Repository) -> BackupReader:
        return BackupReader(
            repository=repository,
            verification_log=self.verification_log,
            clock=self.clock,
            progress=self.progress,
        )

    def _new_run_id(self) -> str:
        self._runs += 1
        return f"{self._runs:032x}"[::-1]

    def forget_failure(self) -> Failure:
        """Return the only record of a failure, and delete it."""
        catalog = Catalog(self.repository)
        (failure,) = catalog.survey("shop").failures
        self.repository.delete(f"{failure.backup_id}/failed.json")
        return failure

    def stored_names(self) -> list[str]:
        return sorted(key.split("/", 2)[2] for key in self.repository.objects)


def repair_context(context: BackupContext) -> RepairContext:
    """The context of a repair of the same job, or of a prune."""
    return RepairContext(
        job=context.job,
        repository=context.repository,
        guard=context.ownership.guard,
        clock=context.host.clock,
        verification_log=context.state.verification_log,
        journal=context.state.journal,
        sessions=context.sessions,
    )


def check_context(context: BackupContext) -> CheckContext:
    """The context of a check of the same job."""
    return CheckContext(
        job=context.job,
        source=context.source,
        repository=context.repository,
        gauges=context.state.gauges,
        mirrors={each.name: each.repository for each in context.ownership.mirrors[1:]},
    )


def mirrored(context: BackupContext, *mirrors: Mirror) -> BackupContext:
    """The same job with mirrors; its own repository comes first."""
    ownership = replace(context.ownership, mirrors=mirrors, host_guard=MemoryGuard())
    return replace(context, ownership=ownership)
