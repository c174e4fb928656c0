"""How pg_dump is asked for the artefact."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.backup import Codec
from holdfast.sources.postgres.dump.dump_archive import CUSTOM
from holdfast.sources.postgres.server.locks import TRY_SECONDS
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.tools import Tool

# pg_dump compresses in the thread that reads: above this a table waits for the compressor.
HIGHEST_LEVEL = 6
# The first version that compresses with anything but zlib.
KNOWS_ZSTD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """What the job asks for; the level is capped."""

    codec: Codec
    level: int

    def option(self, pg_dump: Tool) -> str:
        """In the words of this pg_dump; zlib where it knows nothing else."""
        level = min(self.level, HIGHEST_LEVEL)
        if self.codec is Codec.NONE:
            return "--compress=0"
        if self.codec is Codec.ZSTD and pg_dump.major >= KNOWS_ZSTD:
            return f"--compress=zstd:{level}"
        return f"--compress={level}"


def arguments(
    pg_dump: Tool, login: Login, *, form: str, snapshot: str, compression: Compression
) -> list[str]:
    """The whole database inside `snapshot`, to standard output."""
    shape = (
        ["--format=custom", compression.option(pg_dump)]
        if form == CUSTOM
        else ["--format=plain", "--compress=0"]
    )
    return [
        str(pg_dump.path),
        "--no-password",
        *shape,
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={TRY_SECONDS}s",
        f"--dbname={login.steady_conninfo()}",
    ]
