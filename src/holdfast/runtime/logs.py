"""Logs to stderr: one JSON object a line for the journal, readable lines on a terminal."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast.runtime.journal import prefix

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger


class LogFormat(StrEnum):
    """How log events are written."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def _most_telling_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """People read the journal too: when, how bad, what; the fields after that."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return {**first, **event}


def _with_priority(render: Processor) -> Processor:
    """The line as the journal wants it: how bad it is stands in front of it."""

    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        level = str(event.get("level", "info"))
        return f"{prefix(level)}{render(logger, method, event)!s}"

    return rendered


def set_up(log_format: LogFormat, *, verbose: bool) -> None:
    """Decide once how every event of this process is written."""
    import structlog  # a quarter of the time of `holdfast --help`, which logs nothing

    as_console = log_format is LogFormat.CONSOLE or (
        log_format is LogFormat.AUTO and sys.stderr.isatty()
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if as_console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _most_telling_first,
            _with_priority(renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        # Asked for at each event: while a bar is drawn it is somebody else's, who keeps both apart.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
