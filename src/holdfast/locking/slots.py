"""At most so many hosts write to one repository at the same time; the others stand in line.

A slot is a lease that tells in a list whether it is free. A host that must wait puts a ticket,
whose name begins with the time: one list of `_slots` shows a waiting host the free slots and how
many hosts are before it. If there are more free slots than hosts before it, one of them is its own;
no two hosts want the same one. The further back a host stands, the more seldom it looks.

Tickets make no slot safe, the lease does: they only say whose turn it is. So a ticket needs no
heartbeat. Each time nobody takes a free slot for two heartbeats, twice as many hosts may, and who
passes others removes their tickets. A host that is alive puts its ticket again.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.locking.heartbeats import heartbeat_seconds, kept, look_seconds
from holdfast.locking.lease import MOST_NUMBERS, Lease, Terms, is_told_free
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    RepositoryBusy,
    RepositoryReadOnly,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.lazy_pattern import regex
from holdfast.runtime import events, kernel_calls
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from holdfast.ports.repository import Repository

SLOTS = "_slots"
LINE = "line"
# What a login that may not delete puts beside a ticket that no longer counts.
LEFT = ".left"
# After so many attempts that others won, a host stands in line.
TRIES = 3
HEARTBEATS_UNTAKEN = 2
# A login that may write can put any number of tickets: limits of one look, and of what one host
# removes.
MOST_TICKETS = 5_000
MOST_PASSED = 100
_GENERATION = regex(rf"{SLOTS}/(?P<slot>[1-9][0-9]{{0,3}})/(?P<number>[0-9]{{16}})")
_TICKET = regex(
    rf"{SLOTS}/{LINE}/(?P<name>[0-9]{{8}}T[0-9]{{12}}Z-(?P<until>[0-9]{{8}}T[0-9]{{6}}Z)"
    rf"-[0-9a-f]{{16}})(?P<left>{re.escape(LEFT)})?"
)


class Writers:
    """The slots of one repository, for the runs of one process.

    `tickets` is the same repository as one that tells when it refuses a delete.
    """

    def __init__(
        self,
        repository: Repository,
        count: int,
        terms: Terms,
        *,
        at_most: timedelta,
        tickets: Repository | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._repository = repository
        self._count = count
        self._terms = terms
        self._at_most = at_most
        self._tickets = tickets or repository
        self._sleep = sleep
        self._jitter = jitter

    @contextmanager
    def slot(self, job: str, *, deadline: datetime | None) -> Iterator[None]:
        """Hold one of the slots until the block ends.

        Raises `RepositoryBusy` if none is free for as long as this run may wait.
        """
        turn = _Turn(
            line=Line(self._tickets, self._terms, at_most=self._at_most),
            slots={
                number: Lease(
                    self._repository, f"{SLOTS}/{number}", self._terms, tells_when_free=True
                )
                for number in range(1, self._count + 1)
            },
            terms=self._terms,
            jitter=self._jitter,
        )
        with ExitStack() as standing:
            standing.enter_context(afterwards(turn.line.leave))
            with kept(self._taken(turn, job, deadline), self._terms):
                # Only now: a store that is slow to remove our ticket must not cost us the slot.
                standing.close()
                turn.line.remove(turn.passed)
                turn.line.tidy()
                yield

    def _taken(self, turn: _Turn, job: str, deadline: datetime | None) -> Lease:
        seconds = self._terms.seconds
        give_up_at = seconds() + self._at_most.total_seconds()
        while (lease := turn.attempt_and_join(job, deadline)) is None:
            left = give_up_at - seconds()
            if left <= 0:
                raise RepositoryBusy(
                    f"cannot run job '{job}': all {self._count} slots of its repository are taken",
                    hint="repository_slots sets how many hosts may write, wait_at_most how long"
                    " others wait",
                )
            self._sleep(min(turn.pause(), left))
        return lease


class Line:
    """The ticket of this run among those of all hosts that wait for a slot."""

    def __init__(self, repository: Repository, terms: Terms, *, at_most: timedelta) -> None:
        self._repository = repository
        self._terms = terms
        self._at_most = at_most
        self._is_stored = False
        self._over: list[str] = []
        self.mine = ""

    def join(self) -> bool:
        """Put our ticket, unless it is there; whether it is the first time."""
        is_first = not self.mine
        if is_first:
            begin = self._terms.clock()
            self.mine = (
                f"{begin:%Y%m%dT%H%M%S%fZ}-{begin + self._at_most:%Y%m%dT%H%M%SZ}"
                f"-{kernel_calls.token_hex(8)}"
            )
        if not self._is_stored:
            # Nobody reads it: it is for an operator who wonders which host waits.
            told = f"{self._terms.me.host} {self._terms.run_id}\n".encode()
            with suppress(AlreadyStored):
                self._repository.put(f"{SLOTS}/{LINE}/{self.mine}", [told])
            self._is_stored = True
        return is_first

    def leave(self) -> None:
        """Remove our ticket; if that fails, others pass it."""
        if self.mine:
            self.remove([self.mine])

    def remove(self, names: Iterable[str]) -> None:
        """Remove tickets, or mark them where the login may not delete."""
        with suppress(HoldfastError):
            for name in names:
                key = f"{SLOTS}/{LINE}/{name}"
                try:
                    self._repository.delete(key)
                except RepositoryReadOnly:
                    with suppress(AlreadyStored):
                        self._repository.put(f"{key}{LEFT}", [b"left\n"])

    def tidy(self) -> None:
        """Remove tickets that no longer count, such as those of logins that may only add."""
        with suppress(HoldfastError):
            for key in self._over[:MOST_PASSED]:
                self._repository.delete(key)

    def look(self) -> tuple[dict[int, int], list[str]]:
        """The highest generation of each slot, and the tickets before ours; with one list."""
        heads: dict[int, int] = {}
        before: list[str] = []
        now = f"{self._terms.clock():%Y%m%dT%H%M%SZ}"
        self._is_stored = False
        self._over = []
        for stored in self._repository.list(SLOTS):
            if generation := _GENERATION.fullmatch(stored.key):
                slot, number = int(generation["slot"]), int(generation["number"])
                if number < MOST_NUMBERS:
                    heads[slot] = max(heads.get(slot, 0), number)
            elif ticket := _TICKET.fullmatch(stored.key):
                name = ticket["name"]
                if self.mine and name >= self.mine:
                    # A list is in order of key: all others came later.
                    self._is_stored = name == self.mine
                    break
                if not ticket["left"] and ticket["until"] >= now:
                    before.append(name)
                else:
                    if before and before[-1] == name:
                        # Before its mark: without that, it would count again.
                        self._over.append(f"{SLOTS}/{LINE}/{before.pop()}")
                    self._over.append(stored.key)
                if len(before) + len(self._over) >= MOST_TICKETS:
                    self._is_stored = True
                    break
        return heads, before


@dataclass(slots=True, kw_only=True)
class _Turn:
    """What one run knows of the slots and of its place in line."""

    line: Line
    slots: dict[int, Lease]
    terms: Terms
    jitter: Callable[[], float]
    ahead: int = 0
    is_passing: bool = False
    passed: list[str] = field(default_factory=list)
    refused: dict[int, RepositoryRefused] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    unreachable_since: float | None = None

    def attempt_and_join(self, job: str, deadline: datetime | None) -> Lease | None:
        """As `attempt`; a host that gets no slot stands in line after it.

        Who stands in line bears a store that is unreachable for as long as one that writes does: up
        to a lease time. Before that, the error shows a wrong setting at once.
        """
        try:
            lease = self.attempt(deadline)
            if lease is None and self.line.join():
                events.info("slot_awaited", job=job, hosts_before=self.ahead)
        except RepositoryUnreachable as error:
            now = self.terms.seconds()
            since = now if self.unreachable_since is None else self.unreachable_since
            if not self.line.mine or now - since >= self.terms.lease_seconds:
                raise
            self.unreachable_since = since
            events.warning("slot_not_seen", job=job, problem=error.message)
            return None
        self.unreachable_since = None
        return lease

    def attempt(self, deadline: datetime | None) -> Lease | None:
        """A slot that is ours now, or None: wait, then call it again.

        Raises what `Lease.attempt` raises; `RepositoryRefused` only if no slot can be taken at all.
        """
        for _ in range(TRIES):
            heads, before = self.line.look()
            wanted = self._wanted(heads, len(before))
            if wanted is None:
                return None
            self.failed[wanted] = heads.get(wanted, 0)
            try:
                if self.slots[wanted].attempt(deadline=deadline):
                    self.passed = before[:MOST_PASSED] if self.is_passing else []
                    return self.slots[wanted]
            except RepositoryRefused as error:
                # One slot that is permanently damaged must not block the others.
                self.refused[wanted] = error
                if len(self.refused) == len(self.slots):
                    raise
        return None

    def _wanted(self, heads: dict[int, int], ahead: int) -> int | None:
        """The slot to try; None if all are taken, or due to hosts before us."""
        self.ahead = ahead
        for number, lease in self.slots.items():
            lease.saw(heads.get(number, 0))
        free = [each for each in self.slots if self._is_free(each, heads.get(each, 0))]
        if not free:
            return None
        untaken = max(self._untaken_seconds(each, heads.get(each, 0)) for each in free)
        doubled = int(untaken / (HEARTBEATS_UNTAKEN * heartbeat_seconds(self.terms)))
        self.is_passing = ahead >= len(free)
        if ahead >= len(free) << min(doubled, 32):
            return None
        if self.is_passing:
            return free[int(self.jitter() * len(free))]
        # Those in line have a slot each; who has just come takes any of the others.
        spread = 0 if self.line.mine else int(self.jitter() * (len(free) - ahead))
        return free[ahead + spread]

    def _is_free(self, slot: int, head: int) -> bool:
        if slot in self.refused:
            return False
        # The owner of a stale one may allow itself a longer lease time than we do: see `attempt`.
        is_stale = self.slots[slot].stale_seconds >= 0
        return is_stale or (is_told_free(head) and self.failed.get(slot) != head)

    def _untaken_seconds(self, slot: int, head: int) -> float:
        lease = self.slots[slot]
        return lease.unchanged_seconds if is_told_free(head) else lease.stale_seconds

    def pause(self) -> float:
        """The seconds until the next look: a host far back in line needs none for a while."""
        far = heartbeat_seconds(self.terms) * self.ahead / len(self.slots)
        near = look_seconds(self.terms)
        return min(max(far, near), self.terms.lease_seconds) * (0.5 + self.jitter())
