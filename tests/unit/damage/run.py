"""Damages one object after the other, each time with all commands on what is left; see `main`.

Runs in a process of its own, because its memory and its end are part of the test.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.cli.command_line import NOT_THERE, STOPS_RECOVERY
from holdfast.cli.main import main as program
from holdfast.config.sources import PostgresSettings
from holdfast.model import errors
from holdfast.wiring import sources as wiring_sources
from tests.fakes.source import FakeSource, FakeTarget, table
from tests.support.mutations import mutate
from tests.support.sandbox import CHANGES, FAILED, FILES, FULL, MARKED, PACKED, Sandbox

MOST_SECONDS = 60.0
MOST_MEMORY_BYTES = 300 << 20
BACKUPS = (FULL, PACKED, FILES, CHANGES)
OURS = {
    found.exit_code
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, errors.HoldfastError)
} - {errors.HoldfastError.exit_code}
FORESEEN = {0} | OURS
FORESEEN_BY_SERVERS = {0, NOT_THERE} | {STOPS_RECOVERY + each for each in OURS}


class Hung(BaseException):
    """A command that does not end."""


@dataclass(kw_only=True)
class Answer:
    """The result of one call of the program."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found


@dataclass
class Case:
    """One object that is damaged, and what went wrong because of it."""

    sandbox: Sandbox
    seed: int
    what: str = ""
    victim: str = ""
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        rng = random.Random(self.seed)  # noqa: S311 - repeated by its seed, no secret
        self.sandbox.begin_anew()
        path = self._victim(rng)
        self.victim = str(path.relative_to(self.sandbox.run))
        self.what = mutate(path, rng)
        before = contents(self.sandbox.run)
        commands = [each for each in COMMANDS if rng.random() < 0.5]
        for command in commands:
            self.call(*command)
        self._others_are_unharmed(before)

    def _victim(self, rng: random.Random) -> Path:
        """Of the job `shop`, or of what no job owns."""
        kinds: dict[str, list[Path]] = {}
        for path in sorted(self.sandbox.run.rglob("*")):
            place = str(path.relative_to(self.sandbox.run))
            if path.is_file() and "outside" not in place and "other" not in place:
                kinds.setdefault(_kind(path), []).append(path)
        return rng.choice(kinds[rng.choice(sorted(kinds))])

    def call(self, *arguments: str) -> Answer:
        filled = [each.format(run=self.sandbox.run) for each in arguments]
        answer = call(self.sandbox, *filled)
        foreseen = FORESEEN_BY_SERVERS if arguments[:2] == ("wal", "get") else FORESEEN
        if answer.exit_code not in foreseen:
            said = (answer.stderr + answer.stdout)[-3000:]
            self.wrong.append(f"{' '.join(filled)} ended with {answer.exit_code}: {said}")
        return answer

    def _others_are_unharmed(self, before: dict[str, object]) -> None:
        after = contents(self.sandbox.run)
        for place, content in before.items():
            if self._must_stay(place) and after.get(place) != content:
                self.wrong.append(f"'{place}' was changed")
        for place in after.keys() - before.keys():
            if not place.startswith(WRITTEN):
                self.wrong.append(f"'{place}' was written")
        if (listed := self.call("list", "other", "--json")).exit_code == 0:
            ids = {each["backup"] for each in listed.document["backups"]}
            if not ids >= {f"other/{name}" for name in BACKUPS}:
                self.wrong.append(f"of job 'other' is listed {ids}")
        self._healthy("verify", f"other/{FULL}")
        self._healthy("verify", f"other/{CHANGES}", "--level", "quick")
        if (mine := self.call("list", "shop", "--json")).exit_code == 0:
            missing = {name for name in BACKUPS if name not in self.victim}
            missing -= {each["name"] for each in mine.document["backups"]}
            if missing:
                self.wrong.append(f"of job 'shop' is not listed {missing}")

    def _healthy(self, *arguments: str) -> None:
        answer = self.call(*arguments)
        if answer.exit_code:
            self.wrong.append(f"{' '.join(arguments)} ended with {answer.exit_code}")

    def _must_stay(self, place: str) -> bool:
        """All of other jobs, and of this one the good backups; state is written by every run."""
        if place.startswith(("outside/", "repository/other/", "repository/other.wal/")):
            # The next run removes what a run left.
            return MARKED not in place and FAILED not in place
        of_backup = any(place.startswith(f"repository/shop/{name}/") for name in BACKUPS)
        stays = of_backup or place.startswith(("repository/shop/blobs/", "repository/shop.wal/"))
        is_damage = f"{place}/".startswith(f"{self.victim}/")
        return stays and not is_damage and not self._is_beside(place)

    def _is_beside(self, place: str) -> bool:
        """Parts of a backup without a manifest belong to no backup."""
        backup = "/".join(self.victim.split("/")[:3])
        return self.victim.endswith("manifest.json") and place.startswith(f"{backup}/")


WRITTEN = ("repository/", "second/", "state/", "restored/")
COMMANDS: list[tuple[str, ...]] = [
    ("list", "--json"),
    ("list", "shop"),
    ("status",),
    ("status", "shop", "--json"),
    ("du", "--json"),
    ("plan", "shop", "--json"),
    *(("show", f"shop/{name}", "--json") for name in BACKUPS),
    ("show", f"shop/{FULL}"),
    *(("verify", f"shop/{name}") for name in BACKUPS),
    *(("verify", f"shop/{name}", "--level", "quick") for name in BACKUPS),
    ("verify", "shop", "--level", "ledger", "--json"),
    ("wal", "list", "shop", "--json"),
    ("wal", "get", "shop", "000000010000000000000003", "{run}/restored/wal", "--cluster", "77"),
    *(("restore", f"shop/{name}", "--to", "fake:shop") for name in (FULL, PACKED)),
    *(("restore", f"shop/{name}", "--to", "file://{run}/restored/data") for name in (FILES,)),
    ("prune", "shop", "--dry-run"),
    ("repair", "shop", "--dry-run", "--json"),
    ("prune", "shop", "--json"),
    ("repair", "shop"),
    ("copy", "shop", "--to", "second"),
    ("backup", "shop", "--resume"),
    ("backup", "shop"),
    ("backup", "other"),
]


def _kind(path: Path) -> str:
    if path.parent.parent.name == "_leases":
        return "lease"
    if "parts" in path.parts:
        return "part"
    if "shop.wal" in path.parts:
        return "wal record" if path.name == "manifest.json" else "wal content"
    if "blobs" in path.parts:
        return "blob"
    place = path.parts
    for name in (*BACKUPS, FAILED, MARKED):
        if name in place:
            return f"{name} {path.name}"
    return f"state {path.suffix}"


def contents(folder: Path) -> dict[str, object]:
    """Every path with its content, or its kind if it is no regular file."""
    found: dict[str, object] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            told = path.lstat()
            is_small = path.is_file() and not path.is_symlink() and told.st_size < 1 << 24
            found[str(path.relative_to(folder))] = path.read_bytes() if is_small else told.st_mode
    return found


def call(sandbox: Sandbox, *arguments: str) -> Answer:
    """`holdfast --config THE_FILE arguments...`, with fakes in the table of drivers."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["holdfast", "--config", str(sandbox.config), "-v", *arguments]
    if arguments[0] == "wal":
        sys.argv.remove("-v")
    with redirect_stdout(out), redirect_stderr(err), _within(MOST_SECONDS):
        try:
            program()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        except Hung:
            traceback.print_exc(file=err)
            code = -1
        except BaseException:  # noqa: BLE001 - told as what went wrong
            traceback.print_exc(file=err)
            code = -2
    return Answer(exit_code=code, stdout=out.getvalue(), stderr=err.getvalue())


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def hung(_signal: int, _frame: object) -> None:
        raise Hung(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _drivers() -> None:
    source = FakeSource(table("orders", "1,ann", "2,bob"))
    wiring_sources.SOURCES[PostgresSettings] = lambda *_: source
    wiring_sources.TARGETS["fake"] = {"fake": lambda *_: FakeTarget()}


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The most memory that was resident at once, in bytes.

    Not by getrusage(2): that figure is inherited from the parent process.
    """
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def main() -> int:
    """`python -m tests.unit.damage.run FOLDER FIRST_SEED COUNT`: prints what went wrong."""
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _drivers()
    sandbox = Sandbox(folder)
    sandbox.make()
    failed = 0
    for seed in range(first, first + count):
        case = Case(sandbox, seed)
        case.run()
        for each in case.wrong:
            failed += 1
            sys.stdout.write(f"seed {seed}: {case.what} ({case.victim}): {each}\n\n")
            sys.stdout.flush()
    peak = peak_bytes()
    sys.stdout.write(f"{count} damaged, {failed} wrong, {peak >> 20} MiB\n")
    return int(failed > 0 or peak > MOST_MEMORY_BYTES)


if __name__ == "__main__":
    sys.exit(main())
