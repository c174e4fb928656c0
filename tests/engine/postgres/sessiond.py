"""A session daemon for one test, and the commands that talk to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.model.errors import SessionDaemonUnreachable
from holdfast.sessions.client import SessionClient
from tests.support.installation import Installation
from tests.support.waiting import WAIT_SECONDS, until

DAEMON = [sys.executable, "-c", "from holdfast.daemon.main import main; main()"]


class Daemon:
    """`holdfast-sessiond` on the configuration of `installation`."""

    def __init__(
        self, installation: Installation, *, per_server: int = 4, longest: str = "1d"
    ) -> None:
        self.installation = installation
        self.socket = installation.folder / "sessiond"
        installation.settings["sessions"] = {
            "socket": str(self.socket),
            "per_server": per_server,
            "longest": longest,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Daemon]:
        self.start()
        try:
            yield self
        finally:
            self.end(signal.SIGTERM)

    def start(self) -> None:
        config = Path(self.installation.argv()[-1])
        log = (self.installation.folder / "sessiond.log").open("ab")
        self._process = subprocess.Popen(
            [*DAEMON, "--config", str(config), "--round-seconds", "0.2"],
            stdout=log,
            stderr=log,
            env=os.environ,
        )
        log.close()
        client = SessionClient(socket_path=self.socket)
        until(lambda: self._answers(client))

    def end(self, number: signal.Signals) -> None:
        """A second end is unnecessary, but no error."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(WAIT_SECONDS)
            self._process = None

    def ask(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return self.installation.run("session", *arguments, code=code)

    def begin(self, *arguments: str) -> str:
        return str(self.ask("begin", "--job", "shop", "--fast", *arguments)["session_id"])

    def told(self, session_id: str) -> tuple[str, str]:
        """State and reason."""
        found = self.ask("list", "--all")["sessions"]
        (record,) = [each for each in found if each["session_id"] == session_id]
        return record["state"], record["reason"]

    def acts(self) -> list[str]:
        """What the daemon has logged."""
        lines = (self.installation.folder / "sessiond.log").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    def _answers(self, client: SessionClient) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.installation.folder / "sessiond.log").read_text()
        try:
            client.listed(all_states=False)
        except SessionDaemonUnreachable:
            return False
        return True
