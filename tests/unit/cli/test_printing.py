"""Exit codes do not depend on the output, or on the state of the standard streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
from typer.main import get_command

from holdfast.cli.typer_program import program
from holdfast.model.errors import OutputLost
from tests.support.forked_calls import make_installation
from tests.support.memory_cluster import DataDirectory

PROJECT = Path(__file__).resolve().parents[3]
WAYS = ("closed", "full", "a broken pipe")
ONE, TWO = (f"00000001000000000000000{number}" for number in "12")
HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]

# One call of each command; most of them succeed. Where a line ends with `answers`, the output is
# the only result of the command.
CALLS = {
    "plan": ["shop", "answers"],
    "backup": ["shop"],
    "list": ["shop", "answers"],
    "show": ["shop/latest", "answers"],
    "verify": ["shop/latest"],
    "restore": ["shop/latest", "--to", "fake:///there"],
    "windows": ["shop", "answers"],
    "drill": ["shop"],
    "drills": ["shop", "answers"],
    "notify test": ["shop"],
    "notify send": [],
    "copy": ["shop", "--to", "offsite"],
    "du": ["answers"],
    "prune": ["shop"],
    "repair": ["shop"],
    "snapshot": ["farm", "--with", "/bin/true"],
    "check": ["shop"],
    "status": ["answers"],
    "fleet": ["answers"],
    "config check": ["holdfast.yaml"],
    "keys identity": ["made.key", "answers"],
    "keys signing": ["made.key", "answers"],
    "keys public": ["there.key", "answers"],
    "session begin": ["--job", "farm"],
    "session join": ["id"],
    "session heartbeat": ["id"],
    "session end": ["id"],
    "session abort": ["id"],
    "session list": [],
    "wal push": ["shop", f"data/pg_wal/{ONE}"],
    "wal get": ["shop", ONE, "there", "--cluster", "77"],
    "wal receive": ["farm"],
    "wal list": ["shop", "answers"],
}
# The daemon is not there, and neither is the cluster of `farm`; the source of `shop` has no drills.
FAILING = {"snapshot": 20, "wal receive": 20, "drill": 23} | {
    name: 66 for name in CALLS if name.startswith("session")
}
WITHOUT_JSON = {"wal get", "wal receive"}
# Commands that a server calls; it reads the exit code only.
FOR_SERVERS = {"wal push"}


@dataclass(frozen=True)
class Calls:
    """Runs the program in new processes, each with a fresh copy of one small installation."""

    server: subprocess.Popen[str]

    def code(
        self, *arguments: str, out: str = "fine", err: str = "fine", keeps: bool = False
    ) -> int:
        streams = ["closed" if "closed" in (out, err) else "fine", out, err]
        line = ["--config", "holdfast.yaml", *arguments]
        call = {"arguments": line, "streams": streams, "keeps": keeps}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(call) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


@contextmanager
def served(folder: Path) -> Iterator[Calls]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked_calls", str(folder)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield Calls(server)
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    folder = tmp_path_factory.mktemp("printing") / "installation"
    make_installation(folder)
    DataDirectory(folder / "data").finish(ONE)
    with served(folder) as calls:
        assert calls.code("keys", "identity", "there.key", keeps=True) == 0
        assert calls.code("backup", "shop", keeps=True) == 0
        assert calls.code("wal", "push", "shop", f"data/pg_wal/{ONE}", keeps=True) == 0
        yield calls


def every_command() -> set[str]:
    app = get_command(program([]))
    found = set()
    for name, command in app.commands.items():  # type: ignore[attr-defined]  # it is a group
        inner = getattr(command, "commands", None)
        found |= {f"{name} {each}" for each in inner} if inner else {name}
    return found


def line_of(name: str) -> list[str]:
    return [*name.split(), *(word for word in CALLS[name] if word != "answers")]


def test_every_command_is_called_here() -> None:
    assert set(CALLS) == every_command()


@pytest.mark.parametrize("name", CALLS)
def test_the_code_says_what_was_done_and_not_what_was_printed(calls: Calls, name: str) -> None:
    line, code = line_of(name), FAILING.get(name, 0)
    answers = "answers" in CALLS[name]
    assert calls.code(*line, err="full" if answers else "fine") == code
    for way in WAYS:
        ending = calls.code(*line, out=way, err=way)
        assert ending == (OutputLost.exit_code if answers else code), way


@pytest.mark.parametrize(
    ("name", "way"), list(zip(sorted(set(CALLS) - WITHOUT_JSON), cycle(WAYS), strict=False))
)
def test_a_document_that_is_lost_has_a_code_of_its_own_unless_something_else_is_wrong(
    calls: Calls, name: str, way: str
) -> None:
    line, code = [*line_of(name), "--json"], FAILING.get(name, 0)
    lost = code if code or name in FOR_SERVERS else OutputLost.exit_code
    assert calls.code(*line, out=way) == lost


@pytest.mark.parametrize("way", ["fine", *WAYS])
def test_an_error_keeps_its_code_where_nobody_can_be_told(calls: Calls, way: str) -> None:
    for json_too in ([], ["--json"]):
        assert calls.code("status", "nobody", *json_too, out=way, err=way) == 11
        assert calls.code("nonsense", *json_too, out=way, err=way) == 2
        assert calls.code("backup", *json_too, out=way, err=way) == 2


GET = ["get", "shop", TWO, "there", "--cluster", "77"]
ENDINGS = {
    "it is not archived": (["wal", *GET], 1),
    "a standby waits for it": (["wal", *GET, "--standby"], 1),
    "no such job": (["wal", "get", "nobody", *GET[2:]], 150 + 11),
    "no such job, for a standby": (["wal", "get", "nobody", *GET[2:], "--standby"], 1),
    "no cluster": (["wal", "get", "shop", TWO, "there"], 150 + 71),
    "a cluster that is none": (["wal", *GET[:-1], "../.."], 150 + 2),
    "no name": (["wal", "get", "shop"], 150 + 2),
    "an option nobody knows": (["wal", *GET, "--fast"], 150 + 2),
    "an option before it nobody knows": (["--colour", "never", "wal", *GET], 150 + 2),
    "a value nobody can use": (["wal", *GET, "--at-once", "many"], 150 + 2),
    "a usage that a standby repeats": (["wal", *GET, "--standby", "--fast"], 150 + 2),
    "one file and one word too many": (["wal", *GET, "more"], 150 + 2),
    "no configuration": (["--config", "nowhere.yaml", "wal", *GET], 150 + 10),
}


@pytest.mark.parametrize("way", ["fine", *WAYS])
@pytest.mark.parametrize("case", ENDINGS)
def test_only_what_is_not_archived_ends_a_recovery(calls: Calls, case: str, way: str) -> None:
    line, code = ENDINGS[case]
    assert calls.code(*line, out=way, err=way) == code


@pytest.mark.parametrize("redirection", ["2>/dev/full", "<&- >&- 2>&-", "2>&1 | :"])
def test_a_shell_sees_the_same_codes(tmp_path: Path, redirection: str) -> None:
    """The interpreter as a server's shell starts it, without help from the tests."""
    make_installation(tmp_path / "installation")
    path = DataDirectory(tmp_path / "data").finish(ONE)
    holdfast = f'"$@" --config {tmp_path}/installation/holdfast.yaml wal'
    script = "; ".join(
        f"set -o pipefail; {holdfast} {call} {redirection}; echo ${{PIPESTATUS[0]}} >&9"
        for call in (
            f"get shop {ONE} {tmp_path}/there --cluster 77",
            f"push shop {path} --json",
            f"get shop {ONE} {tmp_path}/there --cluster 77",
            f"get shop {ONE}",
        )
    )
    codes = tmp_path / "codes"
    subprocess.run(["bash", "-c", f"exec 9>{codes}; {script}", "sh", *HOLDFAST], check=False)
    assert codes.read_text().split() == ["1", "0", "0", "152"]
    assert (tmp_path / "there").read_bytes() == path.read_bytes()


def test_a_reader_that_has_what_it_wanted_hears_no_more(tmp_path: Path) -> None:
    make_installation(tmp_path / "installation")
    reader, writer = os.pipe()
    os.close(reader)
    line = [*HOLDFAST, "--config", str(tmp_path / "installation/holdfast.yaml"), "list"]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (16, "")


def test_a_program_that_cannot_be_loaded_does_not_end_a_recovery(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('half of it is installed')")
    for line, code in ((["wal", *GET], 150 + 1), (["list"], 1)):
        done = subprocess.run(
            [*HOLDFAST, *line],
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert "error: cannot run holdfast: ImportError: half of it is installed" in done.stderr
