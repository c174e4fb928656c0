"""Backups with old and new fingerprints share a repository, its mirror and copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.postgres.equality import checksums, dump
from tests.support.installation import Installation
from tests.support.postgres_server import PostgresServer

LONG = "(SELECT string_agg(sha512((k::text)::bytea), '') FROM generate_series(1, 30000) k)"
PLACES = ("main", "mirror", "offsite")


def mixed(folder: Path, dsn: str, source: dict[str, str]) -> tuple[Installation, list[str]]:
    """One backup by SHA-256, then one by BLAKE3, the second at the end of the list."""
    installation = Installation(folder, {"kind": "postgres", "dsn": dsn, **source})
    for name in PLACES[1:]:
        path = folder / name
        path.mkdir(mode=0o700)
        installation.settings["repositories"][name] = {"kind": "local", "path": str(path)}
    if "blobs" not in source:
        installation.job["mirrors"] = ["mirror"]
    ids = []
    for fingerprint in ("sha256", "blake3"):
        installation.job["fingerprint"] = fingerprint
        ids.append(installation.run("backup", "shop")["backup"])
    if "blobs" in source:
        installation.run("copy", "shop", "--to", "mirror")
    installation.run("copy", "shop", "--to", "offsite")
    return installation, ids


@pytest.mark.parametrize("source", [{}, {"blobs": "external"}], ids=["mirrored", "external"])
def test_backups_of_both_kinds_are_proven_and_restored_from_other_places(
    server: PostgresServer, tmp_path: Path, source: dict[str, str]
) -> None:
    database = server.database(f"CREATE TABLE long AS SELECT 1 AS id, {LONG} AS data")
    server.run(database, f"SELECT lo_from_bytea(4711, {LONG})")
    dsn = server.conninfo(database)
    installation, ids = mixed(tmp_path, dsn, source)
    for backup, algorithm in zip(ids, ("sha256", "blake3"), strict=True):
        shown = installation.run("show", backup)["manifest"]
        stored = {part["stored_fingerprint"].partition(":")[0] for part in shown["parts"]}
        assert stored == {algorithm}
        for place in PLACES:
            at = ("--repository", place)
            assert installation.run(*at, "verify", backup)["verified"] is True
    for backup, place in zip(ids, ("offsite", "mirror"), strict=True):
        restored = server.name()
        at = ("--repository", place)
        installation.run(*at, "restore", backup, "--to", server.url(restored))
        copy = server.conninfo(restored)
        assert dump(copy) == dump(dsn)
        assert checksums(copy) == checksums(dsn)
        assert content(server, restored) == content(server, database)


def content(server: PostgresServer, database: str) -> list[tuple[object, ...]]:
    return server.ask(database, "SELECT md5(lo_get(4711))")


def test_one_flipped_bit_of_any_object_is_found_whatever_its_fingerprint(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(f"CREATE TABLE long AS SELECT 1 AS id, {LONG} AS data")
    server.run(database, f"SELECT lo_from_bytea(4711, {LONG})")
    installation, ids = mixed(tmp_path, server.conninfo(database), {"blobs": "external"})
    manifests = {each: installation.run("show", each)["manifest"] for each in ids}
    for path in installation.files():
        if {"parts", "blobs"} & set(path.parts):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    for each, manifest in manifests.items():
        names = [part["name"] for part in manifest["parts"]]
        names += [blob["key"] for blob in manifest["blobs"]]
        report = installation.run("verify", each, code=31)
        assert sorted(bad["part"] for bad in report["bad"]) == sorted(names)
