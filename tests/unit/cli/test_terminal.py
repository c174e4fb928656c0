"""Screens on a terminal, recorded and reviewed, and what can happen to a terminal.

`python -m tests.unit.cli.test_terminal` writes the screens again: review them before you commit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.screens import WIDTHS, screens, text_of
from tests.support.still_shop import Shop
from tests.support.terminal import terminal

SETS_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
HOLDFAST = "import sys; sys.argv[0] = 'holdfast'; from holdfast.cli.main import main; main()"
SCREENS = Path(__file__).with_name("screens")


def found(folder: Path, columns: int) -> Iterator[tuple[Path, str]]:
    for name, line, shown in screens(folder / "shop", columns):
        yield SCREENS / f"{columns}" / f"{name}.txt", text_of(line, shown)


@pytest.mark.parametrize("columns", WIDTHS)
def test_each_screen_is_as_it_was_looked_at(tmp_path: Path, columns: int) -> None:
    for kept, text in found(tmp_path, columns):
        assert text == kept.read_text(), kept.name
        assert all(cell_len(line) <= columns for line in text.splitlines()[1:])


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


def test_a_bar_begins_when_the_job_is_known_and_ends_full(shop: Shop) -> None:
    with terminal(shop.program("backup", "shpo"), columns=100) as shown:
        assert shown.finish() == 11
    assert shown.lines == [
        "error: cannot find job 'shpo': it is not configured",
        "hint: did you mean 'shop'?",
    ]
    with terminal(shop.program("backup", "shop"), columns=100) as shown:
        assert shown.finish() == 0
    bar, *_ = shown.lines
    assert "100%  48.0 MiB" in bar
    # The bar ends at the real size, not at the first estimate.
    assert "72.0" not in bar
    assert b"?" not in shown.raw.replace(b"\x1b[?25", b"")


def test_events_are_shown_where_they_are_asked_for(shop: Shop) -> None:
    with terminal(shop.program("backup", "shop"), columns=200) as shown:
        shown.finish()
    assert "part_stored" not in shown.text
    for option in (["-v"], ["--log-format", "console"]):
        with terminal(shop.program(*option, "backup", "shop"), columns=200) as shown:
            shown.finish()
        assert "part_stored" in shown.text
        assert "100%" in shown.text


def test_where_stderr_is_a_file_it_gets_the_events_and_the_terminal_the_result(shop: Shop) -> None:
    with tempfile.TemporaryFile() as log:
        run = shop.program("backup", "shop")
        with terminal(run, columns=100, stderr=log.fileno()) as shown:
            assert shown.finish() == 0
        log.seek(0)
        events = log.read().decode().splitlines()
    assert all(line.startswith('{"timestamp"') for line in events)
    assert any('"part_stored"' in line for line in events)
    assert shown.lines[0].split()[0] == "BACKUP"


def test_an_interrupted_backup_gives_the_terminal_back(shop: Shop) -> None:
    seen = {name: shown for name, _, shown in screens(shop.folder / "again", 60)}
    shown = seen["interrupted"]
    assert shown.exit_code == 130
    assert shown.text.startswith("error: cannot continue: interrupted by SIGINT")
    assert shown.raw.rindex(b"\x1b[?25h") > shown.raw.rindex(b"\x1b[?25l")


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": "1"}]
)
def test_no_colour_where_it_is_not_known_or_not_wanted(
    shop: Shop, environment: dict[str, str]
) -> None:
    for line in ("backup shop", "list", "show shop/latest", "status", "backup shpo"):
        run = shop.program(*line.split())
        with terminal(run, columns=100, environment=environment) as shown:
            shown.finish()
        assert SETS_COLOUR.findall(shown.raw) == [], line
        if environment.get("TERM") == "dumb":
            assert b"\x1b" not in shown.raw


def test_colour_says_what_words_say_too(shop: Shop) -> None:
    for line, hours in (("backup shop", 0), ("verify shop/latest", 1), ("list", 2)):
        run = shop.program(*line.split(), at=timedelta(hours=hours))
        with terminal(run, columns=100) as shown:
            shown.finish()
    (row,) = [at for at, text in enumerate(shown.lines) if "1h ago" in text]
    at = {word: shown.lines[row].index(word) for word in ("1h ago", "never")}
    colours = {word: shown.screen.buffer[row][column].fg for word, column in at.items()}
    assert colours == {"1h ago": "green", "never": "brown"}


def test_a_reader_that_closes_the_pipe_ends_a_list_quietly(shop: Shop) -> None:
    for hours in range(3):
        with terminal(shop.program("backup", "shop", at=timedelta(hours=hours)), columns=80) as one:
            one.finish()
    out, head = os.pipe()
    with terminal(shop.program("list"), columns=80, stdout=head) as shown:
        os.close(head)
        with os.fdopen(out, "rb") as reader:
            assert reader.readline().startswith(b"BACKUP")
        shown.finish()
    assert shown.text == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ba", ["backup"]),
        ("backup ", ["shop"]),
        ("status sh", ["shop"]),
        ("show sh", ["shop/latest", "shop/20261120T020000Z-00010001"]),
        ("verify shop/2026", ["shop/20261120T020000Z-00010001"]),
        ("show other/", []),
    ],
)
def test_the_shell_completes_jobs_and_backups(shop: Shop, line: str, told: list[str]) -> None:
    with terminal(shop.program("backup", "shop"), columns=80) as shown:
        shown.finish()
    assert completed(shop, line) == told


def test_completion_reads_no_manifest_and_leaves_nothing(shop: Shop) -> None:
    with terminal(shop.program("backup", "shop"), columns=80) as shown:
        shown.finish()
    for manifest in shop.config.parent.rglob("manifest.json"):
        manifest.write_text("{")
    state = shop.config.parent / "state"
    shutil.rmtree(state)
    assert completed(shop, "show shop/2") == ["shop/20261120T020000Z-00010001"]
    assert not state.exists()


def test_with_a_broken_configuration_the_shell_completes_nothing(shop: Shop) -> None:
    shop.config.write_text("jobs: [")
    assert completed(shop, "backup ") == []


def test_completion_prints_no_event_where_the_state_directory_cannot_be_used(shop: Shop) -> None:
    with terminal(shop.program("backup", "shop"), columns=80) as shown:
        shown.finish()
    state = shop.config.parent / "state"
    shutil.rmtree(state)
    state.write_text("a file")
    told = completed(shop, "show sh")
    assert [each for each in told if not each.startswith("shop/")] == []
    assert "shop/latest" in told


def completed(shop: Shop, line: str) -> list[str]:
    """The suggestions for bash."""
    words = f"holdfast --config {shop.config} {line}"
    done = subprocess.run(
        [sys.executable, "-c", HOLDFAST],
        env=os.environ
        | {
            "_HOLDFAST_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_script_for_a_shell_is_printed() -> None:
    # typer asks the process tree for the shell, and its second command keeps bash there.
    line = '"$0" -c "$1" --show-completion bash; exit $?'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, HOLDFAST],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_HOLDFAST_COMPLETE=complete_bash" in done.stdout
    assert "complete -o default -F _holdfast_completion holdfast" in done.stdout


if __name__ == "__main__":
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as name:
            for kept, text in found(Path(name), width):
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(text)
