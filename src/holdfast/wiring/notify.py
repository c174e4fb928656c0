"""Build the receivers of a job, and what telling needs; secrets are read when a message is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from holdfast.config.notify import (
    AppriseSettings,
    PingSettings,
    ReceiverSettings,
    WebhookSettings,
)
from holdfast.config.secret import SecretPlace, secret_of
from holdfast.host_state.outbox import FileOutbox
from holdfast.model.notification import Rule
from holdfast.operations.notify import NotifyContext
from holdfast.runtime.clock import now
from holdfast.wiring.gauges import gauges_of

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.notifications.http import Door
    from holdfast.ports.notify import Receiver


def settings_of(settings: Settings, job: str) -> dict[str, ReceiverSettings]:
    """The receivers of a job by name: those of all jobs, overruled by the job's own."""
    own = settings.jobs[job].notify if job in settings.jobs else {}
    both = {**settings.notify, **own}
    return {name: each for name, each in both.items() if each is not False}


def notify_context(settings: Settings) -> NotifyContext:
    """The dependencies of telling about any job; opens nothing."""
    built: dict[tuple[str, str], Receiver] = {}

    def receiver(job: str, name: str) -> Receiver | None:
        """The same object for the same settings, so that its messages are sent one by one."""
        found = settings_of(settings, job).get(name)
        if found is None:
            return None
        key = (name, repr(found))
        if key not in built:
            built[key] = receiver_of(found, name)
        return built[key]

    return NotifyContext(
        rules=lambda job: rules_of(settings, job),
        receiver=receiver,
        outbox=FileOutbox(settings.state_directory / "notify"),
        gauges=gauges_of(settings),
        clock=now,
    )


def rules_of(settings: Settings, job: str) -> Sequence[Rule]:
    return [
        Rule(
            receiver=name,
            on=each.topics,
            after=each.after,
            commands=each.told_commands,
            include_log=each.include_log,
        )
        for name, each in settings_of(settings, job).items()
    ]


def receiver_of(settings: ReceiverSettings, name: str) -> Receiver:
    """The receiver, with its driver loaded; reads no secret yet."""
    if isinstance(settings, PingSettings):
        from holdfast.notifications.ping import PingReceiver

        return PingReceiver(
            url=_value(settings.url, f"url of receiver '{name}'"),
            door=_door(settings),
            exit_status=settings.exit_status,
        )
    if isinstance(settings, AppriseSettings):
        from holdfast.notifications.apprise import AppriseReceiver

        return AppriseReceiver(
            name=name,
            url=_value(settings.url, f"url of receiver '{name}'"),
            seconds=settings.timeout.total_seconds(),
        )
    from holdfast.notifications.webhook import WebhookReceiver

    return WebhookReceiver(
        url=_value(settings.url, f"url of receiver '{name}'"),
        secret=_value(settings.secret or "", f"secret of receiver '{name}'"),
        door=_door(settings),
    )


def _door(settings: PingSettings | WebhookSettings) -> Door:
    from holdfast.notifications.http import Door

    return Door(
        timeout_seconds=settings.timeout.total_seconds(),
        ca_file=settings.ca_file,
        plain_http=settings.plain_http,
    )


def _value(source: str | SecretPlace, what: str) -> Callable[[], str]:
    """The text itself, or the secret at the moment that it is needed."""

    def value() -> str:
        if isinstance(source, str):
            return source
        found = secret_of(source, what)
        return found.reveal() if found else ""

    return value
