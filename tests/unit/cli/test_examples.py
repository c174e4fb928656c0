"""The examples at the end of each command's help exist and work."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from textwrap import dedent

import pytest

from tests.support.command_line import CommandLine
from tests.support.examples import commands, pairs, words_of, wrong_with

COMMANDS = dict(commands())
# Names in the examples, and their replacements in these tests.
INSTEAD = {
    "postgresql:///shop": "fake://target",
    "postgresql:///shop_check?host=/run/postgresql": "fake://target",
    "/etc/holdfast/holdfast.yaml": "{folder}/holdfast.yaml",
    "/etc/holdfast/signing.key": "{folder}/signing.key",
    "/etc/holdfast/fleet.json": "{folder}/fleet.json",
    "/var/www/fleet/index.html": "{folder}/index.html",
    "/root/restore.key": "{folder}/restore.key",
    # The moment of a backup in memory is the same in every test.
    "26h": "10000d",
}
# They need a server, a cluster or the session daemon: only parsed here.
NEED_MORE = {"snapshot", "wal push", "wal get", "wal receive"}
KEYS = {"identity": "restore.key", "signing": "signing.key"}
# Their examples also name a requirement: a timer's service, a replication slot.
CALL_OTHERS = {"backup", "wal receive"}
NEED_A_CLUSTER = "farm/latest"
RUNS_FOR_EVER = "--serve"
SECOND = "  offsite: {{kind: local, path: {folder}/offsite}}\njobs:"
LONGEST_EXPLANATION = 74

LINES = [(name, line) for name, command in COMMANDS.items() for _, line in pairs(command.examples)]
RUN = [
    line
    for name, line in LINES
    if name not in NEED_MORE and not name.startswith("session")
    if words_of(line) and NEED_A_CLUSTER not in line and RUNS_FOR_EVER not in line
]
# Found here, as PATH is empty inside a test.
JQ = shutil.which("jq")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_two_examples_with_an_explanation_each(name: str) -> None:
    found = pairs(COMMANDS[name].examples)
    assert all(len(each) == 2 for each in found), "an explanation, and one line of a command"
    assert [why for why, _ in found if not why.startswith("# ")] == []
    assert [why for why, _ in found if len(why) > LONGEST_EXPLANATION or why.endswith(".")] == []
    assert sum(words_of(line)[: len(name.split())] == name.split() for _, line in found) >= 2


@pytest.mark.parametrize(("name", "line"), LINES, ids=[line for _, line in LINES])
def test_the_parser_takes_every_example(name: str, line: str) -> None:
    words = words_of(line)
    assert words or name in CALL_OTHERS
    assert not words or wrong_with(words) == ""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("holdfast verify shop/latest --level deep", "'deep'"),
        ("sudo -u holdfast holdfast backup shop --now", "--now"),
        ("holdfast mend shop | jq .", "'mend'"),
        ("holdfast wal push", "job"),
        ("psql -c \"ALTER SYSTEM SET archive_command = '/usr/local/bin/holdfast wal psh'\"", "psh"),
    ],
)
def test_an_example_that_does_not_work_is_found(line: str, problem: str) -> None:
    assert problem in wrong_with(words_of(line))


@pytest.mark.parametrize("line", RUN)
def test_an_example_runs_as_it_stands(host: CommandLine, line: str) -> None:
    words = [INSTEAD.get(each, each).format(folder=host.folder) for each in words_of(line)]
    assert wrong_with(words) == ""
    answer = host.holdfast(*words)
    assert answer.exit_code == 0, answer.stderr
    command, _, reader = line.partition(" | ")
    if reader and JQ:
        assert "--json" in command
        argv = [JQ, *shlex.split(reader)[1:]]
        read = subprocess.run(argv, input=answer.stdout, capture_output=True, text=True, check=True)
        assert "null" not in read.stdout


@pytest.fixture
def host(cli: CommandLine, line: str) -> CommandLine:
    """A host with all that the examples name: a backup, its copy, keys, another repository."""
    second = SECOND.format(folder=cli.folder)
    cli.config.write_text(cli.config.read_text().replace("jobs:", second))
    (cli.folder / "offsite").mkdir()
    (cli.folder / "fleet.json").write_text('{"schema": "holdfast.expected-hosts/1", "hosts": {}}')
    before = [["backup", "shop"], ["copy", "shop", "--to", "offsite"]]
    if not line.startswith(("holdfast keys identity", "holdfast keys signing")):
        before += [["keys", name, f"{cli.folder}/{file}"] for name, file in KEYS.items()]
    for each in before:
        assert cli.holdfast(*each).exit_code == 0
    return cli


def test_the_examples_end_the_help_and_are_not_folded(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for name, command in COMMANDS.items():
        answer = cli.bare(*name.split(), "--help")
        assert answer.exit_code == 0
        _, shown = answer.stdout.split("\nExamples:\n\n")
        assert dedent(shown) == command.examples
