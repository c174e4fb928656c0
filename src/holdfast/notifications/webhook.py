"""Webhooks: the event as a JSON document, signed where the receiver shares a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.model.lazy_dataclass import dataclass
from holdfast.notifications.http import Door, Request, post, require_address
from holdfast.ports.notify import Receiver
from holdfast.runtime.clock import now

if TYPE_CHECKING:
    from holdfast.model.notification import Event


def signature(body: bytes, secret: bytes, *, at: int) -> str:
    """The value of `Holdfast-Signature`: the time and an HMAC-SHA256 over the time and the body.

    The time is signed too, so that a receiver can refuse an old message that is sent again.
    """
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceiver(Receiver):
    """Sends the document by POST; `url` and `secret` return what may be secret when needed."""

    url: Callable[[], str]
    door: Door
    secret: Callable[[], str] = str

    @property
    def kind(self) -> str:
        return "webhook"

    @property
    def timeout_seconds(self) -> float:
        return self.door.timeout_seconds

    def check(self) -> None:
        self.secret()
        require_address(self.url(), self.door)

    def send(self, event: Event) -> None:
        body = json.dumps(event.document, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Holdfast-Event": event.topic.value,
            "Holdfast-Delivery": event.id,
        }
        secret = self.secret()
        if secret:
            at = int(now().timestamp())
            headers["Holdfast-Signature"] = signature(body, secret.encode(), at=at)
        post(
            Request(url=self.url().replace("{job}", event.job), body=body, headers=headers),
            self.door,
        )
