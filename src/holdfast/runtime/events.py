"""What a run reports while it works: events for the operators, and failpoints for tests.

Events go to stderr: one JSON object a line for the journal, readable lines on a terminal. At a
failpoint a test can kill this process, as a power cut would: `HOLDFAST_FAILPOINT=NAME` kills it the
first time that NAME is reached, `NAME:3` the third time. Nothing is caught, flushed or cleaned up:
the next run must repair what is left. `NAME:1:stop` stops the process there until SIGCONT, so that
the test can change things in the meantime.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from holdfast.runtime import streams

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# structlog is loaded at the first event: loading takes a quarter of the time of `holdfast --help`.


def debug(event: str, **fields: object) -> None:
    """A detail, shown with `-v`."""
    import structlog

    structlog.get_logger().debug(event, **fields)


def info(event: str, **fields: object) -> None:
    """Something that a run did."""
    import structlog

    structlog.get_logger().info(event, **fields)


def warning(event: str, **fields: object) -> None:
    """Trouble that a run survived, and that somebody may want to look into."""
    import structlog

    structlog.get_logger().warning(event, **fields)


def error(event: str, **fields: object) -> None:
    """Something that a run could not do."""
    import structlog

    structlog.get_logger().error(event, **fields)


class LogFormat(StrEnum):
    """The format of events."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def set_up_nothing() -> None:
    """Log no event at all: for a shell that reads all output as words to complete."""
    import structlog

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


def set_up(log_format: LogFormat, *, verbose: bool) -> None:
    """Set the format of all events of this process; called once."""
    import logging

    import structlog

    is_auto, is_watched = log_format is LogFormat.AUTO, sys.stderr.isatty()
    # On a terminal the user sees a bar and the result; events below a warning need `-v`.
    is_quiet = is_auto and is_watched and not verbose
    renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if is_quiet:
        renderer = _for_people
    elif log_format is LogFormat.CONSOLE or (is_auto and is_watched):
        renderer = structlog.dev.ConsoleRenderer(colors=streams.has_colours(sys.stderr))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _most_telling_first,
            _with_priority(renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if is_quiet else logging.DEBUG if verbose else logging.INFO
        ),
        # Looked up at each event: while a bar is drawn, sys.stderr is another stream, which keeps
        # the bar and the events apart.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _most_telling_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Puts time, level and event before the other fields: people read the journal too."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return {**first, **event}


def _for_people(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """A line such as `warning: repository not signed (backup: shop/...)`."""
    fields = {key: value for key, value in event.items() if key not in ("timestamp", "level")}
    name = str(fields.pop("event")).replace("_", " ")
    told = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in fields.items())
    text = f"{name} ({told})" if told else name
    level = str(event["level"])
    line = streams.folded(f"{level}: {streams.printable(text)}", sys.stderr)
    return f"{labelled(level)}{line.removeprefix(level)}"


COLOURS = {"error": "31;1", "critical": "31;1", "warning": "33", "hint": "36"}


def labelled(label: str) -> str:
    """`label` in its colour, if stderr shows colours."""
    colour = COLOURS.get(label)
    return f"\x1b[{colour}m{label}\x1b[0m" if colour and streams.has_colours(sys.stderr) else label


def _with_priority(render: Processor) -> Processor:
    """Puts the priority that the journal reads in front of the line."""

    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        level = str(event.get("level", "info"))
        return f"{prefix(level)}{render(logger, method, event)!s}"

    return rendered


STDERR = 2
# syslog(3). The journal gives a line of stderr the priority `info`, unless it begins with one of
# these in angle brackets (sd-daemon(3)); with them `journalctl -p err` finds the errors.
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def prefix(level: str) -> str:
    """The prefix of a line of that level; empty if the journal does not read stderr."""
    return f"<{PRIORITIES.get(level, PRIORITIES['info'])}>" if reads_stderr() else ""


def reads_stderr() -> bool:
    """Whether stderr is the stream that systemd has connected to the journal (systemd.exec(5)).

    A child of a service inherits the variable too, but its stderr may be another stream.
    """
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(STDERR)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


FAILPOINT_VARIABLE = "HOLDFAST_FAILPOINT"

Failpoint = Literal[
    "backup-locked",
    "backup-swept",
    "backup-beginning",
    "backup-begun",
    "cluster-asked",
    "files-listed",
    "snapshot-taken",
    "part-begun",
    "part-stored",
    "blob-stored",
    "parts-read",
    "parts-stored",
    "manifest-stored",
    "prune-marked",
    "prune-manifest-dropped",
    "copy-locked",
    "copy-object-stored",
    "copy-parts-stored",
    "copy-manifest-stored",
    "prune-part-dropped",
    "prune-backup-dropped",
    "prune-blob-dropped",
    "lease-put",
    "lease-held",
    "restore-begun",
    "restore-part-loaded",
    "wal-stored",
    "wal-archived",
    "prune-wal-dropped",
]

_seen: Counter[str] = Counter()
_lock = threading.Lock()


def reached(name: Failpoint) -> None:
    """Kill or stop this process, if the environment asks for that at this failpoint."""
    wanted, _, rest = os.environ.get(FAILPOINT_VARIABLE, "").partition(":")
    if wanted != name:
        return
    count, _, how = rest.partition(":")
    with _lock:
        _seen[name] += 1
        if _seen[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)
