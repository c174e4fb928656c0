"""Mail by a real SMTP server, and the other services by their URLs."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from holdfast.model.errors import NotificationFailed
from holdfast.model.notification import Event, Topic
from holdfast.notifications.apprise import AppriseReceiver
from tests.support.receivers import closed_port, listening, status
from tests.support.waiting import until
from tests.unit.repositories.test_tls_faults import made

FAILED = Event(
    id="1" * 32,
    topic=Topic.FAILURE,
    command="backup",
    job="shop",
    host="db1",
    at=datetime(2026, 11, 30, 2, tzinfo=UTC),
    exit_code=20,
    error="cannot reach 'shop': <connection & refused>",
)


class Mailbox:
    """An SMTP server's handler that keeps each message, or refuses it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.recipients: list[str] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - the name that the server calls
        self.recipients += envelope.rcpt_tos
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return self.answer


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=closed_port())
    controller.start()
    yield box, controller.port
    controller.stop()


def receiver(url: str) -> AppriseReceiver:
    return AppriseReceiver(name="mail", url=lambda: url, seconds=10)


def mailto(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?from=backup@example.net&to=ops@example.net&format=text"


def refused(url: str) -> str:
    with pytest.raises(NotificationFailed) as caught:
        receiver(url).send(FAILED)
    assert "hunter2" not in caught.value.message + caught.value.hint
    return caught.value.message


def test_a_mail_arrives_with_title_and_text(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    receiver(mailto(port)).send(FAILED)
    (mail,) = box.messages
    assert box.recipients == ["ops@example.net"]
    assert mail["Subject"] == "holdfast: backup of 'shop' failed on db1"
    text = mail.get_body(("plain",)).get_content()
    assert "error: cannot reach 'shop': <connection & refused>" in text
    assert "exit code: 20" in text


def test_a_mail_server_that_refuses_or_is_down_is_told(
    mailbox: tuple[Mailbox, int], capfd: pytest.CaptureFixture[str]
) -> None:
    box, port = mailbox
    box.answer = "550 no such user"
    assert "cannot notify 'mail'" in refused(mailto(port))
    url = mailto(closed_port()) + "&user=eve&pass=hunter2hunter2"
    assert "127.0.0.1" in refused(url)
    assert "Connection refused" in refused(url)
    assert capfd.readouterr() == ("", ""), "the library prints nothing by itself"


SECURED = """
import sys
from holdfast.model.errors import NotificationFailed
from tests.unit.notifications.test_apprise import FAILED, receiver
try:
    receiver(sys.argv[1]).send(FAILED)
except NotificationFailed as error:
    sys.exit(error.message)
"""


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_mail_over_tls_goes_only_to_a_server_that_the_hosts_authorities_know(
    tmp_path: Path, mode: str
) -> None:
    """The library asks the trust store of the host, which is all that docs can tell to extend."""
    signer = made(tmp_path, "authority", names=(), authority=True)
    own = made(tmp_path, "server", by=signer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.file, own.key_file)
    box = Mailbox()
    tls: dict[str, Any] = {"ssl_context" if mode == "ssl" else "tls_context": context}
    controller = Controller(box, hostname="127.0.0.1", port=closed_port(), **tls)
    controller.start()
    try:
        url = mailto(controller.port).replace("mailto:", "mailtos:") + f"&mode={mode}"

        def sent(**environment: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", SECURED, url],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )

        unknown = sent()
        assert unknown.returncode == 1
        assert "CERTIFICATE_VERIFY_FAILED" in unknown.stderr
        assert box.messages == []
        # What update-ca-certificates does for the whole host.
        known = sent(SSL_CERT_FILE=str(signer.file))
        assert (known.returncode, known.stderr) == (0, "")
    finally:
        controller.stop()
    (mail,) = box.messages
    assert mail["Subject"] == "holdfast: backup of 'shop' failed on db1"


def test_a_url_that_no_service_has_is_told_without_it() -> None:
    assert refused("hunter2://hunter2/x") == "cannot notify 'mail': Apprise cannot use its URL"


def test_a_server_that_quotes_the_password_does_not_bring_it_into_the_message(
    mailbox: tuple[Mailbox, int],
) -> None:
    box, port = mailbox
    box.answer = "550 hunter2@hunter2/x is wrong"
    told = refused(f"{mailto(port)}&user=eve&pass=hunter2%40hunter2%2Fx")
    assert told.startswith("cannot notify 'mail': ")


def test_a_redirect_is_not_followed_to_another_server() -> None:
    with listening() as first, listening() as other:
        first.always(status(307, Location=other.url("/taken")))
        url = first.url("/hunter2").replace("http://", "json://")
        assert "cannot notify" in refused(url)
        assert len(first.told) >= 1
        assert other.told == []


def test_a_server_that_hangs_does_not_hold_the_process() -> None:
    """The thread that sends may hang, and the program still ends."""
    program = (
        "import sys, threading\n"
        "from tests.unit.notifications.test_apprise import FAILED, receiver\n"
        "threading.Thread(target=receiver(sys.argv[1]).send, args=(FAILED,), daemon=True).start()\n"
        "sys.stdin.readline()\n"
    )
    with listening() as listener:
        listener.always(listener.hang)
        url = listener.url("/u").replace("http://", "json://") + "?rto=3600"
        child = subprocess.Popen([sys.executable, "-c", program, url], stdin=subprocess.PIPE)
        with child:
            until(lambda: listener.told != [])
            child.communicate(b"\n", timeout=30)
    assert child.returncode == 0


def test_the_library_is_loaded_by_its_receiver_only() -> None:
    program = (
        "import sys; import holdfast.cli.notify, holdfast.wiring.notify;"
        " print('apprise' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout == b"False\n"
