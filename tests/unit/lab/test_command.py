"""Failures of other programs become errors that quote them."""

import sys
from pathlib import Path

import pytest

from lab import command
from lab.errors import CommandFailed, LabError, attempting


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_what_a_program_prints_is_the_result() -> None:
    assert command.run(python("print(input())"), feed=b"hello\n") == "hello\n"


def test_a_failure_quotes_the_last_words() -> None:
    with pytest.raises(CommandFailed, match=r": second \| third \| fourth$"):
        command.run(python(r"import sys; sys.exit('first\nsecond\n\nthird\nfourth')"))


def test_a_silent_failure_tells_its_exit_code() -> None:
    with pytest.raises(CommandFailed, match=r": exit code 7$"):
        command.run(python("raise SystemExit(7)"))


def test_a_program_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(CommandFailed, match=r"^no-such-program is not installed$"):
        command.run(["no-such-program"])


def test_a_program_that_does_not_end_is_given_up() -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.1 s$"):
        command.run(["tail", "-f", "/dev/null"], timeout_seconds=0.1)


def test_a_logged_failure_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "build.log"
    with pytest.raises(CommandFailed) as caught:
        command.run_logged(
            python("print('step 1', flush=True); raise SystemExit('no space')"), log=log
        )
    assert str(caught.value).endswith("no space")
    assert caught.value.hint == f"read {log}"
    assert "step 1" in log.read_text()


def test_an_error_says_what_was_attempted_on_what() -> None:
    with pytest.raises(LabError) as caught, attempting("start host", "pg12", hint="look there"):
        raise CommandFailed("podman: no such image")
    assert str(caught.value) == "cannot start host 'pg12': podman: no such image"
    assert caught.value.hint == "look there"


def test_the_hint_of_the_program_is_kept() -> None:
    with pytest.raises(LabError) as caught, attempting("build image", "debian-13"):
        raise CommandFailed("mmdebstrap: no", hint="read the log")
    assert caught.value.hint == "read the log"
