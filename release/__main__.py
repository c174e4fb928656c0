"""`python -m release`: build what is published, into `dist/`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.state import PROJECT
from release import collection, debian_package, packages, source

SUMS = "SHA256SUMS"
EXAMPLES = """\
examples:
  ./scripts/release
  ./scripts/release --dirty --debian 13 --into /tmp/trial
"""


def main(arguments: Sequence[str]) -> int:
    """Build everything, and turn an error into two lines and an exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/release",
        description="Build wheel, source distribution, collection and Debian packages.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--into", type=Path, default=PROJECT / "dist", metavar="FOLDER")
    parser.add_argument(
        "--debian",
        type=int,
        nargs="*",
        choices=sorted(debian_package.SUITES),
        default=sorted(debian_package.SUITES),
        help="releases of Debian to build a package for (default: all)",
    )
    parser.add_argument(
        "--dirty", action="store_true", help="build what no commit holds, for a trial"
    )
    chosen = parser.parse_args(arguments)
    try:
        if not chosen.dirty:
            source.require_commit()
        release(chosen.into, debian=chosen.debian)
    except LabError as error:
        hint = f"\nrelease: hint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"release: {error}{hint}\n")
        return 1
    return 0


def release(into: Path, *, debian: Sequence[int]) -> list[Path]:
    """Build everything into the folder, with the sums of all files; returns the files."""
    into.mkdir(parents=True, exist_ok=True)
    with source.copied() as copy:
        say(f"release: wheel and source distribution of {copy.version}")
        wheel, distribution = packages.distributions(copy, into)
        say("release: collection")
        built = [wheel, distribution, collection.build(copy, wheel=wheel, into=into)]
        for number in debian:
            suite = debian_package.SUITES[number]
            say(f"release: package for Debian {number}")
            built += debian_package.build(copy, suite, wheel=wheel, into=into)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in built]
    (into / SUMS).write_text("".join(sums))
    say(f"release: {len(built)} files and {SUMS} in {into}")
    return built


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
