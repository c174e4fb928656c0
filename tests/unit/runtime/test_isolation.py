"""What a restored database runs reaches no network and no socket of another server."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.isolation import has_isolation, isolated, user_named
from holdfast.runtime.process import output_of

ASKS = """
import socket, sys
made = socket.socket(getattr(socket, sys.argv[1]))
made.settimeout(5)
try:
    made.connect(sys.argv[2] if sys.argv[1] == "AF_UNIX" else ("127.0.0.1", int(sys.argv[2])))
    print("connected")
except OSError as error:
    print("refused")
print(open("/proc/self/status").read().count("CapEff:\\t0000000000000000"))
"""


def asked(kind: str, place: str) -> list[str]:
    return [sys.executable, "-c", ASKS, kind, place]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        yield Path(name)


needs_isolation = pytest.mark.skipif(
    not has_isolation(None), reason="this host forbids namespaces of a user"
)


@needs_isolation
def test_a_server_in_isolation_reaches_no_socket_of_another_server(folder: Path) -> None:
    place = folder / ".s.PGSQL.5432"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(place))
        server.listen()
        argv = asked("AF_UNIX", str(place))
        assert output_of(argv).split()[0] == "connected"
        said = output_of(isolated(argv, None)).split()
    assert said[0] == "refused"


@needs_isolation
def test_a_server_in_isolation_reaches_no_port(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        argv = asked("AF_INET", str(server.getsockname()[1]))
        assert output_of(argv).split()[0] == "connected"
        assert output_of(isolated(argv, None)).split()[0] == "refused"


def test_an_unknown_user_is_refused() -> None:
    assert user_named("") is None
    with pytest.raises(ConfigInvalid, match="no such user"):
        user_named("nobody-of-that-name")
