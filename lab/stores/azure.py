"""Azure Blob Storage on loopback: Microsoft's own emulator, Azurite, as a plain process."""

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from lab import command
from lab.errors import CommandFailed
from lab.locks import only_one
from lab.machine import install, missing
from lab.progress import say
from lab.state import STATE
from lab.waiting import wait_until

# Versions and checksums are locked here. `npm install --package-lock-only
# --omit-lockfile-registry-resolved` renews the lock. Later releases need a newer Node than
# Debian's.
LOCK = Path(__file__).parent / "azurite"
PACKAGES = {
    "nodejs": ["/usr/bin/node", "/usr/local/bin/node"],
    "npm": ["/usr/bin/npm", "/usr/local/bin/npm"],
}
PROGRAM = "node_modules/azurite/dist/src/blob/main.js"
START_SECONDS = 60.0
VERSION = "2021-08-06"
ACCOUNT = "acme"


@dataclass(frozen=True)
class AzureServer:
    """The server's port, and the key of its only account."""

    port: int
    account_key: str
    account: str = ACCOUNT

    @property
    def endpoint(self) -> str:
        """The endpoint with the account in its path, so that no host name must be resolved."""
        return f"http://127.0.0.1:{self.port}/{self.account}"

    def make_container(self, name: str) -> None:
        """Create a container, as an operator does once per repository; raises `CommandFailed`."""
        self._ask(f"/{self.account}/{name}", {"restype": "container"}, {})

    def put(self, container: str, name: str) -> None:
        """Store an empty blob under any name; raises `CommandFailed`."""
        path = f"/{self.account}/{container}/{quote(name)}"
        self._ask(path, {}, {"x-ms-blob-type": "BlockBlob"})

    def _ask(self, path: str, query: dict[str, str], told: dict[str, str]) -> None:
        headers = {
            **told,
            "x-ms-date": format_datetime(datetime.now(UTC), usegmt=True),
            "x-ms-version": VERSION,
        }
        headers["authorization"] = self._signed(path, query, headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            line = f"{path}?{urlencode(query)}" if query else path
            connection.request("PUT", line, headers={**headers, "content-length": "0"})
            answer = connection.getresponse()
            if answer.status != http.client.CREATED:
                raise CommandFailed(f"cannot create '{path}': {answer.read().decode()}")
        finally:
            connection.close()

    def _signed(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """The Shared Key signature of a request without a body."""
        named = "".join(f"{key}:{headers[key]}\n" for key in sorted(headers))
        asked = "".join(f"\n{key}:{query[key]}" for key in sorted(query))
        empty = "\n" * 12
        text = f"PUT{empty}{named}/{self.account}{path}{asked}"
        return f"SharedKey {self.account}:{self._digest(text)}"

    def token(self, container: str, *, rights: str) -> str:
        """A shared access signature for a container; rights `rcl`: read, create and list."""
        fields = {
            "sp": rights,
            "se": f"{datetime.now(UTC) + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}",
            "sv": "2020-12-06",
            "sr": "c",
        }
        signed = (
            *(fields["sp"], "", fields["se"], f"/blob/{self.account}/{container}"),
            *("", "", "", fields["sv"], fields["sr"], "", "", "", "", "", "", ""),
        )
        return urlencode({**fields, "sig": self._digest("\n".join(signed))})

    def _digest(self, text: str) -> str:
        key = base64.b64decode(self.account_key)
        return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


@contextmanager
def azure_server(folder: Path) -> Iterator[AzureServer]:
    """Start Azurite with all its data below `folder` until the block ends; raises `LabError`."""
    program = _installed() / PROGRAM
    folder.mkdir(parents=True)
    server = AzureServer(
        port=_free_port(), account_key=base64.b64encode(secrets.token_bytes(32)).decode()
    )
    with (folder / "azurite.out").open("wb") as out:
        process = subprocess.Popen(
            [
                *("node", str(program), "--silent", "--disableProductStyleUrl"),
                *("--blobPort", str(server.port), "--location", str(folder)),
            ],
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{server.account_key}"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: _require_open(server.port), deadline_seconds=START_SECONDS)
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _installed() -> Path:
    """The folder with the locked packages, installed once per lock file."""
    digest = hashlib.sha256((LOCK / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = STATE / "azurite" / digest
    with only_one(folder.with_name(f"{digest}.lock")):
        if not folder.is_dir():
            install(missing(PACKAGES))
            say("installing Azurite with npm")
            unfinished = folder.with_name(f".{digest}")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(LOCK, unfinished)
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
            command.run(["npm", "ci", "--prefix", str(unfinished), *options])
            unfinished.rename(folder)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _require_open(port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        raise CommandFailed(f"Azurite does not listen on port {port}: {error}") from error
