"""Which clusters were found to be those of a job: one empty file each on this host."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import HoldfastError
from holdfast.runtime.files import PRIVATE_FOLDER, make_folder, open_private


class FileClusters:
    """Obeys `ports.host_state.KnownClusters`: `FOLDER/CLUSTER`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, cluster: object) -> bool:
        return (self._folder / str(cluster)).is_file()

    def add(self, cluster: str, /) -> None:
        with suppress(HoldfastError, OSError):
            make_folder(self._folder, above=PRIVATE_FOLDER)
            os.close(open_private(self._folder / cluster, os.O_WRONLY | os.O_CREAT))
