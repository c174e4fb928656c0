"""Mail, chat and paging: a hundred services by the URLs of the Apprise library."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from holdfast.model.errors import NotificationFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.notification import Event, Topic
from holdfast.model.redaction import GONE, sanitized
from holdfast.ports.notify import Receiver

if TYPE_CHECKING:
    from apprise import Apprise, AppriseAsset
    from apprise.result import AppriseResult

TYPES = {
    Topic.FAILURE: "failure",
    Topic.OVERDUE: "failure",
    Topic.WARNING: "warning",
    Topic.SUCCESS: "success",
    Topic.DRILL: "success",
    Topic.START: "info",
}
# Shorter pieces of a URL are words such as `mail` or `to`, and hide nothing.
SHORTEST_SECRET = 4
# How the library logs an error of a socket, at the level of debugging.
EXCEPTION = "Socket Exception: "


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseReceiver(Receiver):
    """Sends a title and a text; `url` returns the URL, mostly a secret, when it is needed.

    Redirects are not followed: the library's `redirect=yes` in the URL would allow them.
    """

    name: str
    url: Callable[[], str]
    seconds: float

    @property
    def kind(self) -> str:
        return "apprise"

    @property
    def timeout_seconds(self) -> float:
        return self.seconds

    def check(self) -> None:
        self._service(self.url())

    def send(self, event: Event) -> None:
        from apprise import NotifyFormat

        url = self.url().replace("{job}", event.job)
        sent = self._service(url).notify(
            title=event.title,
            body=event.text,
            notify_type=TYPES[event.topic],
            body_format=NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        if not sent:
            raise self._failed(_cause(sent, url))

    def _service(self, url: str) -> Apprise:
        # Imported here: it takes as long to load as the rest of the program.
        from apprise import Apprise

        # Without a handler Python would print its warnings to stderr. The cause of a warning is
        # logged at the level of debugging.
        log = logging.getLogger("apprise")
        log.addHandler(logging.NullHandler())
        log.propagate = False
        log.setLevel(logging.DEBUG)
        service = Apprise(asset=_asset())
        if not service.add(url):
            hint = "compare its scheme and parts with Apprise's page of that service"
            raise self._failed("Apprise cannot use its URL", hint=hint)
        return service

    def _failed(
        self, cause: str, *, hint: str = "holdfast notify test sends a message to each receiver"
    ) -> NotificationFailed:
        return NotificationFailed(f"cannot notify '{self.name}': {cause}", hint=hint)


def _asset() -> AppriseAsset:
    from apprise import AppriseAsset

    return AppriseAsset(
        app_id="holdfast",
        app_desc="holdfast",
        app_url="",
        http_redirects=False,
        secure_logging=True,
        # Its own threads would hold this process until a server answers; ours do not.
        async_mode=False,
        service_timeout=0,
        plugin_paths=[],
    )


def _cause(result: AppriseResult, url: str) -> str:
    """The library's last warning and the exception behind it, without the URL but its host."""
    told, behind = "the service did not take it", ""
    for each in result.logs():
        message = str(each.message)
        if message.startswith(EXCEPTION):
            behind = f": {message.removeprefix(EXCEPTION)}"
        elif each.level in ("WARNING", "ERROR"):
            told = message
    cause = sanitized(f"{told}{behind}")
    host = re.sub(r"^\w+://(?:[^/?@]*@)?", "", url).partition("/")[0].partition("?")[0]
    # A server is given the pieces without their percent signs, and may quote them.
    raw = re.split(r"[:/?&=@]+", url)
    for piece in sorted({*raw, *map(unquote, raw)}, key=len, reverse=True):
        if len(piece) >= SHORTEST_SECRET and piece not in host:
            cause = cause.replace(piece, GONE)
    return cause
