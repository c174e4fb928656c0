"""The program in a pipe that is blamed for a failure, and its message."""

from __future__ import annotations

import gzip
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.backup import Compressor
from holdfast.model.errors import BackupFailed, ToolMissing
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.mysql.dump.pipe import (
    ChildCompression,
    CompressedDumpStream,
    Compressing,
    Pipes,
    failure,
)
from holdfast.sources.mysql.server.connection import Address

ADDRESS = Address.parse("mysql://u@h/d?unix_socket=/run/s", password="secret")
COMPLETE = "-- rows\n-- Dump completed\n"


def pipes(*, compressing: Compressing | None = None) -> Pipes:
    return Pipes(address=ADDRESS, login={}, compressing=compressing)


def printing(text: str, *, status: int = 0, says: str = "") -> list[str]:
    """A program in the dump's place."""
    code = (
        f"import sys; sys.stdout.write({text!r}); sys.stdout.flush();"
        f" print({says!r}, file=sys.stderr); sys.exit({status})"
    )
    return [sys.executable, "-c", code]


def test_a_dump_that_ends_well_is_all_that_it_printed() -> None:
    told: list[str] = []
    with pipes().dumping(
        lambda _: printing(COMPLETE), "table 't'", done=lambda: told.append("done")
    ) as stream:
        assert b"".join(stream).decode() == COMPLETE
    assert told == ["done"]


def test_the_login_reaches_the_program_by_a_descriptor_only() -> None:
    def reading(login: int) -> list[str]:
        code = f"print(open('/dev/fd/{login}').read()); print('-- Dump completed')"
        return [sys.executable, "-c", code]

    with pipes().dumping(reading, "table 't'") as stream:
        assert b'password="secret"' in b"".join(stream)


def test_a_dump_that_fails_is_named_with_its_last_words() -> None:
    argv = printing(COMPLETE, status=2, says="Got error: 1045")
    with (
        pytest.raises(
            BackupFailed, match=r"cannot back up table 't': python.* status 2: Got error"
        ),
        pipes().dumping(lambda _: argv, "table 't'") as stream,
    ):
        list(stream)


def test_a_dump_that_is_cut_off_without_an_error_is_not_believed() -> None:
    with (
        pytest.raises(BackupFailed, match="lacks the last line of a dump"),
        pipes().dumping(lambda _: printing("-- rows\n"), "table 't'") as stream,
    ):
        list(stream)


def test_an_altered_table_is_refused_after_its_last_byte() -> None:
    def altered() -> None:
        raise BackupFailed("it was altered")

    with (
        pytest.raises(BackupFailed, match="it was altered"),
        pipes().dumping(lambda _: printing(COMPLETE), "table 't'", done=altered) as stream,
    ):
        list(stream)


def test_a_compressor_stands_beside_the_dump_and_both_are_gone_afterwards() -> None:
    gzip = Compressing(program=Compressor.GZIP, level=1)
    threads = threading.active_count()
    with pipes(compressing=gzip).dumping(lambda _: printing(COMPLETE), "table 't'") as stream:
        assert isinstance(stream, CompressedDumpStream)
        out = [bytes(each) for chunk in stream for each in stream.compression.feed(chunk)]
        out += [bytes(each) for each in stream.compression.finish()]
    assert b"".join(out)[:2] == b"\x1f\x8b"
    assert threading.active_count() == threads


def test_no_pipe_begins_after_the_run_was_ended() -> None:
    ended = pipes()
    ended.endings.abort()
    with (
        pytest.raises(BackupFailed, match="the run was ended"),
        ended.dumping(lambda _: printing(COMPLETE), "table 't'"),
    ):
        pass


@pytest.mark.parametrize(
    ("stderr", "hinted"),
    [
        ('Couldn\'t find table: "t"', True),
        ("Error 1412: Table definition has changed when dumping table `t` at row: 0", True),
        ("Got error: 2013: Lost connection", False),
    ],
)
def test_a_table_that_went_away_is_told_from_other_troubles(stderr: str, hinted: bool) -> None:
    error = failure(ChildFailed("mysqldump", 6, stderr), "table 't'", threading.Event())
    assert stderr in error.message
    assert bool(error.hint) is hinted


MIB = 1 << 20


@contextmanager
def child(*argv: str) -> Iterator[Child]:
    with running(argv, stdin=True) as started:
        yield started


def feed_for_ever(stage: ChildCompression) -> None:
    while True:
        for _ in stage.feed(b"x" * MIB):
            pass


def test_more_than_a_pipe_holds_goes_through_both_ways() -> None:
    # Incompressible, so that the way out fills as fast as the way in.
    plain = os.urandom(8 * MIB)
    with child("gzip", "-c", "-1") as program:
        stage = ChildCompression(program)
        out = [
            bytes(piece)
            for start in range(0, len(plain), MIB)
            for piece in stage.feed(memoryview(plain)[start : start + MIB])
        ]
        out += [bytes(piece) for piece in stage.finish()]
    assert gzip.decompress(b"".join(out)) == plain


def test_nothing_at_all_is_still_a_whole_stream() -> None:
    with child("gzip", "-c") as program:
        out = b"".join(bytes(piece) for piece in ChildCompression(program).finish())
    assert gzip.decompress(out) == b""


def test_one_that_is_killed_at_work_is_told_by_its_signal() -> None:
    with child("gzip", "-c") as program:
        stage = ChildCompression(program)
        list(stage.feed(b"x" * 100))
        os.kill(program.pid, signal.SIGKILL)
        with pytest.raises(ChildFailed, match="gzip ended with SIGKILL"):
            feed_for_ever(stage)


def test_one_that_fails_at_its_end_is_told_by_its_last_words() -> None:
    with child("sh", "-c", "cat > /dev/null; echo no room >&2; exit 3") as program:
        stage = ChildCompression(program)
        list(stage.feed(b"x"))
        with pytest.raises(ChildFailed, match="status 3: no room"):
            list(stage.finish())


def test_one_that_stops_reading_and_calls_that_success_is_not_believed() -> None:
    with child("true") as program:
        stage = ChildCompression(program)
        with pytest.raises(ChildFailed, match="it ended before it had read all of its input"):
            feed_for_ever(stage)


@pytest.mark.parametrize("program", list(Compressor))
def test_each_is_asked_for_its_level(
    program: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / program.value
    path.symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    argv = Compressing(program=program, level=5).argv()
    assert argv[0] == str(path)
    assert any(each in ("-5", "-mx=5") for each in argv)


def test_a_missing_one_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissing) as failure:
        Compressing(program=Compressor.SEVEN_ZIP, level=6).argv()
    assert "cannot run '7z'" in failure.value.message
    assert "7zip" in failure.value.hint
