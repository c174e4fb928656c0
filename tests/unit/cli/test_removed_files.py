"""A command that runs for weeks outlives its installation: an upgrade removes the files."""

from __future__ import annotations

import subprocess
import sys

from holdfast.runtime.preload import LIBRARIES
from tests.support.command_line import CommandLine
from tests.support.segments import segment

SEGMENT = "000000010000000000000001"
REMOVED = """
import sys

missed = []

class Removed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        # Python itself is still there; this name is sought in releases that have another one.
        if name.partition(".")[0] not in sys.stdlib_module_names | {"_sha2", "_sha256"}:
            missed.append(name)

def remove():
    sys.meta_path.insert(0, Removed)
"""
RECEIVER = """
from contextlib import contextmanager
from pathlib import Path

from holdfast.cli.main import main
from holdfast.model.errors import DatabaseUnreachable
from holdfast.operations.wal import receive
from holdfast.wiring import wal

class Stream:
    is_running = True

    def cluster(self):
        return "77"

    @contextmanager
    def receiving(self, folder):
        remove()
        (Path(folder) / NAME).write_bytes(segment)
        yield self

    def finish(self):
        raise DatabaseUnreachable("the server has gone")

def pause(_seconds):
    Stream.is_running = False

NAME = sys.argv.pop(1)
segment = sys.stdin.buffer.read()
wal.stream = lambda *_, **__: Stream()
receive.receive.__kwdefaults__["pause"] = pause
try:
    main()
finally:
    print(*missed)
"""
DAEMON = """
from pathlib import Path

from holdfast.daemon import main
from holdfast.model.errors import HoldfastError
from holdfast.ports.sessions import HeldKind

def serve(*_, **__):
    remove()
    try:
        main._sessions_of(main.load(config), "shop").holder.begin(
            HeldKind.SNAPSHOT, label="a", fast=False
        )
    except HoldfastError as error:
        print(type(error).__name__)

main._serve = serve
config = Path(sys.argv[1])
main._run(config, 1.0)
print(*missed)
"""
PAGE = """
from holdfast.cli.fleet_page.server import PageServer
from holdfast.cli.main import main

PageServer.serve_forever = lambda *_: print(*sys.modules)
main()
"""
NOTIFY = 'notify: {ops: {kind: webhook, url: "http://127.0.0.1:1/"}}'


def test_a_receiver_of_wal_needs_no_file_once_it_receives(cli: CommandLine) -> None:
    cli.configure(NOTIFY)
    arguments = ["--config", str(cli.config), "wal", "receive", "shop"]
    done = subprocess.run(
        [sys.executable, "-c", REMOVED + RECEIVER, SEGMENT, *arguments],
        input=segment(SEGMENT),
        check=False,
        capture_output=True,
    )
    assert b"the server has gone" in done.stderr
    assert done.stdout.splitlines()[-1] == b""
    (line,) = cli.holdfast("wal", "list", "shop", "--json").document["timelines"]
    assert line["segments"] == 1


def test_a_daemon_needs_no_file_for_its_first_session(cli: CommandLine) -> None:
    text = cli.config.read_text().replace("dbname=shop", f"host={cli.folder}/none dbname=shop")
    cli.config.write_text(f"sessions: {{socket: {cli.folder}/socket}}\n{text}")
    done = subprocess.run(
        [sys.executable, "-c", REMOVED + DAEMON, str(cli.config)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["DatabaseUnreachable", ""], done.stderr


def test_a_page_of_the_fleet_is_served_with_all_libraries(cli: CommandLine) -> None:
    arguments = ["--config", str(cli.config), "fleet", "--serve", "0"]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{PAGE}", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert set(LIBRARIES) <= set(done.stdout.splitlines()[-1].split()), done.stderr
