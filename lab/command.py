"""Other programs: lists of arguments in, text out, failures as errors with their last lines."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import CommandFailed

LAST_LINES = 3


def run(
    argv: Sequence[str],
    *,
    feed: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> str:
    """Run a program to its end and return its output; raises `CommandFailed` if it fails."""
    try:
        done = subprocess.run(
            argv,
            input=b"" if feed is None else feed,
            capture_output=True,
            env=environment,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{argv[0]} did not end within {timeout_seconds:g} s") from error
    if done.returncode != 0:
        raise CommandFailed(
            f"{argv[0]}: {last_words(done.stderr) or f'exit code {done.returncode}'}"
        )
    return done.stdout.decode(errors="replace")


def run_logged(argv: Sequence[str], *, log: Path, feed: bytes = b"") -> None:
    """Run a long program with its output in a log.

    A failure quotes the last lines and names the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        done = subprocess.run(argv, input=feed, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{argv[0]}: {last_words(log.read_bytes())}", hint=f"read {log}")


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a program exits with 0, whatever it prints."""
    try:
        run(argv)
    except CommandFailed:
        return False
    return True


def last_words(output: bytes) -> str:
    """The last lines of a program's output, joined into one."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-LAST_LINES:])
