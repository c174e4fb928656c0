"""The settings of holdfast.yaml: frozen and typed; nothing else is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from holdfast.config.drill import DrillSettings
from holdfast.config.hooks import HooksSettings
from holdfast.config.notify import JobReceivers, Receivers
from holdfast.config.repositories import RepositorySettings
from holdfast.config.sources import MysqlSettings, PostgresSettings, SourceSettings
from holdfast.config.values import (
    AbsolutePath,
    Count,
    Duration,
    Name,
    Processes,
    Size,
    Strict,
    Text,
    made,
    shown,
)
from holdfast.model.backup import CODEC_OF, Codec, Compressor
from holdfast.model.checked import Before, Mistake, Range
from holdfast.model.lazy_pattern import regex
from holdfast.model.suspicion import Suspicion

FingerprintKind = Literal["blake3", "sha256"]
_SHARE = regex(r"(\d{1,4})%")
_NUMBER = regex(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
SESSION_SOCKET = Path("/run/holdfast-sessiond/socket")
BLOB_GRACE = timedelta(days=1)
STALL_TIMEOUT = timedelta(minutes=15)
STATE_DIRECTORY = Path("/var/lib/holdfast-state")
TIMEOUT = timedelta(hours=2)
VERIFY_BUDGET = timedelta(minutes=30)
# Above level 19 zstd needs a window that stock tools refuse by default.
LEVELS = {Codec.ZSTD: (1, 19), Codec.GZIP: (1, 9), Codec.XZ: (0, 9), Codec.NONE: (0, 0)}
LEVEL_CAPS = {Codec.ZSTD: 9, Codec.GZIP: 6, Codec.XZ: 6, Codec.NONE: 0}
# An external program runs beside each of many dumps, so its level never exceeds this.
PROGRAM_LEVEL_CAP = 6
# Level 3 of zstd takes twice the CPU time of 1 for about the same size (docs/benchmarks.md).
DEFAULT_LEVELS = {Codec.ZSTD: 1, Codec.GZIP: 6, Codec.XZ: 6, Codec.NONE: 0}


class SessionsSettings(Strict):
    """The daemon that holds database sessions: its socket, its users and its limits.

    Members of `group` may hold sessions of their own; members of `admin_group` may end any session.
    Without either, only root and the daemon's own user are served.
    """

    socket: AbsolutePath = SESSION_SOCKET
    group: Text | None = None
    admin_group: Text | None = None
    per_server: Annotated[int, Range(at_least=1, at_most=1000)] = 4
    longest: Duration = timedelta(days=1)


class CompressionSettings(Strict):
    """How parts are compressed, and the `program` that does it, if it is not holdfast itself.

    A level above `level_cap` is lowered to it: beyond the default cap, a backup keeps the
    processors of a database host busy for hours to save a few percent.
    """

    program: Compressor | None = None
    codec: Codec = Codec.ZSTD
    level: int | None = None
    level_cap: int | None = None

    @classmethod
    def rewritten(cls, data: Any) -> Any:
        """The program determines the codec, if only the program is given."""
        program = data.get("program") if isinstance(data, dict) else None
        if isinstance(program, str) and program in CODEC_OF and "codec" not in data:
            return data | {"codec": CODEC_OF[Compressor(program)]}
        return data

    @classmethod
    def suited(cls, value: Any, key: str, before: Mapping[str, Any], /) -> Any:
        """The codec suits the program, and the level the codec."""
        if key == "codec":
            cls._require_codec(value, before.get("program"))
        if key == "level" and value is not None and "codec" in before:
            cls._require_level(value, before["codec"])
        return value

    @staticmethod
    def _require_codec(codec: Codec, program: Compressor | None) -> None:
        if program is not None and CODEC_OF[program] is not codec:
            raise Mistake(
                f"{program} does not write {codec}", hint=f"leave it out, or {CODEC_OF[program]}"
            )

    @staticmethod
    def _require_level(level: int, codec: Codec) -> None:
        low, high = LEVELS[codec]
        if not low <= level <= high:
            raise Mistake(f"{level} is not a level of this codec", hint=f"from {low} to {high}")

    @property
    def effective_level(self) -> int:
        return min(self.asked_level, self.effective_cap)

    @property
    def asked_level(self) -> int:
        return DEFAULT_LEVELS[self.codec] if self.level is None else self.level

    @property
    def effective_cap(self) -> int:
        cap = LEVEL_CAPS[self.codec] if self.level_cap is None else self.level_cap
        return cap if self.program is None else min(cap, PROGRAM_LEVEL_CAP)


class RetentionSettings(Strict):
    """How many backups of each kind `prune` keeps; the newest one always stays."""

    last: Count = 0
    within: Duration | None = None
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0


class VerifySettings(Strict):
    """What `holdfast verify JOB` does, and when a timer starts it.

    Nothing new is begun after `budget`: no part for `ledger`, no further database otherwise.
    """

    schedule: Text | None = None
    level: Literal["quick", "full", "ledger"] = "full"
    budget: Duration = VERIFY_BUDGET


def parse_share(value: Any) -> float:
    """`50%` as 0.5, above zero."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise Mistake(f"{shown(value)} is not a share", hint="write a percentage: 50%")
    return int(match[1]) / 100


def _off(value: Any) -> Any:
    """YAML reads `off` as false."""
    return "off" if value is False else value


class SuspicionSettings(Strict):
    """When a good backup is reported as suspicious: see `model.suspicion`."""

    share: Annotated[float, Before(parse_share)] = 0.5
    smallest: Size = 16 << 20
    of_last: Annotated[int, Range(at_least=3, at_most=50)] = 7


def _number(value: Any) -> Any:
    """Templates often write a number in quotes."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


Load = Annotated[float, Before(_number), Range(above=0)]
OrOff = Annotated[SuspicionSettings | Literal["off"], Before(_off)]


class JobSettings(Strict):
    """One or several databases, the repository of their backups, and the limits of a run.

    `timeout` is for each database, `stall_timeout` since its last byte. `max_rate` is in bytes a
    second over all workers. `attempts` is the number of tries for work that is safe to repeat. The
    `mirrors` are repositories that receive the same bytes in the same run. `fingerprint` is that
    of the whole file, if the job has none of its own.
    """

    source: SourceSettings
    repository: Name
    mirrors: tuple[Name, ...] = ()
    compression: CompressionSettings = made(CompressionSettings)
    fingerprint: FingerprintKind | None = None
    max_concurrent_processes: Processes = None
    schedule: Text | None = None
    verify: VerifySettings = made(VerifySettings)
    retention: RetentionSettings = made(RetentionSettings)
    overlap: Literal["skip", "wait"] = "skip"
    wait_at_most: Duration = TIMEOUT
    timeout: Duration = TIMEOUT
    stall_timeout: Duration = STALL_TIMEOUT
    memory_limit_mb: Annotated[int, Range(at_least=1)] | None = None
    max_rate: Size | None = None
    pause_above_load: Load | None = None
    pause_above_lag: Duration | None = None
    attempts: Annotated[int, Range(at_least=1, at_most=20)] = 3
    blob_grace: Duration = BLOB_GRACE
    overlap_alarm: Annotated[int, Range(at_least=1, at_most=50)] = 3
    resumable: bool = False
    checksums: bool | Literal["auto"] = "auto"
    drill: DrillSettings = made(DrillSettings)
    suspicion: OrOff | None = None
    hooks: HooksSettings = made(HooksSettings)
    notify: JobReceivers = made(dict)
    overdue_after: Duration | None = None

    def require_sound(self) -> None:
        """The source, its compression and its mirrors go together."""
        self._require_suited_mirrors()
        self._require_snapshot()
        self._require_pipes()

    def _require_suited_mirrors(self) -> None:
        """Refuse duplicates, and settings that reuse stored objects: a mirror may lack those."""
        if len({self.repository, *self.mirrors}) <= len(self.mirrors):
            raise Mistake(
                "a mirror is named twice", hint="name each repository once: repository, mirrors"
            )
        external = isinstance(self.source, PostgresSettings) and self.source.blobs == "external"
        changes = isinstance(self.source, PostgresSettings) and self.source.incremental > 0
        for key, is_set in (
            ("resumable: true", self.resumable),
            ("blobs: external", external),
            ("incremental", changes),
        ):
            if self.mirrors and is_set:
                raise Mistake(
                    f"'{key}' cannot be used with mirrors",
                    hint="leave one of them out; holdfast copy copies backups to a second"
                    " repository",
                )

    def _require_snapshot(self) -> None:
        """Refuse checksums unless holdfast itself reads rows, and so knows the snapshot."""
        source = self.source
        if self.checksums is True and (source.engine, source.method) != ("native", "logical"):
            raise Mistake(
                f"'checksums: true' is not for engine {source.engine}, method {source.method}",
                hint="leave it out, or use engine native, method logical",
            )

    def _require_pipes(self) -> None:
        """Refuse a compression program unless a dump program's output can be piped through it."""
        if self.compression.program is not None and not _dumps(self.source):
            raise Mistake(
                "'compression.program' is only for kind mysql with engine tools",
                hint="leave program out: holdfast compresses itself",
            )


def _dumps(source: PostgresSettings | MysqlSettings) -> bool:
    """Whether a program of the server dumps the data as SQL."""
    if not isinstance(source, MysqlSettings):
        return False
    return (source.engine, source.method) == ("tools", "logical")


class Settings(Strict):
    """The whole file."""

    state_directory: AbsolutePath = STATE_DIRECTORY
    metrics_directory: AbsolutePath | None = None
    fingerprint: FingerprintKind = "blake3"
    sessions: SessionsSettings = made(SessionsSettings)
    suspicion: OrOff = made(SuspicionSettings)
    notify: Receivers = made(dict)
    repositories: dict[Name, RepositorySettings]
    jobs: dict[Name, JobSettings]

    def require_sound(self) -> None:
        """The mirrors of a job are encrypted like its repository."""
        for name, job in self.jobs.items():
            stores = [self.repositories.get(each) for each in (job.repository, *job.mirrors)]
            sealed = [each.encryption for each in stores if each is not None]
            if any(each != sealed[0] for each in sealed):
                raise Mistake(
                    f"the mirrors of job '{name}' have another encryption than its repository",
                    hint="mirrors hold the same bytes: give them the same encryption",
                )

    def suspicion_of(self, job: str) -> Suspicion | None:
        """When a backup of that job is suspicious: its own keys before those for all jobs."""
        found = self.jobs.get(job)
        own = found.suspicion if found else None
        common = SuspicionSettings() if self.suspicion == "off" else self.suspicion
        if own == "off" or (own is None and self.suspicion == "off"):
            return None
        rule = common.altered(**own.written) if own is not None else common
        return Suspicion(share=rule.share, smallest_bytes=rule.smallest, of_last=rule.of_last)
