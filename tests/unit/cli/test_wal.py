"""`holdfast wal` as servers and operators call it, above all its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, flip_bit
from tests.support.memory_cluster import DataDirectory

ONE, TWO, FOUR = (f"00000001000000000000000{number}" for number in "124")


@pytest.fixture
def server(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path / "data")


def test_a_server_archives_and_gets_back_what_it_archived(
    cli: CommandLine, server: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(server.data)
    path = server.finish(ONE)
    assert cli.holdfast("wal", "push", "shop", f"pg_wal/{ONE}").exit_code == 0
    again = cli.holdfast("wal", "push", "shop", f"pg_wal/{ONE}", "--json")
    assert (again.exit_code, again.document["was_there"]) == (0, True)
    assert cli.holdfast("wal", "get", "shop", ONE, "pg_wal/RECOVERYXLOG").exit_code == 0
    assert (server.wal / "RECOVERYXLOG").read_bytes() == path.read_bytes()


def test_another_segment_of_the_same_name_has_an_exit_code_of_its_own(
    cli: CommandLine, server: DataDirectory
) -> None:
    cli.holdfast("wal", "push", "shop", str(server.finish(ONE)))
    refused = cli.holdfast("wal", "push", "shop", str(server.finish(ONE, text=b"other")))
    assert refused.exit_code == 70
    assert "holds another file of that name" in refused.stderr
    assert "hint: two servers, or a server and its copy, archive under one job" in refused.stderr


def test_what_is_not_archived_ends_with_1_and_says_nothing(
    cli: CommandLine, server: DataDirectory
) -> None:
    cli.holdfast("wal", "push", "shop", str(server.finish(ONE)))
    answer = cli.holdfast("wal", "get", "shop", TWO, "there", "--cluster", "77")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "", "")


@pytest.mark.parametrize(("options", "code"), [([], 150 + 31), (["--standby"], 1)])
def test_damage_stops_a_recovery_but_not_a_standby(
    cli: CommandLine, server: DataDirectory, tmp_path: Path, options: list[str], code: int
) -> None:
    cli.holdfast("wal", "push", "shop", str(server.finish(ONE)))
    (stored,) = cli.repository.rglob("*.zst")
    flip_bit(stored)
    there = tmp_path / "there"
    answer = cli.holdfast("wal", "get", "shop", ONE, str(there), "--cluster", "77", *options)
    assert answer.exit_code == code
    assert f"error: cannot trust part '{ONE}'" in answer.stderr
    assert not there.exists()


@pytest.mark.parametrize("as_json", [True, False])
def test_a_nightly_verification_names_damaged_wal(
    cli: CommandLine, server: DataDirectory, *, as_json: bool
) -> None:
    for name in (ONE, TWO):
        assert cli.holdfast("wal", "push", "shop", str(server.finish(name))).exit_code == 0
    nightly = ["verify", "shop", "--level", "ledger", "--budget", "1m"]
    assert "0 parts and 2 WAL files read" in cli.holdfast(*nightly).stdout
    flip_bit(next(cli.repository.rglob(f"{TWO}/*.zst")))
    answer = cli.holdfast(*nightly, *(["--json"] * as_json))
    assert answer.exit_code == 31
    if as_json:
        (job,) = answer.document["jobs"]
        assert (job["parts"], job["wal_files"], job["verified"]) == (0, 2, False)
        assert [(each["backup"], each["part"]) for each in job["bad"]] == [(None, f"wal {TWO}")]
    else:
        assert f"bad: wal {TWO}: cannot trust part '{TWO}'" in answer.stdout


def test_wal_of_a_job_that_was_renamed_is_found_and_that_of_none_is_no_end_of_wal(
    cli: CommandLine, server: DataDirectory, tmp_path: Path
) -> None:
    path = server.finish(ONE)
    cli.holdfast("wal", "push", "shop", str(path))
    cli.config.write_text(cli.config.read_text().replace("shop:", "store:"))
    there = tmp_path / "there"
    assert cli.holdfast("wal", "get", "shop", ONE, str(there), "--cluster", "77").exit_code == 0
    assert there.read_bytes() == path.read_bytes()
    misspelt = cli.holdfast("wal", "get", "shpo", ONE, str(there), "--cluster", "77")
    assert misspelt.exit_code == 150 + 11


def test_whatever_keeps_us_from_knowing_stops_a_recovery(
    cli: CommandLine, server: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ("wal", "get", "shop", ONE, "there", "--cluster", "77")
    cli.repository.rmdir()
    assert cli.holdfast(*argv).exit_code == 150 + 50
    assert cli.holdfast("wal", "get", "nobody", *argv[3:]).exit_code == 150 + 11
    monkeypatch.chdir(server.data.parent)
    unknown = cli.holdfast("wal", "get", "shop", ONE, "there")
    assert unknown.exit_code == 150 + 71
    assert "--cluster" in unknown.stderr
    cli.config.write_text("jobs: nonsense")
    assert cli.holdfast(*argv).exit_code == 150 + 10


def test_the_list_names_what_is_missing(cli: CommandLine, server: DataDirectory) -> None:
    for name in (ONE, TWO, FOUR):
        cli.holdfast("wal", "push", "shop", str(server.finish(name, is_ready=False)))
    (line,) = cli.holdfast("wal", "list", "shop", "--json").document["timelines"]
    three = "000000010000000000000003"
    assert (line["first"], line["last"], line["segments"]) == (ONE, FOUR, 3)
    assert line["missing"] == [{"first": three, "last": three, "segments": 1}]
    assert three in cli.holdfast("wal", "list", "shop").stdout


def test_a_command_for_each_segment_loads_no_other_command() -> None:
    program = (
        "import sys; sys.argv = ['holdfast', '--config', '/nowhere', 'wal', 'get', 'j', 'n', 'p'];"
        "from holdfast.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code)\n"
        "others = ('holdfast.cli.backup', 'holdfast.cli.list', 'psycopg', 'obstore')\n"
        "print([each for each in others if each in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["160", "[]"]


def test_a_job_called_wal_is_a_job(cli: CommandLine) -> None:
    cli.config.write_text(cli.config.read_text().replace("shop:", "wal:"))
    assert cli.holdfast("backup", "wal").exit_code == 0


def test_wal_does_not_show_among_backups_and_no_backup_sweeps_it(
    cli: CommandLine, server: DataDirectory
) -> None:
    cli.holdfast("wal", "push", "shop", str(server.finish(ONE)))
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert len(cli.holdfast("list", "--json").document["backups"]) == 1
    assert cli.holdfast("repair", "shop").exit_code == 0
    (line,) = cli.holdfast("wal", "list", "shop", "--json").document["timelines"]
    assert line["segments"] == 1
    (used,) = cli.holdfast("du", "--json").document["jobs"]
    assert used["wal_bytes"] == line["stored_bytes"]
    assert cli.holdfast("du", "shop", "--json").document["jobs"] == [used]
