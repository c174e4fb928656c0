"""All kinds of receivers at once, on real servers: told while one hangs, and no secret leaks.

`KEY` stands in every URL and secret of a receiver, `ROW` in what a server says of its data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from holdfast.host_state.outbox import FileOutbox
from holdfast.model.errors import AccessDenied
from tests.support.command_line import Answer, CommandLine
from tests.support.receivers import Listener, closed_port, listening, status
from tests.support.waiting import until
from tests.unit.cli.test_notify import configure
from tests.unit.notifications.test_apprise import Mailbox

KEY, ROW = "hunter2hunter2", "4711-0815-kunde"
REFUSED = AccessDenied(
    f"cannot log in: password={ROW}: postgresql://shop:{ROW}@db/shop"
    f"\nDETAIL:  Key (card)=({ROW}) already exists.\nLINE 1: INSERT INTO cards VALUES ('{ROW}')",
    hint=f"ALTER ROLE shop PASSWORD '{ROW}'",
)


@dataclass(kw_only=True)
class Everybody:
    """A ping and a webhook over HTTP, mail by SMTP with a login, and a webhook that hangs."""

    http: Listener
    hangs: Listener
    box: Mailbox
    mail_port: int
    folder: Path

    @property
    def notify(self) -> str:
        secrets = {
            "ping": self.http.url(f"/{KEY}/ping"),
            "hook": self.http.url(f"/{KEY}/hook").replace("//", f"//eve:{KEY}@"),
            "slow": self.hangs.url(f"/{KEY}/slow"),
            "mail": f"mailto://eve:{KEY}@127.0.0.1:{self.mail_port}?mode=insecure&format=text"
            "&from=backup@example.net&to=ops@example.net",
            "signs": KEY,
        }
        for name, value in secrets.items():
            path = self.folder / f"{name}.secret"
            path.write_text(value)
            path.chmod(0o600)
        both = "include_log: true, timeout: 30s, on: [failure]"

        def of(name: str) -> str:
            return f'{{file: "{self.folder / name}.secret"}}'

        return (
            f"{{watch: {{kind: ping, url: {of('ping')}, {both}}},"
            f" hook: {{kind: webhook, url: {of('hook')}, secret: {of('signs')}, {both}}},"
            f" slow: {{kind: webhook, url: {of('slow')}, {both}}},"
            f" mail: {{kind: apprise, url: {of('mail')}, {both}}}}}"
        )


@pytest.fixture
def everybody(tmp_path: Path) -> Iterator[Everybody]:
    box = Mailbox()

    def login(*arguments: object) -> AuthResult:
        (*_, found) = arguments
        assert isinstance(found, LoginPassword)
        return AuthResult(success=found.password == KEY.encode())

    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=closed_port(),
        authenticator=login,
        auth_require_tls=False,
    )
    controller.start()
    try:
        with listening() as http, listening() as hangs:
            hangs.always(hangs.hang)
            folder = tmp_path / "secrets"
            folder.mkdir()
            yield Everybody(
                http=http, hangs=hangs, box=box, mail_port=controller.port, folder=folder
            )
    finally:
        controller.stop()


def failed(cli: CommandLine) -> Answer:
    cli.source.refuse_with = REFUSED
    return cli.holdfast("--log-format", "json", "-v", "backup", "shop")


def kept(cli: CommandLine, room: str) -> str:
    """All that the program has written there."""
    paths = (path for path in (cli.folder / room).rglob("*") if path.is_file())
    return "\n".join(path.read_bytes().decode(errors="replace") for path in paths)


def test_a_failure_reaches_ping_webhook_and_mail_while_another_receiver_hangs(
    cli: CommandLine, everybody: Everybody
) -> None:
    configure(cli, everybody.notify, metrics=True)
    answer = failed(cli)
    assert answer.exit_code == 21
    # Each has its own thread: the one that hangs, which still does, delays nobody.
    until(lambda: len(everybody.http.told) == 2 and len(everybody.box.messages) == 1)
    assert not everybody.hangs.released.is_set()
    assert sorted(each.path.partition("?")[0] for each in everybody.http.told) == [
        f"/{KEY}/hook",
        f"/{KEY}/ping/fail",
    ]
    (mail,) = everybody.box.messages
    assert mail["Subject"].startswith("holdfast: backup of 'shop' failed on ")
    waiting = FileOutbox(cli.folder / "state/notify").waiting()
    assert "slow" in {each.receiver for each in waiting}


def test_neither_messages_nor_logs_nor_files_hold_a_secret_or_a_row(
    cli: CommandLine, everybody: Everybody
) -> None:
    configure(cli, everybody.notify, metrics=True)
    answers = [failed(cli)]
    until(lambda: len(everybody.http.told) == 2 and len(everybody.box.messages) == 1)
    # The same with receivers that refuse: what is told about them holds no secret either.
    everybody.http.always(status(500))
    everybody.box.answer = f"550 {KEY} is no user here"
    everybody.hangs.released.set()
    answers += [failed(cli), cli.holdfast("notify", "send"), cli.holdfast("notify", "test")]
    answers += [cli.holdfast("notify", "send", "--json"), cli.holdfast("check", "shop")]
    bodies = [each.body.decode() for each in (*everybody.http.told, *everybody.hangs.told)]
    headers = [
        f"{name}: {value}"
        for each in (*everybody.http.told, *everybody.hangs.told)
        for name, value in each.headers.items()
        if name != "Authorization"
    ]
    mails = [str(each) for each in everybody.box.messages]
    sent = "\n".join([*bodies, *headers, *mails])
    assert "backup_begun" in sent, "the log is part of it"
    assert "cannot log in" in sent
    printed = "\n".join(each.stdout + each.stderr for each in answers)
    assert "notification_failed" in printed
    outbox, metrics = kept(cli, "state/notify"), kept(cli, "metrics")
    assert "holdfast_notification_failures_total" in metrics
    for name, text in {"sent": sent, "outbox": outbox, "metrics": metrics}.items():
        assert KEY not in text, name
        assert ROW not in text, name
    # The log of the host quotes errors of its own server, and no secret of a receiver.
    assert KEY not in printed
    assert KEY not in kept(cli, "state")
