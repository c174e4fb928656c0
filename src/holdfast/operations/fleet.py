"""Leave the status of a job in its repositories, and gather those of all hosts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from holdfast.catalog.host_statuses import HostStatuses
from holdfast.model.errors import HoldfastError
from holdfast.model.host_status import Due, Happened, Holdings, HostStatus, after
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.host_state import LastStatus
from holdfast.ports.repository import Repository
from holdfast.ports.run import Clock
from holdfast.runtime import events
from holdfast.runtime.kernel import start

if TYPE_CHECKING:
    from holdfast.model.fleet import Allowed, Row, Told

# Of the time that a command waits for its status: the status matters more than what it lists.
LOOK_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavingContext:
    """The dependencies of leaving a status: this host's part of it, and where it goes.

    `dues` returns when each timer of the job starts next, given what began when. `holdings` looks
    at what the job's repository holds. `repositories` opens the repositories of the job, by name;
    each may fail on its own.
    """

    begun: HostStatus
    dues: Callable[[HostStatus, Mapping[str, datetime]], tuple[Due, ...]]
    last: LastStatus
    repositories: Mapping[str, Callable[[], Repository]]
    clock: Clock
    holdings: Callable[[], Holdings | None] = lambda: None

    def leave(self, happened: Happened, *, seconds: float) -> bool:
        """Leave the status after one more command in each repository of the job.

        Returns within `seconds`, and whether it ended; never raises an error. A repository that
        does not answer in time keeps the earlier status, and the log says so.
        """
        thread = _begun(partial(_leave, self, happened, seconds=seconds * LOOK_SHARE))
        thread.join(seconds)
        if thread.is_alive():
            _not_left(self, f"no answer within {seconds:g} seconds")
        return not thread.is_alive()


def _begun(work: Callable[[], None]) -> threading.Thread:
    """A thread that does the work; a daemon, as the process may end although a store hangs."""
    thread = threading.Thread(target=work, name="host-status", daemon=True)
    start(thread)
    return thread


def _leave(context: LeavingContext, happened: Happened, *, seconds: float) -> None:
    with _told(context):
        stores = _opened(context)
        happened = replace(happened, holdings=_looked(context, happened, seconds=seconds))
        status = _updated(context, happened, list(stores.values()))
        # Side by side: a mirror that hangs must not keep the status from the others.
        threads = [
            _begun(partial(_put, context, store, status, name=name))
            for name, store in stores.items()
        ]
        for thread in threads:
            thread.join()


def _looked(context: LeavingContext, happened: Happened, *, seconds: float) -> Holdings | None:
    """What the repository holds after the command; None if that takes longer than `seconds`.

    The earlier list then stays, with its time.
    """
    if not happened.changes_holdings:
        return None
    found: list[Holdings | None] = []

    def look() -> None:
        with _told(context):
            found.append(context.holdings())

    thread = _begun(look)
    thread.join(seconds)
    return found[0] if found else None


@contextmanager
def _told(context: LeavingContext, *, repository: str = "") -> Iterator[None]:
    """Log every error: in a thread of its own nobody else would tell it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a status never fails what it is about
        cause = error.message if isinstance(error, HoldfastError) else repr(error)
        _not_left(context, cause, repository=repository)


def _opened(context: LeavingContext) -> dict[str, Repository]:
    found: dict[str, Repository] = {}
    for name, opened in context.repositories.items():
        with _told(context, repository=name):
            found[name] = opened()
    return found


def _updated(
    context: LeavingContext, happened: Happened, stores: Sequence[Repository]
) -> HostStatus:
    """The next status, remembered on this host; a full disk here must not keep it from leaving."""
    begun, act = context.begun, happened.act

    def next_one(known: HostStatus | None) -> HostStatus:
        before = known or _found(begun, stores) or begun
        dues = context.dues(before, {act.command: act.began})
        current = replace(
            before,
            host=begun.host,
            version=begun.version,
            overdue_seconds=begun.overdue_seconds,
            tuning=begun.tuning,
            dues=dues,
        )
        return after(current, happened, now=context.clock())

    return context.last.replaced(begun.job, next_one)


def _found(begun: HostStatus, stores: Sequence[Repository]) -> HostStatus | None:
    """What this host told before it lost its memory."""
    for store in stores:
        try:
            found = HostStatuses(store).of(begun.job, begun.host)
        except HoldfastError:
            continue
        if found is not None:
            return found
    return None


def _put(context: LeavingContext, store: Repository, status: HostStatus, *, name: str) -> None:
    with _told(context, repository=name):
        HostStatuses(store).commit(replace(status, free_bytes=store.free_bytes()))
        events.debug("host_status_left", job=status.job, repository=name)


def _not_left(context: LeavingContext, error: str, *, repository: str = "") -> None:
    where = {"repository": repository} if repository else {}
    events.warning("host_status_not_left", job=context.begun.job, error=error, **where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A row for each job of each host, worst first, and the repositories that cannot be read.

    `read_at` is when each repository could be read last.
    """

    rows: tuple[Row, ...]
    unseen: Mapping[str, HoldfastError]
    read_at: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def needs_attention(self) -> bool:
        return any(each.why for each in self.rows)


def fleet(
    repositories: Mapping[str, Callable[[], Repository]],
    expected: Iterable[tuple[str, str]] = (),
    *,
    max_age: timedelta | None = None,
    max_drill_age: timedelta | None = None,
    now: datetime,
) -> Fleet:
    """Read what all hosts left in `repositories`, once."""
    from holdfast.model.fleet import Allowed

    allowed = Allowed(age=max_age, drill_age=max_drill_age)
    return FleetReader(repositories, allowed).read(expected, now=now)


class FleetReader:
    """Reads what all hosts left in `repositories`; one that cannot be read hides no other.

    It remembers what it read last of each, and shows that while a repository cannot be read.
    """

    def __init__(
        self, repositories: Mapping[str, Callable[[], Repository]], allowed: Allowed
    ) -> None:
        self._repositories = repositories
        self._allowed = allowed
        self._last: dict[str, list[Told]] = {}
        self._read_at: dict[str, datetime] = {}

    def read(self, expected: Iterable[tuple[str, str]] = (), *, now: datetime) -> Fleet:
        """Makes one list of each repository, and one read for each job of each host."""
        from holdfast.model.fleet import rows_of  # not where a status is only left

        unseen: dict[str, HoldfastError] = {}
        for name, opened in self._repositories.items():
            try:
                self._last[name] = _told_in(name, opened())
                self._read_at[name] = now
            except HoldfastError as error:
                unseen[name] = error
        told = [each for found in self._last.values() for each in found]
        # Who seems to be missing may have told its state where nobody could ever read it.
        wanted = () if unseen.keys() - self._last.keys() else expected
        rows = rows_of(told, wanted, allowed=self._allowed, now=now)
        return Fleet(rows=tuple(rows), unseen=unseen, read_at=dict(self._read_at))


def _told_in(name: str, repository: Repository) -> list[Told]:
    from holdfast.model.fleet import Told

    return [
        Told(
            job=each.job,
            host=each.host,
            status=each.status,
            repositories=(name,),
            problem=each.problem,
        )
        for each in HostStatuses(repository).all()
    ]


def forget(repositories: Mapping[str, Callable[[], Repository]], host: str) -> int:
    """Remove all that a host left in any of the repositories; how many statuses that were."""
    return sum(HostStatuses(opened()).forget(host) for opened in repositories.values())
