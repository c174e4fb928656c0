"""No global variable of a server changes the files of a physical backup."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from holdfast.model.errors import BackupFailed, Unsupported
from tests.engine.mysql.test_physical import installation_for, mariadb, second_server
from tests.engine.mysql.test_worst_settings import Original, original, tried
from tests.support.depth import deep
from tests.support.installation import Installation
from tests.support.mysql_server import MysqlServer

__all__ = ["mariadb", "original"]

SAMPLE = 2
FAILED = {BackupFailed.exit_code, Unsupported.exit_code}


def test_files_of_a_server_with_its_settings_at_their_worst_come_back_equal(
    mariadb: MysqlServer, original: Original, tmp_path: Path
) -> None:
    # Many at once, even in full depth: each check starts its own server.
    groups = [each for each in tried(original, alone=False) if len(each) > 1]
    failures = []
    for number, values in enumerate(groups[: deep(len(groups), sample=SAMPLE)]):
        for installation, chosen in backed_up(original, tmp_path / str(number), values):
            restored = installation.folder / "restored"
            installation.run("restore", "shop/latest", "--to", restored.as_uri())
            with second_server(restored, installation.folder) as second:
                if second.described(original.database) != original.description:
                    failures.append(f"definitions, with {chosen}")
                if second.checksums(original.database) != original.server.checksums(
                    original.database
                ):
                    failures.append(f"content, with {chosen}")
    assert not failures, "\n".join(failures)


def backed_up(
    original: Original, place: Path, values: dict[str, str]
) -> Iterator[tuple[Installation, dict[str, str]]]:
    """Installations with a backup each, and the settings under which it was made.

    We cannot override settings of the program: one that stops it prevents a backup, which is
    reported. Bisection finds that one, so that it hides no other.
    """
    place.mkdir()
    installation = installation_for(original.server, place, original.database)
    with original.settings.set(values):
        argv = installation.argv("backup", "shop")
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        yield installation, values
    elif len(values) == 1:
        assert done.returncode in FAILED, f"with {values}: {done.stderr}"
        assert installation.manifests() == []
    else:
        names = list(values)
        for number, half in enumerate((names[::2], names[1::2])):
            chosen = {name: values[name] for name in half}
            yield from backed_up(original, place / str(number), chosen)
