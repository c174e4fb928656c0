"""An attacker replaces parts of a signed and encrypted backup; run against a real server.

The recipient is public, and anybody who can list the store sees the stored size of a part. So each
replacement is encrypted for the same recipient and has the same length, to the byte.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import zstandard

from tests.support.encrypted_job import encrypted_installation, manifest_of
from tests.support.installation import Installation
from tests.support.main_job import Databases

EVIL = "evil_holdfast"
# More than was once held back until a part was proven.
LONG_BYTES = 2 << 20
SKIPPED_FRAME = b"\x50\x2a\x4d\x18"
FRAME_HEAD_BYTES = 8


class AttackedDatabases(Databases, Protocol):
    """What an attack on a restore needs in addition."""

    def attack(self, witness: Path) -> str:
        """A script that creates the account `EVIL`, and the file `witness` through its client."""
        ...

    def is_there(self, database: str) -> bool: ...

    def has_account(self, name: str) -> bool: ...


def recipient_of(installation: Installation) -> str:
    recipients: list[str] = installation.settings["repositories"]["main"]["encryption"][
        "recipients"
    ]
    return recipients[0]


def sealed(content: bytes, recipient: str) -> bytes:
    argv = ["age", "--encrypt", "--recipient", recipient]
    return subprocess.run(argv, input=content, capture_output=True, check=True).stdout


def disguised(script: str, recipient: str, *, size_bytes: int) -> bytes:
    """The script as an encrypted zstd frame, padded to `size_bytes` if it is shorter."""
    comments = "-- nothing to see here\n" * (LONG_BYTES // 23)
    frame = zstandard.ZstdCompressor(level=19).compress((script + comments).encode())
    made = sealed(frame, recipient)
    padding = size_bytes - len(made)
    # age adds 16 bytes per 64 KiB: the second attempt knows the total.
    while padding >= FRAME_HEAD_BYTES and len(made) != size_bytes:
        filler = bytes(padding - FRAME_HEAD_BYTES)
        # A skippable frame, which stock tools ignore.
        skipped = SKIPPED_FRAME + len(filler).to_bytes(4, "little") + filler
        made = sealed(frame + skipped, recipient)
        padding += size_bytes - len(made)
    return made


@contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    good = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(good)


def one_of_each_kind(installation: Installation) -> list[dict[str, Any]]:
    """The longest part of each kind; the backup's first part is among them."""
    parts = sorted(manifest_of(installation)["parts"], key=lambda each: each["stored_bytes"])
    return list({each["kind"]: each for each in parts}.values())


class HostileStore:
    """Run once per server and engine."""

    def test_nothing_of_a_part_that_was_replaced_is_carried_out(
        self, databases: AttackedDatabases, tmp_path: Path
    ) -> None:
        installation = encrypted_installation(tmp_path, databases.source(databases.make(rows=3000)))
        installation.run("backup", "shop")
        parts, witness = one_of_each_kind(installation), tmp_path / "witness"
        script, same_size = databases.attack(witness), 0
        for part in parts:
            content = disguised(script, recipient_of(installation), size_bytes=part["stored_bytes"])
            same_size += len(content) == part["stored_bytes"]
            self._attack(databases, installation, part, content)
            assert not witness.exists(), part["name"]
        assert same_size > 0
        longer = disguised(
            script, recipient_of(installation), size_bytes=parts[0]["stored_bytes"] + 999
        )
        refused = self._attack(databases, installation, parts[0], longer)
        assert f"stored size is {len(longer)}" in refused["error"]
        assert not witness.exists()

    def _attack(
        self,
        databases: AttackedDatabases,
        installation: Installation,
        part: dict[str, Any],
        content: bytes,
    ) -> dict[str, Any]:
        target = databases.new_name()
        to = ("--to", databases.url(target), "--globals")
        identity = ("--identity", str(installation.folder / "identity"))
        with replaced(installation.repository / part["key"], content):
            refused = installation.run("restore", "shop/latest", *to, *identity, code=31)
        assert f"cannot trust part '{part['name']}'" in refused["error"]
        assert not databases.has_account(EVIL), part["name"]
        assert not databases.is_there(target), part["name"]
        return refused


def attack_files(installation: Installation, target: Path) -> None:
    """Replace one part of each kind of an encrypted cluster backup: nothing is restored."""
    identity = ("--identity", str(installation.folder / "identity"))
    witness, same_size = installation.folder / "witness", 0
    script = f"\\! id > {witness}\nCREATE USER {EVIL};\n"
    for part in one_of_each_kind(installation):
        size_bytes = part["stored_bytes"]
        content = disguised(script, recipient_of(installation), size_bytes=size_bytes)
        same_size += len(content) == size_bytes
        with replaced(installation.repository / part["key"], content):
            to = ("--to", target.as_uri())
            refused = installation.run("restore", "shop/latest", *to, *identity, code=31)
        assert f"cannot trust part '{part['name']}'" in refused["error"]
        assert not target.exists()
        assert not witness.exists()
    assert same_size > 0
