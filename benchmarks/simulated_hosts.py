"""Simulated hosts that back up to one repository: the code of locks, slots and statuses is real.

Each host is a thread in virtual time. Only what takes long on a host is left out: the backup itself
is three small objects and a pause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from benchmarks.virtual_time import VirtualTime
from holdfast.catalog.host_statuses import HostStatuses
from holdfast.locking.host_lock import OwnedGuard, Process
from holdfast.locking.job_lock import LeasedGuard
from holdfast.locking.lease import Terms
from holdfast.locking.slots import Writers
from holdfast.model.errors import RepositoryBusy, RepositoryUnreachable
from holdfast.model.host_status import BACKUP, VERIFY, Act, Happened, HostStatus, after
from holdfast.ports.repository import ForwardingRepository, Repository, Stored

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

BEGIN = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
PAGE = 1000
VERIFY_AT_SECONDS = 6 * 3600.0
TURN_SECONDS = 0.01
OBJECTS_OF_A_BACKUP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """The hosts of one night, and how they are configured.

    Backups take `backup_seconds` on average. Each host of `dying` dies in its backup, each of
    `dying_in_line` while it waits for a slot.
    """

    hosts: int
    slots: int
    backup_seconds: float
    delay_seconds: float = 900.0
    lease_seconds: float = 90.0
    wait_at_most: timedelta = timedelta(hours=12)
    answer_seconds: float = 0.02
    dying: frozenset[int] = frozenset()
    dying_in_line: frozenset[int] = frozenset()
    seed: int = 1


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of one host: when it came, and when it held the slot, in seconds of the night."""

    host: int
    came: float
    began: float | None = None
    ended: float | None = None
    outcome: str = ""


@dataclass(slots=True, kw_only=True)
class Log:
    """What happened in the night: all runs, and the kind and the time of each request."""

    runs: list[Run] = field(default_factory=list)
    requests: list[tuple[float, str, int]] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        return Counter(kind for _, kind, _ in self.requests)

    @property
    def busiest_second(self) -> int:
        return max(Counter(int(at) for at, _, _ in self.requests).values())

    @property
    def most_at_once(self) -> int:
        """How many hosts wrote at the same moment, by what they did themselves."""
        changes = [(each.began, 1) for each in self.runs if each.began is not None]
        changes += [(each.ended, -1) for each in self.runs if each.ended is not None]
        most = held = 0
        for _, change in sorted(changes):
            held += change
            most = max(most, held)
        return most

    @property
    def waits(self) -> list[float]:
        return [each.began - each.came for each in self.runs if each.began is not None]

    @property
    def overtaken_seconds(self) -> float:
        """How much later than any other one a host came that began before it, at most."""
        begun = sorted((each for each in self.runs if each.began is not None), key=_began)
        worst, latest = 0.0, 0.0
        for each in begun:
            worst = max(worst, latest - each.came)
            latest = max(latest, each.came)
        return worst


def _began(run: Run) -> float:
    return run.began or 0.0


class Died(Exception):
    """The power of a simulated host went."""


class HostRepository(ForwardingRepository):
    """What one host sees of the repository: requests take time, are counted, and end with it."""

    def __init__(self, repository: Repository, host: SimulatedHost) -> None:
        super().__init__(repository)
        self._host = host

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        with self._host.request("put"):
            return self._repository.put(key, chunks)

    def list(self, prefix: str) -> Iterator[Stored]:
        found = self._repository.list(prefix)
        while True:
            with self._host.request("list"):
                page = [each for each, _ in zip(found, range(PAGE), strict=False)]
            yield from page
            if len(page) < PAGE:
                return

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._host.request("get"), self._repository.open(key) as chunks:
            content = list(chunks)
        yield iter(content)

    def stat(self, key: str) -> Stored:
        with self._host.request("head"):
            return self._repository.stat(key)

    def delete(self, key: str) -> None:
        with self._host.request("delete"):
            self._repository.delete(key)


class SimulatedHost:
    """A host whose timer starts a backup at a random moment, and a verify after it."""

    def __init__(
        self, number: int, night: Night, *, time: VirtualTime, repository: Repository, log: Log
    ) -> None:
        self._number = number
        self._night = night
        self._time = time
        self._log = log
        self._random = Random(f"{night.seed} {number}")  # noqa: S311 - the same in each run
        self._repository = HostRepository(repository, self)
        self._status = HostStatus(
            host=self.name, job=self.name, number=0, at=BEGIN, version="0.1.0"
        )
        self._is_dead = False
        self._is_proving = False

    @property
    def name(self) -> str:
        return f"db{self._number:04}"

    def begin(self) -> None:
        self._time.begin(self._live, at=self._random.uniform(0, self._night.delay_seconds))

    @contextmanager
    def request(self, kind: str) -> Iterator[None]:
        if self._is_dead:
            raise RepositoryUnreachable(f"cannot reach the store: '{self.name}' is dead")
        self._time.sleep(self._night.answer_seconds / 2)
        self._log.requests.append((self._time.now, kind, self._number))
        yield
        self._time.sleep(self._night.answer_seconds / 2)

    def _live(self) -> None:
        run = Run(host=self._number, came=self._time.now)
        self._log.runs.append(run)
        began = self._clock()
        try:
            with self._guard().hold(self.name, deadline=None) as hold:
                run.began = self._time.now
                try:
                    self._back_up()
                    with self._alone():
                        hold.prove()
                    self._repository.put(f"{self.name}/backup/manifest.json", [b"{}"])
                finally:
                    run.ended = self._time.now
            run.outcome = "ok"
        except Died:
            run.outcome = "died"
            return
        except RepositoryBusy:
            run.outcome = "busy"
        self._leave_status(BACKUP, began, is_ok=run.outcome == "ok")
        at = VERIFY_AT_SECONDS + self._random.uniform(0, self._night.delay_seconds)
        self._time.sleep(max(0.0, at - self._time.now))
        self._leave_status(VERIFY, self._clock(), is_ok=True)

    def _back_up(self) -> None:
        seconds = self._random.lognormvariate(0, 0.6) / 1.2 * self._night.backup_seconds
        if self._number in self._night.dying:
            self._time.sleep(seconds / 2)
            self._die()
        for part in range(OBJECTS_OF_A_BACKUP - 1):
            self._time.sleep(seconds / (OBJECTS_OF_A_BACKUP - 1))
            self._repository.put(f"{self.name}/backup/parts/{part}", [b"rows"])

    def _die(self) -> None:
        self._is_dead = True
        raise Died

    def _wait(self, seconds: float) -> None:
        self._time.sleep(seconds)
        if self._number in self._night.dying_in_line:
            self._die()

    def _leave_status(self, command: str, began: datetime, *, is_ok: bool) -> None:
        now = self._clock()
        act = Act(
            command=command,
            outcome="ok" if is_ok else "skipped",
            began=began,
            ended=now,
            exit_code=0 if is_ok else RepositoryBusy.exit_code,
        )
        self._status = after(self._status, Happened(act=act), now=now)
        HostStatuses(self._repository).commit(self._status)

    def _guard(self) -> LeasedGuard:
        me = Process(host=self.name, boot_id=self.name, pid_space="", pid=1, started="1")
        night = self._night
        terms = Terms(
            run_id=self.name,
            lease_seconds=night.lease_seconds,
            clock=self._clock,
            me=me,
            seconds=lambda: self._time.now,
            beating=self._beating,
        )
        writers = Writers(
            self._repository,
            night.slots,
            terms,
            at_most=night.wait_at_most,
            sleep=self._wait,
            jitter=self._random.random,
        )
        return LeasedGuard(
            OwnedGuard(), self._repository, terms, writers=writers, sleep=self._time.sleep
        )

    def _beating(
        self, act: Callable[[], bool | None], *, pause: Callable[[], float], name: str
    ) -> AbstractContextManager[None]:
        def alone() -> bool | None:
            with self._alone():
                return act()

        return self._time.beating(alone, pause=pause, name=name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One proof at a time: a thread that waits for a real lock stops the time for everybody."""
        while self._is_proving:
            self._time.sleep(TURN_SECONDS)
        self._is_proving = True
        try:
            yield
        finally:
            self._is_proving = False

    def _clock(self) -> datetime:
        return (BEGIN + timedelta(seconds=self._time.now)).replace(microsecond=0)


def simulated(night: Night, repository: Repository) -> Log:
    """One night of all hosts, with the real requests to `repository`."""
    time, log = VirtualTime(), Log()
    for number in range(night.hosts):
        SimulatedHost(number, night, time=time, repository=repository, log=log).begin()
    time.run()
    return log
