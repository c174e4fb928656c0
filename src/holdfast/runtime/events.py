"""What a run reports while it works: events for the operators, and failpoints for tests.

Events go to stderr: one JSON object a line for the journal, readable lines on a terminal. At a
failpoint a test can kill this process, as a power cut would: `HOLDFAST_FAILPOINT=NAME` kills it the
first time that NAME is reached, `NAME:3` the third time. Nothing is caught, flushed or cleaned up:
the next run must repair what is left. `NAME:1:stop` stops the process there until SIGCONT, so that
the test can change things in the meantime.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from holdfast.runtime import streams

# Not structlog: every archived WAL segment starts this program, and loading structlog took a
# seventh of that start.

Receive = Callable[[str, str, Mapping[str, object]], None]
"""Takes an event: its level, its name and its fields. Called from any thread."""


def debug(event: str, **fields: object) -> None:
    """A detail, shown with `-v`."""
    _receive("debug", event, fields)


def info(event: str, **fields: object) -> None:
    """Something that a run did."""
    _receive("info", event, fields)


def warning(event: str, **fields: object) -> None:
    """Trouble that a run survived, and that somebody may want to look into."""
    _receive("warning", event, fields)


def error(event: str, **fields: object) -> None:
    """Something that a run could not do."""
    _receive("error", event, fields)


class LogFormat(StrEnum):
    """The format of events."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def send_to(receive: Receive) -> Receive:
    """Send all events of this process to `receive` from now on; returns what received them."""
    global _receive
    before, _receive = _receive, receive
    return before


def set_up_nothing() -> None:
    """Log no event at all: for a shell that reads all output as words to complete."""
    send_to(lambda _level, _event, _fields: None)


def set_up(log_format: LogFormat, *, verbose: bool) -> None:
    """Set the format of all events of this process; called once."""
    is_auto, is_watched = log_format is LogFormat.AUTO, sys.stderr.isatty()
    # On a terminal the user sees a bar and the result; events below a warning need `-v`.
    is_quiet = is_auto and is_watched and not verbose
    render = _as_json
    if is_quiet:
        render = _for_people
    elif log_format is LogFormat.CONSOLE or (is_auto and is_watched):
        render = _as_line
    send_to(_to_stderr(render, least="warning" if is_quiet else "debug" if verbose else "info"))


Render = Callable[[str, str, Mapping[str, object]], str]

STDERR = 2
# syslog(3). The journal gives a line of stderr the priority `info`, unless it begins with one of
# these in angle brackets (sd-daemon(3)); with them `journalctl -p err` finds the errors.
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}


def _to_stderr(render: Render, *, least: str) -> Receive:
    """Writes events from the level `least` on to stderr, a line each."""
    lock = threading.Lock()

    def receive(level: str, event: str, fields: Mapping[str, object]) -> None:
        if PRIORITIES[level] > PRIORITIES[least]:
            return
        line = f"{prefix(level)}{render(level, event, fields)}\n"
        # sys.stderr is looked up each time: while a bar is drawn it is another stream, which keeps
        # the bar and the events apart.
        with lock:
            sys.stderr.write(line)
            sys.stderr.flush()

    return receive


def _as_json(level: str, event: str, fields: Mapping[str, object]) -> str:
    """Time, level and event before the other fields: people read the journal too."""
    first = {"timestamp": _now(), "level": level, "event": event}
    line = json.dumps({**first, **fields}, ensure_ascii=False, default=repr)
    return streams.printable_json(line)


def _as_line(level: str, event: str, fields: Mapping[str, object]) -> str:
    told = [f"{key}={streams.printable(str(value))}" for key, value in fields.items()]
    padding = " " * (len("warning") - len(level))
    return " ".join([_now(), f"[{labelled(level)}]{padding}", streams.printable(event), *told])


def _for_people(level: str, event: str, fields: Mapping[str, object]) -> str:
    """A line such as `warning: repository not signed (backup: shop/...)`."""
    told = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in fields.items())
    name = event.replace("_", " ")
    text = f"{name} ({told})" if told else name
    line = streams.folded(f"{level}: {streams.printable(text)}", sys.stderr)
    return f"{labelled(level)}{line.removeprefix(level)}"


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


JSON_TO_STDERR = _to_stderr(_as_json, least="info")
"""What receives events until `set_up` is called."""

_receive = JSON_TO_STDERR


COLOURS = {"error": "31;1", "warning": "33", "hint": "36"}


def labelled(label: str) -> str:
    """`label` in its colour, if stderr shows colours."""
    colour = COLOURS.get(label)
    return f"\x1b[{colour}m{label}\x1b[0m" if colour and streams.has_colours(sys.stderr) else label


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
    "drill-locked",
    "drill-swept",
    "drill-room-made",
    "drill-prepared",
    "drill-restored",
    "drill-recovered",
    "drill-proved",
    "drill-room-emptied",
    "drill-recorded",
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
