"""A drill: what a restore into a throw-away server found, proved and measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from holdfast.model.backup import BACKUP_NAME, JOB_NAME
from holdfast.model.checked import Length, Range
from holdfast.model.lazy_dataclass import dataclass, field, replace
from holdfast.model.lazy_pattern import regex
from holdfast.model.units import span
from holdfast.model.values import Count, Line, Moment, Number, Text

MOST_ROWS = 200_000


class Outcome(StrEnum):
    """How a proof, or a whole drill, ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Of a proof: this server cannot give it, and `detail` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFinding:
    """Something that this host lacks for the backup, found before the load begins.

    `subject` names it as the server does ("extension 'postgis'"). A finding that `blocks` ends the
    drill, because the load would fail; any other one is only reported. `hint` names the package or
    the command that mends it, where that is known.
    """

    subject: Line
    problem: Text
    hint: Text = ""
    blocks: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One thing that was compared: `expected` and `found` are texts for people and machines."""

    name: Line
    outcome: Outcome
    expected: Text = ""
    found: Text = ""
    detail: Text = ""

    @property
    def is_bad(self) -> bool:
        return self.outcome is Outcome.FAILED


def compared(name: str, *, expected: object, found: object, detail: str = "") -> ProofRow:
    """The row of a comparison: it passes if both texts are equal."""
    outcome = Outcome.PASSED if str(expected) == str(found) else Outcome.FAILED
    return ProofRow(
        name=name, outcome=outcome, expected=str(expected), found=str(found), detail=detail
    )


# What is read back is limited (`stored_json.RECORD`): nobody could read a record beyond that.
MOST_KEPT, MOST_KEPT_BYTES = 5000, 600_000
MOST_NAME, MOST_TEXT = 500, 2000


def storable(text: str, *, most: int = MOST_TEXT) -> str:
    """`text` as a record keeps it: not too long, and without what is no text."""
    short = text if len(text) <= most else f"{text[: most - 3]}..."
    return short.encode(errors="replace").decode()


def fitting(rows: Sequence[ProofRow]) -> tuple[ProofRow, ...]:
    """As many of `rows` as a record can hold, in their order, bad ones first; then their number."""
    from dataclasses import asdict  # not for those who only load

    short = [_shortened(each) for each in rows]
    left = MOST_KEPT_BYTES
    kept: set[int] = set()
    for at in sorted(range(len(short)), key=lambda at: not short[at].is_bad):
        left -= len(json.dumps(asdict(short[at])))
        if left < 0 or len(kept) >= MOST_KEPT:
            break
        kept.add(at)
    shown = [row for at, row in enumerate(short) if at in kept]
    others = [row for at, row in enumerate(short) if at not in kept]
    return (*shown, *_counted(others))


def _shortened(row: ProofRow) -> ProofRow:
    return replace(
        row,
        name=storable(row.name, most=MOST_NAME),
        expected=storable(row.expected),
        found=storable(row.found),
        detail=storable(row.detail),
    )


def _counted(others: Sequence[ProofRow]) -> Iterator[ProofRow]:
    for outcome in Outcome:
        number = sum(each.outcome is outcome for each in others)
        if number:
            detail = "a record has no room for each of them"
            yield ProofRow(name=f"{number} other proofs", outcome=outcome, detail=detail)


Seconds = Annotated[Number, Range(at_least=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillSeconds:
    """Where the time of a drill went.

    `prepare` made the throw-away server, and `checks` proved the result: a restore in an emergency
    needs neither. Workers read and load side by side, so `fetch` is the mean time that a worker
    waited for the repository, and `load` is the remaining time until the last row.
    """

    prepare: Seconds = 0.0
    fetch: Seconds = 0.0
    load: Seconds = 0.0
    indexes: Seconds = 0.0
    recovery: Seconds = 0.0
    checks: Seconds = 0.0

    @property
    def restore(self) -> float:
        """The measured recovery time (RTO): until the data could be used."""
        return round(self.fetch + self.load + self.indexes + self.recovery, 3)


# The name of a drill is built like that of a backup: when it began, and a random number.
_ID = regex(rf"({JOB_NAME.pattern})/({BACKUP_NAME.pattern})")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRecord:
    """One drill, as kept beside the backups.

    `backup` is the id of the backup that was restored, `server` the version of the throw-away
    server. `reached` is the newest moment that the restored data shows: it and the time of a
    failure give the measured data loss (RPO). `error` and `hint` say why a drill ended early.
    """

    job: Line
    name: Line
    backup: Line
    database: Line
    host: Line
    version: Line
    began: Moment
    ended: Moment
    outcome: Literal[Outcome.PASSED, Outcome.FAILED]
    server: Line = ""
    findings: Annotated[tuple[DrillFinding, ...], Length(at_most=10_000)] = ()
    rows: Annotated[tuple[ProofRow, ...], Length(at_most=MOST_ROWS)] = ()
    seconds: DrillSeconds = field(default_factory=DrillSeconds)
    reached: Moment | None = None
    plain_bytes: Count = 0
    error: Text = ""
    hint: Text = ""

    @property
    def drill_id(self) -> str:
        return f"{self.job}/{self.name}"

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def loss(self) -> timedelta | None:
        """The time before the drill whose changes it did not bring back.

        That is the measured data loss (RPO) of a drill that restored all that there was.
        """
        return None if self.reached is None else max(timedelta(0), self.began - self.reached)

    @property
    def problem(self) -> str:
        """The first thing that is wrong, in words; empty if the drill passed."""
        if self.passed:
            return ""
        for finding in self.findings:
            if finding.blocks:
                return f"{finding.subject}: {finding.problem}"
        for row in self.rows:
            if row.is_bad:
                told = f"expected {row.expected}, found {row.found}"
                return f"{row.name}: {row.detail or told}"
        return self.error

    @property
    def told_problem(self) -> str:
        """The same as it may leave the host: neither statements of checks nor what was found."""
        if self.passed:
            return ""
        blocking = [each.problem for each in self.findings if each.blocks]
        bad = [each.name for each in self.rows if each.is_bad]
        named = next((name for name in bad if not name.startswith(CHECK)), "a check of the job")
        proofs = f"{len(bad)} of {len(self.rows)} proofs failed, among them: {named}" if bad else ""
        return f"drill of {self.backup} failed: {next(iter(blocking), '') or proofs or self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """How long a restore may take (RTO), and how old a change it may lose (RPO); None: any."""

    rto: timedelta | None = None
    rpo: timedelta | None = None

    def missed(self, record: DrillRecord, *, measures_loss: bool = True) -> list[str]:
        """What a good drill measured beyond these, in words."""
        found = []
        took = timedelta(seconds=record.seconds.restore)
        if record.passed and self.rto is not None and took > self.rto:
            found.append(f"the restore took {span(took)}, drill.rto allows {span(self.rto)}")
        loss = record.loss if record.passed and measures_loss else None
        if self.rpo is not None and loss is not None and loss > self.rpo:
            found.append(
                f"changes of {span(loss)} would be lost, drill.rpo allows {span(self.rpo)}"
            )
        return [f"drill of {record.backup}: {each}" for each in found]


CHECK = "check: "


def is_backup_of(job: str, backup_id: str) -> bool:
    """Whether `backup_id` can name a backup of `job`."""
    found = _ID.fullmatch(backup_id)
    return found is not None and found[1] == job


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a check: how many rows there are (2 stands for more), and the first value.

    `value` is text in the server's own form, with times in UTC; None is NULL, or no row.
    """

    rows: int
    value: str | None


_NOTHING = {"", "f", "false", "0"}
# After comments and opening brackets.
_FIRST_WORD = regex(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table)\b", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A statement of the job, and what its answer must be: the first of these that is set.

    `equals` is the text of the one value. `newer_than` allows the moment in the one value that age
    at most, counted back from the moment that the restored data shows. Otherwise there must be a
    row, and its first value must not be NULL, false, 0 or an empty text. An empty `database` means
    each database that is drilled.
    """

    sql: str
    name: str = ""
    equals: str | None = None
    newer_than: timedelta | None = None
    database: str = ""

    @property
    def may_be_select(self) -> bool:
        """Whether its first word is that of a statement that returns rows; a server decides."""
        return _FIRST_WORD.match(self.sql) is not None

    @property
    def title(self) -> str:
        """The name of the row: the statement itself unless the job names it."""
        words = " ".join((self.name or self.sql).split())
        return f"{CHECK}{words[:200]}"

    def judged(self, answer: Answer, *, taken_at: datetime) -> ProofRow:
        """The row for `answer`, about a backup that was taken at `taken_at`."""
        found = "no row" if not answer.rows else str(answer.value)
        if self.newer_than is not None:
            return self._fresh(answer, found, oldest=_before(taken_at, self.newer_than))
        if self.equals is not None:
            told = found if answer.rows < 2 else f"several rows, the first is {found}"
            return compared(self.title, expected=self.equals, found=told)
        is_good = bool(answer.rows) and (answer.value or "").lower() not in _NOTHING
        return self._row(is_good=is_good, expected="not NULL, false, 0 or empty", found=found)

    def _fresh(self, answer: Answer, found: str, *, oldest: datetime) -> ProofRow:
        try:
            moment = moment_in(answer.value)
        except ValueError:
            return self._row(is_good=False, expected="a time", found=found)
        told = f"{oldest:%Y-%m-%d %H:%M:%SZ} or later"
        return self._row(is_good=moment >= oldest, expected=told, found=f"{moment:%F %TZ}")

    def _row(self, *, is_good: bool, expected: str, found: str) -> ProofRow:
        outcome = Outcome.PASSED if is_good else Outcome.FAILED
        return ProofRow(name=self.title, outcome=outcome, expected=expected, found=found)


def moment_in(value: str | None) -> datetime:
    """The time that a server wrote, in UTC where it names no zone; raises `ValueError`."""
    found = datetime.fromisoformat((value or "").strip())
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"'{value}' lies before the year 1 or after the year 9999") from error


def _before(moment: datetime, span: timedelta) -> datetime:
    """`span` earlier than `moment`, or the first moment that can be written."""
    earliest = datetime.min.replace(tzinfo=UTC)
    return moment - span if moment - earliest > span else earliest


def least_recently_drilled(databases: Sequence[str], records: Sequence[DrillRecord]) -> list[str]:
    """`databases` in the order to drill them: never drilled ones first, then the oldest drill."""
    last: dict[str, datetime] = {}
    for each in records:
        last[each.database] = max(each.began, last.get(each.database, each.began))
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(databases, key=lambda name: (last.get(name, never), name))
