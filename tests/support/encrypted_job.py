"""Encrypted and signed backups on a real server, restored with holdfast and with stock tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

from holdfast.model.backup import PartKind
from tests.support.installation import Installation
from tests.support.main_job import Databases

# `age` decrypts the stored part, `zstd` decompresses it, the remaining words are a client.
STOCK = 'age -d -i "$1" "$2" | zstd -dc | "${@:3}"'


class StockDatabases(Databases, Protocol):
    """What a restore without holdfast needs in addition."""

    def empty(self) -> str:
        """Create an empty database."""
        ...

    def stock_client(self, database: str, part: dict[str, Any]) -> list[str]:
        """The server's own client, which reads that part of a manifest on its stdin."""
        ...


def encrypted_installation(folder: Path, source: dict[str, Any]) -> Installation:
    """An installation with an encrypted, signed repository.

    `identity` and `signing` are the key files.
    """
    installation = Installation(folder, source)
    recipient = installation.run("keys", "identity", str(folder / "identity"))["public_key"]
    installation.run("keys", "signing", str(folder / "signing"))
    installation.settings["repositories"]["main"] |= {
        "encryption": {"recipients": [recipient]},
        "authentication": {"key_file": str(folder / "signing")},
    }
    return installation


def manifest_of(installation: Installation) -> dict[str, Any]:
    found: dict[str, Any] = installation.run("show", "shop/latest")["manifest"]
    return found


class EncryptedJob:
    """Every promise about encrypted backups, run once per server."""

    def test_an_encrypted_backup_is_verified_restored_and_equal(
        self, databases: StockDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=2000)
        installation = encrypted_installation(tmp_path, databases.source(database))
        identity = ("--identity", str(tmp_path / "identity"))
        installation.run("check", "shop")
        made = installation.run("backup", "shop")
        assert made["encryption"] == "age"
        assert {path.suffix for path in installation.files()} == {".age", ".json"}
        assert installation.run("verify", "shop/latest")["unopened"] == made["parts"]
        assert installation.run("verify", "shop/latest", *identity)["unopened"] == 0
        restored = databases.new_name()
        to = ("--to", databases.url(restored))
        installation.run("restore", "shop/latest", *to, code=15)
        installation.run("restore", "shop/latest", *to, *identity)
        assert databases.checksums(restored) == databases.checksums(database)

    def test_stock_tools_alone_bring_an_encrypted_backup_back(
        self, databases: StockDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=2000)
        installation = encrypted_installation(tmp_path, databases.source(database))
        installation.run("backup", "shop")
        restored = databases.empty()
        order = list(PartKind)
        parts = [
            each for each in manifest_of(installation)["parts"] if each["kind"] != PartKind.GLOBALS
        ]
        for part in sorted(parts, key=lambda each: order.index(PartKind(each["kind"]))):
            stored = [str(tmp_path / "identity"), str(installation.repository / part["key"])]
            client = databases.stock_client(restored, part)
            subprocess.run(
                ["bash", "-o", "pipefail", "-c", STOCK, "bash", *stored, *client],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        assert databases.checksums(restored) == databases.checksums(database)

    def test_a_flipped_bit_and_a_part_of_another_night_are_found_without_the_identity(
        self, databases: StockDatabases, tmp_path: Path
    ) -> None:
        installation = encrypted_installation(tmp_path, databases.source(databases.make(rows=200)))
        installation.run("backup", "shop")
        earlier = max(manifest_of(installation)["parts"], key=lambda each: each["stored_bytes"])
        installation.run("backup", "shop")
        later = next(
            each for each in manifest_of(installation)["parts"] if each["name"] == earlier["name"]
        )
        path = installation.repository / later["key"]
        good = path.read_bytes()
        flipped = bytearray(good)
        flipped[len(good) // 2] ^= 1
        for content in (bytes(flipped), (installation.repository / earlier["key"]).read_bytes()):
            path.write_bytes(content)
            (bad,) = installation.run("verify", "shop/latest", code=31)["bad"]
            assert bad["part"] == later["name"]
        path.write_bytes(good)
        assert installation.run("verify", "shop/latest")["verified"] is True

    def test_a_manifest_that_lost_a_part_is_not_believed(
        self, databases: StockDatabases, tmp_path: Path
    ) -> None:
        installation = encrypted_installation(tmp_path, databases.source(databases.make(rows=20)))
        made = installation.run("backup", "shop")
        path = installation.repository / made["backup"] / "manifest.json"
        document = json.loads(path.read_text())
        document["manifest"]["parts"].pop()
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        refused = installation.run("verify", made["backup"], code=56)
        assert "cannot trust manifest" in refused["error"]
        assert installation.run("list", "shop")["backups"] == []
