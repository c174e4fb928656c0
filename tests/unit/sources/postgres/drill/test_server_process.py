"""The end of a drill ends the programs of its server, and none of them begins afterwards."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.runtime.processes_below import processes_below
from holdfast.sources.postgres.drill.server_process import PostgresProcess
from tests.support.drill_rooms import room

UNENDING = ["sleep", "3600"]


def test_nothing_begins_after_the_end() -> None:
    with room() as made:
        process = PostgresProcess(made, Path(made.folder) / "data")
        process.abort()
        with pytest.raises(BackupFailed):
            process.run(UNENDING, doing="verify the files")
        with pytest.raises(BackupFailed):
            process.start("/bin/false", {})
        assert not process.is_running
        assert processes_below(Path(made.folder)) == []


def test_an_end_stops_the_program_that_runs() -> None:
    with room() as made:
        folder = Path(made.folder)
        process = PostgresProcess(made, folder / "data")

        def end_it() -> None:
            while not processes_below(folder):
                pass
            process.abort()

        ending = threading.Thread(target=end_it)
        ending.start()
        with pytest.raises(BackupFailed, match="was ended"):
            process.run(UNENDING, doing="verify the files")
        ending.join()
        assert processes_below(folder) == []
