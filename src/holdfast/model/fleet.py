"""All jobs of all hosts, judged by what they told: which need attention, and why, worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from holdfast.model.errors import ManifestInvalid, ManifestUntrusted, RepositoryFull, VerifyFailed
from holdfast.model.host_status import (
    AHEAD,
    BACKUP,
    COMMANDS,
    DRILL,
    VERIFY,
    Act,
    HostStatus,
    host_key,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import MANIFEST, Unreadable, gathered, parsed, typed
from holdfast.model.suspicion import median
from holdfast.model.units import size, span

DAMAGE = (VerifyFailed.exit_code, ManifestInvalid.exit_code, ManifestUntrusted.exit_code)


class State(StrEnum):
    """What a job needs, the worst first."""

    UNTRUSTED = "untrusted"
    MISSING = "missing"
    DAMAGED = "damaged"
    SILENT = "silent"
    STOPPED = "stopped"
    FULL = "full"
    FAILED = "failed"
    OVERDUE = "overdue"
    UNDRILLED = "undrilled"
    UNVERIFIED = "unverified"
    UNTUNED = "untuned"
    OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one host told about one job; `problem` is why not all in `repositories` counts."""

    job: str
    host: str
    status: HostStatus | None
    repositories: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """How old the newest backup and the newest drill may be, beside what each job's host allows."""

    age: timedelta | None = None
    drill_age: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One job of one host; `why` is empty if it needs no attention."""

    job: str
    host: str
    state: State
    why: str = ""
    hint: str = ""
    status: HostStatus | None = None
    repositories: tuple[str, ...] = ()

    @property
    def growth(self) -> float | None:
        """How much larger the last day's backups are than usual, as a share; None if unknown."""
        days = self.status.days if self.status is not None else ()
        sizes = [each.stored_bytes for each in days if each.stored_bytes]
        usual = median(sizes[:-1]) if len(sizes) > 1 else 0
        return sizes[-1] / usual - 1 if usual else None


def rows_of(
    told: Iterable[Told],
    expected: Iterable[tuple[str, str]] = (),
    *,
    allowed: Allowed,
    now: datetime,
) -> list[Row]:
    """A row for each job of each host, worst first; `expected` are pairs of a host and a job.

    An empty job stands for any of the host.
    """
    known = _owners(_merged(told))
    rows = [_judged(each, allowed, now=now) for each in known]
    hosts = _Hosts(known)
    rows += [_missing(host, job) for host, job in expected if not hosts.have(host, job)]
    order = list(State)
    return sorted(rows, key=lambda each: (order.index(each.state), each.host, each.job))


def _merged(told: Iterable[Told]) -> list[Told]:
    """One for each host and job, whose newest status counts, wherever it was left."""
    found: dict[tuple[str, str], Told] = {}
    for each in told:
        known = found.get((each.host, each.job))
        found[each.host, each.job] = each if known is None else _newer(known, each)
    return list(found.values())


def _newer(one: Told, other: Told) -> Told:
    newest = max((one, other), key=_order)
    return replace(
        newest,
        repositories=(*one.repositories, *other.repositories),
        problem=one.problem or other.problem,
    )


def _order(told: Told) -> tuple[str, int]:
    return (told.status.name, told.status.number) if told.status is not None else ("", 0)


def _owners(told: Sequence[Told]) -> list[Told]:
    """The hosts that back a job up, with what others drilled and verified of it."""
    by_job: defaultdict[str, list[Told]] = defaultdict(list)
    for each in told:
        by_job[each.job].append(each)
    return [owner for group in by_job.values() for owner in _owners_of_job(group)]


def _owners_of_job(told: Sequence[Told]) -> list[Told]:
    makers = [each for each in told if each.status is not None and each.status.backs_up]
    if not makers:
        return list(told)
    others = [each for each in told if each not in makers]
    return [
        *(_helped(each, [other for other in others if _share(each, other)]) for each in makers),
        *(each for each in others if each.problem),
    ]


def _share(one: Told, other: Told) -> bool:
    return not set(one.repositories).isdisjoint(other.repositories)


def _helped(told: Told, helpers: Iterable[Told]) -> Told:
    status = told.status
    others = [each.status for each in helpers if each.status is not None]
    if status is None or not others:
        return told
    acts = {each.command: each for each in status.acts}
    for act in (act for each in others for act in each.acts):
        known = acts.get(act.command)
        if known is None or known.ended < act.ended:
            acts[act.command] = act
    drills = [each.drilled for each in (status, *others) if each.drilled is not None]
    newest = max(drills, key=lambda each: each.ended, default=None)
    return replace(told, status=replace(status, acts=tuple(acts.values()), drilled=newest))


class _Hosts:
    """The jobs that hosts told about, found by any name of the host."""

    def __init__(self, told: Iterable[Told]) -> None:
        self._jobs: defaultdict[str, list[Told]] = defaultdict(list)
        for each in told:
            self._jobs[_label(each.host)].append(each)

    def have(self, host: str, job: str) -> bool:
        of_label = self._jobs.get(_label(host), ())
        return any(job in ("", each.job) and same_host(host, each.host) for each in of_label)


def _label(host: str) -> str:
    return host_key(host).lower().partition(".")[0]


def same_host(expected: str, told: str) -> bool:
    """Whether two names mean one host: an inventory may use the long name, a kernel the short."""
    one, other = host_key(expected).lower(), host_key(told).lower()
    return one == other if "." in one and "." in other else _label(one) == _label(other)


def _missing(host: str, job: str) -> Row:
    return Row(
        job=job,
        host=host,
        state=State.MISSING,
        why="it never reported: it was not deployed, or no run of it ended so far",
        hint="deploy the host (playbooks/deploy.yml), and start its backup once",
    )


def _judged(told: Told, allowed: Allowed, *, now: datetime) -> Row:
    state, why, hint = _verdict(told, allowed, now=now)
    return Row(
        job=told.job,
        host=told.host,
        state=state,
        why=why,
        hint=hint,
        status=told.status,
        repositories=told.repositories,
    )


Verdict = tuple[State, str, str]
GOOD: Verdict = (State.OK, "", "")


def _verdict(told: Told, allowed: Allowed, *, now: datetime) -> Verdict:
    status = told.status
    if told.problem or status is None:
        hint = "find out who wrote it: only the host itself should (docs/fleet.md)"
        return State.UNTRUSTED, told.problem or "its status cannot be read", hint
    for what, at in _moments(status):
        if at > now + AHEAD:
            why = f"its {what} is from the future ({at:%Y-%m-%d %H:%M}Z): its clock is wrong"
            return State.UNTRUSTED, why, "set the clock of the host, or of this one"
    found = [
        *_of_acts(status),
        *(each for command in COMMANDS for each in _of_due(status, command, now=now)),
        *_of_ages(status, allowed, now=now),
        *_of_room(status),
        *_of_tuning(status),
    ]
    order = list(State)
    return min(found, key=lambda each: order.index(each[0]), default=GOOD)


def _moments(status: HostStatus) -> Iterable[tuple[str, datetime]]:
    """What can only have happened; later than now, it would count as new for ever."""
    yield "status", status.at
    if status.newest is not None:
        yield "newest backup", status.newest.taken_at
    if status.drilled is not None:
        yield "newest drill", status.drilled.ended


def _of_acts(status: HostStatus) -> Iterable[Verdict]:
    """What the last run of each command found."""
    backup, verify, drill = (status.act(each) for each in (BACKUP, VERIFY, DRILL))
    if verify is not None and verify.failed:
        is_damage = verify.exit_code in DAMAGE
        yield State.DAMAGED if is_damage else State.FAILED, _said("verify", verify), verify.hint
    if backup is not None and backup.failed:
        is_full = backup.exit_code == RepositoryFull.exit_code
        yield State.FULL if is_full else State.FAILED, _said("backup", backup), backup.hint
    if drill is not None and drill.failed:
        yield State.FAILED, _said("drill", drill), drill.hint


def _said(what: str, act: Act) -> str:
    return f"its last {what} failed: {act.error or f'exit code {act.exit_code}'}"


_LATE = {BACKUP: State.OVERDUE, DRILL: State.UNDRILLED, VERIFY: State.UNVERIFIED}


def _of_due(status: HostStatus, command: str, *, now: datetime) -> Iterable[Verdict]:
    """Whether the timer of a command is late by its own schedule."""
    due = status.due(command)
    if due is None:
        return
    unit = f"holdfast-{command}-{status.job}.timer"
    if due.timer is False:
        state = State.STOPPED if command == BACKUP else _LATE[command]
        yield state, f"its {command} has a schedule, and its timer does not run", _enable(unit)
    act = status.act(command)
    if due.next_at is None or due.latest is None or now <= due.latest:
        return
    if act is not None and act.began >= due.next_at:
        return
    was = f"its {command} was due at {due.next_at:%Y-%m-%d %H:%M}Z"
    if status.at <= due.latest:
        why = f"{was}, and it has told nothing since {status.at:%Y-%m-%d %H:%M}Z"
        yield State.SILENT if command == BACKUP else _LATE[command], why, _look(unit)
    else:
        yield _LATE[command], f"{was}, and only other commands ran since", _look(unit)


def _enable(unit: str) -> str:
    return f"on the host: systemctl enable --now {unit}"


def _look(unit: str) -> str:
    return f"is the host up? On it: systemctl list-timers --all {unit}"


def _of_ages(status: HostStatus, allowed: Allowed, *, now: datetime) -> Iterable[Verdict]:
    own = status.overdue_seconds
    limits = [("--max-age", allowed.age)]
    limits += [("overdue_after", timedelta(seconds=own))] if own is not None else []
    newest = status.newest
    for set_by, age in limits:
        if age is not None and newest is None:
            yield State.OVERDUE, "it has no good backup", ""
        elif age is not None and newest is not None and now - newest.taken_at > age:
            yield State.OVERDUE, f"its newest backup is older than {set_by} allows", ""
    if allowed.drill_age is not None and status.drilled is None:
        yield State.UNDRILLED, "no drill ever brought a backup back", _drill(status)
    elif allowed.drill_age is not None and status.drilled is not None:
        age = now - status.drilled.ended
        if age > allowed.drill_age:
            yield State.UNDRILLED, f"its newest good drill is {span(age)} old", _drill(status)


def _drill(status: HostStatus) -> str:
    return f"on the host: holdfast drill {status.job}"


def _of_room(status: HostStatus) -> Iterable[Verdict]:
    newest, free = status.newest, status.free_bytes
    last = status.days[-1].stored_bytes if status.days else 0
    needed = max(last, newest.stored_bytes) if newest is not None else last
    if free is not None and free < needed:
        why = f"{size(free)} are free, and the last backup took {size(needed)}"
        yield State.FULL, why, "free space, or keep fewer backups: holdfast prune"


def _of_tuning(status: HostStatus) -> Iterable[Verdict]:
    tuning = status.tuning
    if tuning is None or tuning.outcome == "ok":
        return
    ended = "failed" if tuning.outcome == "failed" else "left settings pending"
    reasons = "; ".join(tuning.reasons)
    why = f"its last tuning ({tuning.at:%Y-%m-%d %H:%M}Z) {ended}"
    yield State.UNTUNED, f"{why}: {reasons}" if reasons else why, _TUNE[tuning.outcome]


_TUNE = {
    "failed": "see what the host has: playbooks/audit.yml",
    "pending": "most pending settings need a reboot or a restart: playbooks/audit.yml names them",
}


SCHEMA = "holdfast.expected-hosts/1"
_HOSTS = dict[str, tuple[str, ...]]


def expected_in(content: Iterable[bytes]) -> list[tuple[str, str]]:
    """The pairs of a host and a job in a file of expected hosts; an empty job stands for any.

    Raises `Unreadable`.
    """
    found = parsed(gathered(content, MANIFEST), MANIFEST)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise Unreadable(f"its schema is not {SCHEMA}")
    hosts: dict[str, tuple[str, ...]] = typed(_HOSTS, found.get("hosts"))
    return [(host, job) for host, jobs in hosts.items() for job in jobs or [""]]
