"""Leases in a repository that many hosts write to, with nothing but put, list and delete.

A lease is a sequence of numbered objects, its generations; the highest number counts. A put never
replaces an object, so if two hosts put the same number, one of them is refused. The owner puts a
new generation with every heartbeat, and at the end one that says that the lease is free.

Another owner's lease is taken over only with proof. Either its process has ended on this very
kernel, or no new generation came for the whole lease time, which each host measures by its own
clock. Numbers are never used again: an owner that slept through all of this finds a higher number
than its own when it wakes, and knows that it lost the lease.

A lease that `tells_when_free` says in the name of its generation whether it has an owner: the
number of a held one is odd, that of a released one even. So a list tells which of many leases are
worth an attempt. The name proves nothing, as older versions count by one: an attempt always reads.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from holdfast.locking.host_lock import Process, boot_seconds, has_ended, this_process
from holdfast.model.checked import Fits, Length, Range
from holdfast.model.errors import (
    AlreadyStored,
    LeaseLost,
    ManifestInvalid,
    ObjectMissing,
    RepositoryReadOnly,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.model.lazy_dataclass import dataclass, field, replace
from holdfast.model.stored_json import Limits, Unreadable, parsed, plain, typed
from holdfast.model.values import Line, tells_moment
from holdfast.ports.repository import Repository, Stored, read_document
from holdfast.ports.run import Clock
from holdfast.runtime import events, kernel_calls
from holdfast.runtime.cleanup import periodically

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


# Wide enough that the order of names is always the order of numbers.
DIGITS = 16
# Out of reach: a beat every millisecond takes 30,000 years. A higher number is not from holdfast.
MOST_NUMBERS = 10**15
LOOKS = 5
MOST_IN_THE_WAY = 50
_NUMBER = re.compile(rf"[0-9]{{{DIGITS}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings that all leases of one process share.

    `beating` calls a function again and again beside a block, as `periodically` does.
    """

    run_id: str
    lease_seconds: float
    clock: Clock
    me: Process = field(default_factory=this_process)
    seconds: Callable[[], float] = boot_seconds
    beating: Callable[..., AbstractContextManager[None]] = periodically


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The highest generation, 0 if there is none; `claim` is None if it cannot be read."""

    number: int
    claim: LeaseRecord | None = None


class Lease:
    """The exclusive right to `folder`: at most one owner at a time over all hosts."""

    def __init__(
        self, repository: Repository, folder: str, terms: Terms, *, tells_when_free: bool = False
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._terms = terms
        self._tells_when_free = tells_when_free
        self._token = kernel_calls.token_hex(16)
        self._lock = threading.Lock()
        self._mine: LeaseRecord | None = None
        self._number = 0
        self._renewed = 0.0
        self._watched: int | None = None
        self._told: set[str] = set()
        self._watched_since = 0.0
        self._patience = terms.lease_seconds
        self.is_proven_alive = False
        """Whether another owner's heartbeat was seen during our attempts."""

    def attempt(self, *, deadline: datetime | None) -> bool:
        """Become the owner, if the lease is provably free; False means: wait, then call it again.

        Raises what `Repository.put` raises, and `RepositoryRefused` if no number is left.
        """
        looked_at = self._terms.seconds()
        head = self._head()
        because = self._why_free(head, looked_at)
        if not because:
            return False
        claim = LeaseRecord(
            token=self._token,
            held=True,
            owner=self._terms.me,
            run_id=self._terms.run_id,
            started_at=self._terms.clock().isoformat(timespec="seconds"),
            deadline=deadline.isoformat(timespec="seconds") if deadline else "",
            lease_seconds=self._terms.lease_seconds,
            because=because,
        )
        number = self._after(head.number, held=True)
        if number >= MOST_NUMBERS:
            raise RepositoryRefused(
                f"cannot take the lease '{self._folder}': '{self._key(head.number)}' has the last"
                " number",
                hint="no host reaches this number: find out who wrote the object, and remove it",
            )
        with self._lock:
            return self._put(number, claim)

    def look(self) -> bool:
        """Whether the lease seems to be free; an attempt takes it only if nothing changes until
        then."""
        looked_at = self._terms.seconds()
        head = self._head()
        is_free = bool(self._why_free(head, looked_at))
        self.saw(head.number)
        return is_free

    def saw(self, number: int) -> None:
        """Somebody listed `number` as the highest generation: watch it from now on."""
        if number != self._watched:
            self._watch(number)

    @property
    def unchanged_seconds(self) -> float:
        """How long the generation that is watched has been the highest."""
        return 0.0 if self._watched is None else self._terms.seconds() - self._watched_since

    @property
    def stale_seconds(self) -> float:
        """How much longer than a lease time no heartbeat came; below zero while the owner may live.

        The lease time is ours, or that of the owner if it was read and is longer.
        """
        return self.unchanged_seconds - self._patience

    def renew(self) -> None:
        """Put the next generation: a heartbeat, and the proof that nobody has taken over.

        Raises `LeaseLost`, and what `Repository.put` raises if the store does not answer.
        """
        with self._lock:
            if self._mine is None or not self._put(
                self._after(self._number, held=True), self._mine
            ):
                self._mine = None
                raise self._lost()

    @property
    def is_expired(self) -> bool:
        """Whether the lease time has passed, so that others may rightly take over."""
        return self._terms.seconds() - self._renewed >= self._terms.lease_seconds

    def release(self) -> None:
        """Say that the lease is free; if that fails, others find out when the heartbeats stop."""
        with self._lock:
            if self._mine is not None:
                number = self._after(self._number, held=False)
                self._put(number, replace(self._mine, held=False, because="its run ended"))
                self._mine = None

    def holder(self) -> LeaseRecord | None:
        """The owner, if there is one and as far as this host can tell; changes nothing."""
        claim = self._head().claim
        ended = claim is None or not claim.held or has_ended(claim.owner, seen_from=self._terms.me)
        return None if ended else claim

    def _why_free(self, head: Head, looked_at: float) -> str:
        """Why the lease may be taken; empty if it has an owner, or may have one."""
        if self._watched not in (None, head.number):
            self.is_proven_alive = True
            self._watch(head.number)
            return ""
        claim = head.claim
        if head.number == 0:
            return "it had no owner before"
        if claim is not None and claim.token == self._token:
            return "this run owns it already"
        if claim is not None and not claim.held:
            return "its last owner released it"
        if claim is not None and has_ended(claim.owner, seen_from=self._terms.me):
            return f"process {claim.owner.pid} on this host has ended"
        if self._watched is None:
            self._watch(head.number)
        self._patience = max(claim.lease_seconds if claim else 0.0, self._terms.lease_seconds)
        if looked_at - self._watched_since >= self._patience:
            return f"no heartbeat arrived for {self._patience:g} s"
        return ""

    def _watch(self, number: int) -> None:
        """Watch `number` from now on; the generation may be younger than the start of the look."""
        self._watched, self._watched_since = number, self._terms.seconds()
        self._patience = self._terms.lease_seconds

    def _after(self, number: int, *, held: bool) -> int:
        """The number of the next generation: all who take the lease after `number` get the same, so
        that only one of them succeeds."""
        following = number + 1
        return following + int(self._tells_when_free and is_told_free(following) == held)

    def _put(self, number: int, claim: LeaseRecord, *, stepped_over: int = 0) -> bool:
        """Put `claim` as the highest generation, and remove those below; whether that succeeded."""
        began = self._terms.seconds()
        try:
            self._repository.put(self._key(number), [encode(claim)])
        except AlreadyStored:
            # It may be our own put, whose answer was lost. Others may have watched that generation
            # ever since, so it does not count as a heartbeat of now: the next one does.
            if not self._is_ours(number) and not self._is_in_the_way(number, stepped_over):
                return False
            following = self._after(number, held=claim.held)
            return self._put(following, claim, stepped_over=stepped_over + 1)
        events.reached("lease-put")
        numbers = self._numbers()
        is_highest = max(numbers, default=0) == number
        if is_highest:
            self._mine, self._number, self._renewed = claim, number, began
            self._remove(each for each in numbers if each < number)
            events.reached("lease-held")
        else:
            # Too late: the generation before it was already replaced and removed.
            self._remove([number])
        return is_highest

    def _is_in_the_way(self, number: int, stepped_over: int) -> bool:
        """Whether the name is taken by something else than a generation, such as a folder.

        A generation would be in the list of the store.
        """
        if max(self._numbers(), default=0) >= number:
            return False
        self._tell_damaged(self._key(number))
        if stepped_over >= MOST_IN_THE_WAY:
            raise RepositoryRefused(
                f"cannot take the lease '{self._folder}': '{self._key(number)}' and the objects"
                " before it are not leases",
                hint="find out what they are, and remove them",
            )
        return True

    def _is_ours(self, number: int) -> bool:
        try:
            found = self._read(number)
        except ObjectMissing:
            return False
        return found is not None and found.token == self._token

    def _remove(self, numbers: Iterable[int]) -> None:
        """Remove old generations; it does no harm if the store refuses, as the highest counts."""
        with suppress(RepositoryReadOnly, RepositoryUnreachable):
            for number in numbers:
                self._repository.delete(self._key(number))

    def _head(self) -> Head:
        """The highest generation; tried again if it is removed between the list and the read."""
        for _ in range(LOOKS):
            found = self._generations()
            number = max(found, default=0)
            if number == 0:
                return Head(number=0)
            try:
                return Head(number=number, claim=self._read(number, found[number]))
            except ObjectMissing:
                continue
        return Head(number=number)

    def _read(self, number: int, stored: Stored | None = None) -> LeaseRecord | None:
        key = self._key(number)
        try:
            claim = decode(read_document(self._repository, key, LIMITS, stored=stored))
        except ManifestInvalid:
            claim = None
        if claim is None:
            self._tell_damaged(key)
        return claim

    def _numbers(self) -> list[int]:
        return list(self._generations())

    def _generations(self) -> dict[int, Stored]:
        found: dict[int, Stored] = {}
        for stored in self._repository.list(self._folder):
            name = stored.key.rpartition("/")[2]
            # An object in a folder below is not a generation, whatever its name.
            if _NUMBER.fullmatch(name) and stored.key == self._key(int(name)):
                found[int(name)] = stored
        for number in [each for each in found if each >= MOST_NUMBERS]:
            self._tell_damaged(self._key(number))
            del found[number]
        return found

    def _tell_damaged(self, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            events.warning("lease_damaged", key=key)

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:0{DIGITS}}"

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"cannot continue with the lease '{self._folder}': another host has taken it over",
            hint="this host was cut off for longer than lease_time; the other host's run makes the"
            " backup",
        )


SCHEMA = "holdfast.lease/1"
LIMITS = Limits(size_bytes=1 << 16, containers=100)
# A longer lease can only have been written to keep others out.
MOST_LEASE_SECONDS = 7 * 24 * 3600.0
TOKEN_BYTES = 200


def is_told_free(number: int) -> bool:
    """Whether the highest generation of a lease that `tells_when_free` says that it has no owner.

    0 stands for a lease that nobody ever took.
    """
    return number % 2 == 0


def _is_moment_or_none(text: str) -> bool:
    return not text or tells_moment(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """One generation of a lease; `token` is the same in all generations of one owner."""

    token: Annotated[str, Length(at_most=TOKEN_BYTES)]
    held: bool
    owner: Process
    run_id: Line
    started_at: Annotated[Line, Fits(tells_moment)]
    deadline: Annotated[Line, Fits(_is_moment_or_none)]
    lease_seconds: Annotated[float, Range(above=0, at_most=MOST_LEASE_SECONDS)]
    because: Line

    @property
    def described(self) -> dict[str, str]:
        """The owner in the format of `Guard.owner`."""
        return {
            "host": self.owner.host,
            "pid": str(self.owner.pid),
            "boot_id": self.owner.boot_id,
            "process_started": self.owner.started,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "deadline": self.deadline,
        }


def encode(claim: LeaseRecord) -> bytes:
    return json.dumps({"schema": SCHEMA, **plain(claim)}, indent=1).encode() + b"\n"


def decode(data: bytes) -> LeaseRecord | None:
    """The claim in `data`; None if it is damaged, which proves nothing."""
    try:
        found = parsed(data, LIMITS)
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            return None
        # Require a real boolean: a wrong type must not pass for False, which frees the lease.
        return typed(LeaseRecord, found) if isinstance(found.get("held"), bool) else None
    except Unreadable:
        return None
