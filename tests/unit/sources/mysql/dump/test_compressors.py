"""Compressors as real children."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.backup import Compressor
from holdfast.model.errors import ToolMissing
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.mysql.dump.compressors import ChildCompression, Compressing

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
        with pytest.raises(ChildFailed, match="it ended before its input did"):
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
