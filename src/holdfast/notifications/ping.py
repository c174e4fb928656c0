"""Pings: services that watch whether a job reports in time, in the way of Healthchecks."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.notification import Event, Topic
from holdfast.notifications.http import Door, Request, failed, post, require_address
from holdfast.ports.notify import Receiver

MOST_BODY_BYTES = 10_000
BAD = (Topic.FAILURE, Topic.OVERDUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PingReceiver(Receiver):
    """Sends POST to the URL for success, and to `/start` and `/fail` below it.

    `url` returns the URL when it is needed, as it may be a secret. With `exit_status` a failure
    goes to the exit code's number instead of `/fail`.
    """

    url: Callable[[], str]
    door: Door
    exit_status: bool = False

    @property
    def kind(self) -> str:
        return "ping"

    @property
    def timeout_seconds(self) -> float:
        return self.door.timeout_seconds

    def check(self) -> None:
        require_address(self.url(), self.door)

    def send(self, event: Event) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        body = event.text.encode()[:MOST_BODY_BYTES]
        url = self._address(self.url().replace("{job}", event.job), event)
        post(Request(url=url, body=body, headers=headers), self.door)

    def _address(self, base: str, event: Event) -> str:
        try:
            found = urlsplit(base)
        except ValueError as error:
            raise failed("", "its URL is not an address") from error
        # The run's id is a UUID without its dashes; the protocol wants them.
        rid = urlencode({"rid": str(UUID(hex=event.run_id))}) if _is_uuid(event.run_id) else ""
        query = "&".join(each for each in (found.query, rid) if each)
        path = found.path.rstrip("/") + self._ending(event)
        return found._replace(path=path, query=query).geturl()

    def _ending(self, event: Event) -> str:
        if event.topic is Topic.START:
            return "/start"
        if event.topic not in BAD:
            return ""
        return f"/{event.exit_code}" if self.exit_status and 0 < event.exit_code < 256 else "/fail"


def _is_uuid(text: str) -> bool:
    try:
        return UUID(hex=text).hex == text
    except ValueError:
        return False
