from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing
from holdfast.sources.postgres.server import tools


def installed(root: Path, *versions: str) -> list[Path]:
    folders = []
    for version in versions:
        folder = root / version
        folder.mkdir()
        program = folder / "pg_dump"
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian x)'\n")
        program.chmod(0o755)
        folders.append(folder)
    return folders


@pytest.mark.parametrize(
    ("versions", "server", "chosen"),
    [
        (("15.3", "17.1", "18.0"), 17, "17.1"),
        (("15.3", "18.0"), 17, "18.0"),
        (("17beta1",), 17, "17beta1"),
    ],
)
def test_the_servers_own_version_is_chosen_else_the_next_newer(
    tmp_path: Path, versions: tuple[str, ...], server: int, chosen: str
) -> None:
    folders = installed(tmp_path, *versions)
    assert tools.find("pg_dump", server, f"{server}.0", folders).version == chosen


def test_a_tool_that_is_too_old_is_refused_with_both_versions(tmp_path: Path) -> None:
    folders = installed(tmp_path, "13.9", "15.3")
    with pytest.raises(ToolMissing) as caught:
        tools.find("pg_dump", 17, "17.2", folders)
    assert caught.value.message == (
        f"cannot use '{tmp_path}/15.3/pg_dump' for server 17.2: it is version 15.3,"
        " older than the server"
    )
    assert caught.value.hint.endswith("apt install postgresql-client-17")


def test_a_tool_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="cannot run 'pg_dump': it is not installed"):
        tools.find("pg_dump", 17, "17.2", [tmp_path])
