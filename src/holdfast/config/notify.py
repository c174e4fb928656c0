"""Receivers of notifications: one model for each kind, selected by `kind`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from holdfast.config.private_files import NotPrivate, require_private
from holdfast.config.repositories import LOOPBACK
from holdfast.config.secret import SecretPlace
from holdfast.config.values import AbsolutePath, Duration, Name, Strict, Text, shown
from holdfast.model.checked import Before, By, Length, Mistake, Range
from holdfast.model.errors import ConfigInvalid
from holdfast.model.notification import Topic

TIMEOUT = timedelta(seconds=10)
LONGEST_TIMEOUT = timedelta(minutes=1)
ENDS = frozenset({Topic.FAILURE, Topic.WARNING, Topic.OVERDUE})
PINGS = frozenset({Topic.START, Topic.SUCCESS, Topic.WARNING, Topic.FAILURE})
Told = Literal["backup", "prune", "verify", "copy", "drill", "wal receive"]
"""The commands whose start and end can be told."""


def _address(value: Any) -> Any:
    """Text is an address, a mapping says where the secret is."""
    if isinstance(value, str | dict):
        return value
    raise Mistake(
        f"{shown(value)} is not an address",
        hint="write it in quotes, or name its place: {file: PATH}",
    )


def _topics(value: Any) -> Any:
    """YAML has only lists; what cannot be in a set is no topic."""
    if not isinstance(value, list):
        return value
    unhashable = next((each for each in value if isinstance(each, list | dict | set)), None)
    if unhashable is not None:
        raise Mistake(f"{shown(unhashable)} is not a topic", hint="write the topics as words")
    return frozenset(value)


# A file that is missing or not private must fail no backup: it is told when a message is sent.
Address = Annotated[Text | SecretPlace, Before(_address)]
On = Annotated[frozenset[Topic], Before(_topics)]


class _Receiver(Strict):
    """The settings of every kind of receiver.

    `after` is the number of failures in a row from which failures are sent. `commands` limits the
    commands whose start and end are sent. `timeout` is for one message.
    """

    default_on: ClassVar[frozenset[Topic]] = ENDS
    default_commands: ClassVar[tuple[str, ...]] = ()

    url: Address
    on: Annotated[On, Length(at_least=1)] | None = None
    after: Annotated[int, Range(at_least=1, at_most=1000)] = 1
    commands: Annotated[tuple[Told, ...], Length(at_least=1)] | None = None
    include_log: bool = False
    timeout: Duration = TIMEOUT

    @classmethod
    def rewritten(cls, data: Any) -> Any:
        """YAML 1.1 reads the key `on` as true, and so does Ansible, which writes it as `true`."""
        if not isinstance(data, dict) or "on" in data or not {True, "true"} & data.keys():
            return data
        return {"on" if key in (True, "true") else key: value for key, value in data.items()}

    def require_sound(self) -> None:
        """Nobody waits long for a receiver."""
        if self.timeout > LONGEST_TIMEOUT:
            raise Mistake("a timeout above 1m is too long for a notification", hint="1m or less")

    @property
    def topics(self) -> frozenset[Topic]:
        return self.default_on if self.on is None else self.on

    @property
    def told_commands(self) -> frozenset[str]:
        return frozenset(self.default_commands if self.commands is None else self.commands)


class _HttpReceiver(_Receiver):
    """The settings of receivers behind a URL; `ca_file` holds a private certificate authority."""

    ca_file: AbsolutePath | None = None
    plain_http: bool = False

    def require_sound(self) -> None:
        """Nothing is sent in the clear unless the file says so."""
        super().require_sound()
        if not isinstance(self.url, str):
            return
        from urllib.parse import urlsplit

        try:
            url = urlsplit(self.url)
            is_address = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise Mistake("its url is not an address", hint="write https://HOST/PATH")
        if url.scheme == "http" and url.hostname not in LOOPBACK and not self.plain_http:
            raise Mistake(
                "http sends notifications in the clear",
                hint="write https://, or add plain_http: true",
            )


class PingSettings(_HttpReceiver):
    """A service that expects a ping from each run, with the protocol of Healthchecks."""

    default_on: ClassVar[frozenset[Topic]] = PINGS
    default_commands: ClassVar[tuple[str, ...]] = ("backup",)

    kind: Literal["ping"]
    exit_status: bool = False


class WebhookSettings(_HttpReceiver):
    """A program that receives our JSON document; it is signed if there is a `secret`."""

    kind: Literal["webhook"]
    secret: SecretPlace | None = None


class AppriseSettings(_Receiver):
    """A service that the Apprise library knows: mail, chat, paging."""

    kind: Literal["apprise"]

    @classmethod
    def rewritten(cls, data: Any) -> Any:
        """Refuse `ca_file`, which all other kinds behind a network have."""
        if isinstance(data, dict) and "ca_file" in data:
            raise Mistake(
                "kind apprise has no ca_file: its library takes no file of authorities",
                hint="for mail add the authority to this host (update-ca-certificates), for an"
                " HTTP service use kind: webhook",
            )
        return super().rewritten(data)


def require_files(receiver: PingSettings | WebhookSettings | AppriseSettings, name: str) -> None:
    """Raise `ConfigInvalid` for a file with a secret that is missing, or that others can read."""
    places = {"url": receiver.url}
    if isinstance(receiver, WebhookSettings) and receiver.secret is not None:
        places["secret"] = receiver.secret
    for key, place in places.items():
        if isinstance(place, SecretPlace) and place.file is not None:
            try:
                require_private(place.file)
            except NotPrivate as error:
                raise ConfigInvalid(
                    f"cannot use {key} of receiver '{name}': {error.what}", hint=error.hint
                ) from error


ReceiverSettings = Annotated[PingSettings | WebhookSettings | AppriseSettings, By("kind")]
Receivers = dict[Name, ReceiverSettings]


def _none_or_receiver(value: Any) -> Any:
    if value is True or (isinstance(value, str | int) and value is not False):
        # A text is most often the address, which can be a secret.
        what = "a text" if isinstance(value, str) else shown(value)
        raise Mistake(
            f"{what} is not a receiver", hint="write its settings, or false to leave it out"
        )
    return value


JobReceivers = dict[Name, Annotated[ReceiverSettings | Literal[False], Before(_none_or_receiver)]]
"""A job adds receivers to those of all jobs, or replaces them by name; false leaves one out."""
