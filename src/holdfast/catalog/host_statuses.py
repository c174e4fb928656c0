"""The statuses that hosts leave in a repository: `_status/JOB/HOST.NAME.status.json`.

A put never replaces an object, and an append-only login deletes none. So each status has a key of
its own, and the highest name of a host counts; `prune` removes what a host could not. They are
signed where manifests are signed, and read as what an intruder may have written.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import STATUSES, StatusPlace, status_key, status_place_of
from holdfast.model.errors import ManifestInvalid, ObjectMissing, RepositoryReadOnly
from holdfast.model.host_status import AHEAD, SCHEMA, STATUS, HostStatus
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import Unreadable, damaged, plain, typed
from holdfast.ports.repository import Repository, Stored, read_document
from holdfast.runtime.worker_pool import WorkerPool

NAME = "status"
AT_ONCE = 16
# Of one host and job: the newest one, and those before it if that cannot be trusted.
CANDIDATES = 3
# Of one host: what it left itself, and what a refused delete left.
TIDIED = 2
MOST = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The newest status of a host about a job that can be trusted; None if none can.

    `problem` says why a newer one cannot be trusted, or read; empty if there is none.
    """

    job: str
    host: str
    status: HostStatus | None
    problem: str = ""


class HostStatuses:
    """Reads and writes the statuses in one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def commit(self, status: HostStatus) -> None:
        """Store a status, then remove the earlier ones of its host, as far as the store allows.

        Raises what `Repository.put` raises.
        """
        body = plain(status)
        mine = StatusPlace(status.job, status.host, status.name)
        self._repository.put(status_key(mine), [wrapped(body, schema=SCHEMA, name=NAME)])
        earlier = [
            place
            for place, _ in self._listed(status.job)
            if place.host == status.host and (place.name < mine.name or _is_ahead(place, status.at))
        ]
        for place in heapq.nlargest(TIDIED, earlier, key=lambda each: each.name):
            try:
                self._repository.delete(status_key(place))
            except RepositoryReadOnly:
                # An append-only login: nobody has to hear that after each run.
                return

    def of(self, job: str, host: str) -> HostStatus | None:
        """The newest status of that host about that job, if it can be trusted."""
        return next((each.status for each in self._newest(self._of_host(job, host))), None)

    def all(self) -> list[Reported]:
        """What each host told last of each job: one list, and one read for each."""
        return self._newest(self._listed(""))

    def _newest(self, listed: Iterable[tuple[StatusPlace, Stored]]) -> list[Reported]:
        found: dict[tuple[str, str], list[tuple[str, Stored]]] = {}
        left: list[Reported] = []
        for place, stored in listed:
            if (place.job, place.host) not in found and len(found) >= MOST:
                left = left or [_left_out(place)]
            else:
                candidates = found.setdefault((place.job, place.host), [])
                candidates.append((place.name, stored))
                # A listing is in order of key, so that the newest of a host comes last.
                del candidates[:-CANDIDATES]
        return [*WorkerPool(AT_ONCE).map(found.items(), self._reported), *left]

    def _reported(self, listed: tuple[tuple[str, str], Sequence[tuple[str, Stored]]]) -> Reported:
        (job, host), candidates = listed
        found = self._first_of(job, host, candidates)
        if found.status is None and not found.problem:
            # The host has replaced them all since the list was made.
            newer = [(place.name, stored) for place, stored in self._of_host(job, host)]
            found = self._first_of(job, host, newer[-CANDIDATES:])
        return found

    def _first_of(self, job: str, host: str, candidates: Sequence[tuple[str, Stored]]) -> Reported:
        problem = ""
        for name, stored in reversed(candidates):
            try:
                status = self._read(StatusPlace(job, host, name), stored)
            except ObjectMissing:
                continue
            except ManifestInvalid as error:
                problem = problem or error.message
            else:
                return Reported(job=job, host=host, status=status, problem=problem)
        return Reported(job=job, host=host, status=None, problem=problem)

    def _read(self, place: StatusPlace, stored: Stored) -> HostStatus:
        key = status_key(place)
        data = read_document(self._repository, key, STATUS, stored=stored)
        _, body = unwrapped(data, schemas=[SCHEMA], name=NAME, key=key, limits=STATUS)
        try:
            status = typed(HostStatus, body)
        except Unreadable as error:
            raise damaged(key, error) from error
        if StatusPlace(status.job, status.host, status.name) != place:
            raise ManifestInvalid(
                f"cannot read '{key}': it is a status of '{status.host}' about '{status.job}'",
                hint="it was moved after it was written",
            )
        return status

    def drop_superseded(self, job: str) -> int:
        """Remove all but the newest trusted status of each host about `job`, and newer ones.

        For a login that may delete: those of hosts that may not pile up.
        """
        listed = list(self._listed(job))
        counts = Counter(place.host for place, _ in listed)
        several = [each for each in listed if counts[each[0].host] > 1]
        newest = {
            each.host: each.status.name for each in self._newest(several) if each.status is not None
        }
        old = [place for place, _ in several if place.name < newest.get(place.host, "")]
        for place in old:
            self._repository.delete(status_key(place))
        return len(old)

    def forget(self, host: str) -> int:
        """Remove every status of a host; returns how many there were."""
        places = [place for place, _ in self._listed("") if place.host == host]
        for place in places:
            self._repository.delete(status_key(place))
        return len(places)

    def sweep(self, job: str) -> int:
        """Remove what interrupted puts left."""
        return self._repository.sweep(f"{STATUSES}/{job}")

    def _of_host(self, job: str, host: str) -> Iterable[tuple[StatusPlace, Stored]]:
        return (each for each in self._listed(job) if each[0].host == host)

    def _listed(self, job: str) -> Iterable[tuple[StatusPlace, Stored]]:
        for stored in self._repository.list(f"{STATUSES}/{job}" if job else STATUSES):
            place = status_place_of(stored.key)
            if place is not None:
                yield place, stored


def _left_out(place: StatusPlace) -> Reported:
    """Who writes thousands of statuses must not make those of others disappear unseen."""
    problem = f"its status was not read, like all after it: the repository holds more than {MOST}"
    return Reported(job=place.job, host=place.host, status=None, problem=problem)


def _is_ahead(place: StatusPlace, now: datetime) -> bool:
    """Whether the status was written by a clock that is ahead of `now`."""
    return place.name > f"{now + AHEAD:%Y%m%dT%H%M%SZ}"
