"""What a restored database runs reaches no network and no socket of another server."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.data_directories import data_directories
from holdfast.runtime.isolation import has_isolation, isolated, network_finding, user_named
from holdfast.runtime.process import User, output_of, running

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


RIGHTS = ("CapPrm", "CapEff", "CapAmb")


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
        said = output_of(isolated(argv, None, own=[folder])).split()
    assert said[0] == "refused"


@needs_isolation
def test_a_server_in_isolation_reaches_no_port(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        argv = asked("AF_INET", str(server.getsockname()[1]))
        assert output_of(argv).split()[0] == "connected"
        assert output_of(isolated(argv, None, own=[folder])).split()[0] == "refused"


@pytest.mark.root
@needs_isolation
def test_a_server_in_isolation_has_no_right_to_uncover_what_is_hidden(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other user gets to no folder of this test run.
    monkeypatch.setenv("PATH", os.defpath)
    user, home = User.named("nobody"), folder / "home"
    assert user is not None
    home.mkdir()
    folder.chmod(0o755)
    os.chown(home, user.user, user.group)
    argv = isolated(["cat", "/proc/self/status"], user, own=[home])
    assert argv[0] == "unshare"
    said = output_of(argv, user=user)
    rights = [line.split()[1] for line in said.splitlines() if line.startswith(RIGHTS)]
    assert [int(each, 16) for each in rights] == [0, 0, 0]


@needs_isolation
def test_where_nothing_can_be_made_read_only_production_is_hidden_still(folder: Path) -> None:
    """As with a kernel that lacks the call: here a folder is gone that should be mounted."""
    place = folder / ".s.PGSQL.5432"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(place))
        server.listen()
        argv = isolated(asked("AF_UNIX", str(place)), None, own=[folder / "gone"])
        assert "confined" not in argv
        assert output_of(argv).split()[0] == "refused"


READS = """
import pathlib, sys
for place in sys.argv[1:]:
    try:
        print(pathlib.Path(place).read_text() or "empty")
    except OSError:
        print("gone")
"""


@needs_isolation
def test_a_server_in_isolation_sees_no_secret_but_its_own_folder_within_what_is_hidden(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, key = folder / "state", folder / "signing.key"
    own = state / "drills/shop/room"
    own.mkdir(parents=True)
    places = [key, state / "history", own / "mine", folder / "link"]
    for each in places[:3]:
        each.write_text(each.name)
    places[3].symlink_to(key)
    argv = [sys.executable, "-c", READS, *map(str, places), "history"]
    hidden = [state, places[3], folder / "missing"]
    # A folder that it worked in stays open, and would show what is covered now.
    monkeypatch.chdir(state)
    assert output_of(argv).split() == ["signing.key", "history", "mine", "signing.key", "history"]
    said = output_of(isolated(argv, None, own=[own], hidden=hidden)).split()
    assert said == ["empty", "gone", "mine", "empty", "gone"]
    assert sorted(each.name for each in state.iterdir()) == ["drills", "history"]


@needs_isolation
def test_a_server_in_isolation_gets_nothing_from_the_process_that_started_it(folder: Path) -> None:
    """Neither its environment nor its files by way of /proc, although both have one user."""
    own = folder / "own"
    own.mkdir()
    (folder / "key").write_text("geheim")
    places = [f"/proc/{os.getpid()}/root{folder}/key", f"/proc/{os.getpid()}/environ"]
    argv = [sys.executable, "-c", READS, *places]
    assert output_of(argv).split()[0] == "geheim"
    said = output_of(isolated(argv, None, own=[own], hidden=[folder / "key"])).split()
    assert said == ["gone", "gone"]


def test_a_host_without_namespaces_runs_the_server_as_it_is_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{isolated.__module__}._runs", lambda *_: False)
    assert isolated(["true"], None, own=[folder]) == ["true"]
    (finding,) = network_finding("")
    assert (finding.subject, finding.blocks) == ("network", False)


def test_an_unknown_user_is_refused() -> None:
    assert user_named("") is None
    with pytest.raises(ConfigInvalid, match="no such user"):
        user_named("nobody-of-that-name")


WRITES = """
import sys
for place in sys.argv[1:]:
    try:
        with open(place, "x") as file:
            print(file.write("it"), file=file)
        print("written")
    except OSError as error:
        print(type(error).__name__)
"""


@needs_isolation
def test_a_server_in_isolation_writes_to_its_own_folders_only(folder: Path) -> None:
    own, other, working = folder / "own", folder / "other", folder / "own/home"
    for each in (other, working):
        each.mkdir(parents=True)
    argv = [sys.executable, "-c", WRITES, str(own / "a"), "b", str(other / "a"), str(folder / "a")]
    said = output_of(isolated(argv, None, own=[own]), cwd=working).split()
    assert said == ["written", "written", "OSError", "OSError"]
    assert sorted(each.name for each in own.rglob("*")) == ["a", "b", "home"]
    assert list(other.iterdir()) == []


@needs_isolation
def test_a_server_in_isolation_sees_no_data_directory_but_its_own(folder: Path) -> None:
    names = ("production", "space", "wal", "own")
    production, space, wal, own = (folder / name for name in names)
    for each in (production / "pg_tblspc", space / "PG_17_202406281", own / "data"):
        each.mkdir(parents=True)
    (wal / "archive_status").mkdir(parents=True)
    (production / "pg_wal").symlink_to(wal)
    (production / "pg_tblspc/16500").symlink_to(space)
    (production / "PG_VERSION").write_text("17")
    (folder / "postgres").symlink_to("/bin/sleep")
    with running([str(folder / "postgres"), "600"], cwd=production):
        argv = ["find", *map(str, (production, space, wal, own)), "-mindepth", "1"]
        assert len(output_of(argv).split()) == 7
        assert output_of(isolated(argv, None, own=[own])).split() == [str(own / "data")]
        # A room below what is to be hidden would be hidden too.
        inside = output_of(isolated(argv, None, own=[production / "pg_tblspc"])).split()
        assert str(production / "PG_VERSION") in inside


@needs_isolation
def test_a_process_that_is_called_as_a_server_hides_nothing_else(folder: Path) -> None:
    """Any user of the host may have such a process, and links in a folder of its own."""
    programs, hostile, own = (folder / name for name in ("programs", "hostile", "own"))
    for each in (programs / "python", hostile / "pg_tblspc", own):
        each.mkdir(parents=True)
    (hostile / "PG_VERSION").write_text("17")
    (hostile / "pg_tblspc/16500").symlink_to(programs)
    (folder / "postgres").symlink_to("/bin/sleep")
    server = [str(folder / "postgres"), "600"]
    with running(server, cwd=programs), running(server, cwd=hostile):
        argv = ["find", str(programs), str(hostile), "-mindepth", "1"]
        said = output_of(isolated(argv, None, own=[own])).split()
    assert said == [str(programs / "python")]


@needs_isolation
@pytest.mark.parametrize("name", [b"a\n\nb", b"\n", b" \n \n", b"\xff"])
def test_no_name_of_a_socket_or_program_keeps_a_drill_from_its_server(
    folder: Path, name: bytes
) -> None:
    """Any user of the host may choose such names, and the kernel lists them as they are."""
    place, program = (folder / f"{os.fsdecode(name)}{end}" for end in ("", "p"))
    program.symlink_to("/bin/sleep")
    with (
        closing(socket.socket(socket.AF_UNIX)) as hostile,
        running([str(program), "600"]),
    ):
        hostile.bind(os.fsencode(place))
        assert output_of(isolated(["echo", "runs"], None, own=[folder])) == "runs\n"


@needs_isolation
def test_a_socket_that_became_a_link_hides_nothing_else(folder: Path) -> None:
    programs, place, own = folder / "programs", folder / ".s.PGSQL.5432", folder / "own"
    for each in (programs / "python", own):
        each.mkdir(parents=True)
    with closing(socket.socket(socket.AF_UNIX)) as hostile:
        hostile.bind(str(place))
        place.unlink()
        place.symlink_to(programs)
        argv = ["find", str(programs), "-mindepth", "1"]
        assert output_of(isolated(argv, None, own=[own])).split() == [str(programs / "python")]


@needs_isolation
def test_a_loop_of_links_to_a_socket_ends_no_drill(folder: Path) -> None:
    above = folder / "above"
    above.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as hostile:
        hostile.bind(str(above / ".s.PGSQL.5432"))
        above.rename(folder / "elsewhere")
        above.symlink_to(above)
        assert output_of(isolated(["echo", "runs"], None, own=[folder])) == "runs\n"


def test_programs_in_the_home_of_a_servers_user_are_no_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder / "17/main"
    for each in (data, folder / ".local/share/pipx"):
        each.mkdir(parents=True)
    (data / "PG_VERSION").write_text("17")
    monkeypatch.setattr(f"{data_directories.__module__}._USUAL", [(folder, "*/*")])
    found = [each for each in data_directories() if each.is_relative_to(folder)]
    assert found == [data]
