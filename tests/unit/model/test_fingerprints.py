"""Fingerprints say by which algorithm they are, and are those of the stock tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.model.fingerprints import (
    ALGORITHMS,
    BLAKE3,
    CRYPTOGRAPHIC,
    SHA256,
    XXH3,
    algorithm_of,
    digest,
    fingerprint_in,
    fingerprint_of,
    told,
)
from holdfast.model.stored_json import NotKnown, Unreadable

# From the test vectors of each algorithm, for no bytes at all.
OF_NOTHING = {
    XXH3: "99aa06d3014798d86001c324468d497f",
    BLAKE3: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_is_the_one_of_that_name(algorithm: str) -> None:
    assert told(algorithm, digest(algorithm)) == f"{algorithm}:{OF_NOTHING[algorithm]}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bytes_have_one_fingerprint_however_they_are_cut(algorithm: str) -> None:
    content = bytes(range(256)) * 1000
    found = digest(algorithm)
    for piece in (content[:1], bytearray(content[1:7]), memoryview(content)[7:]):
        found.update(piece)
    assert told(algorithm, found) == fingerprint_of(content, algorithm)
    assert told(algorithm, found) != fingerprint_of(content[:-1] + b"\0", algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_computed_is_read_back(algorithm: str) -> None:
    fingerprint = fingerprint_of(b"rows", algorithm)
    assert fingerprint_in(fingerprint) == fingerprint
    assert algorithm_of(fingerprint) == algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_a_cryptographic_fingerprint_proves_anything(algorithm: str) -> None:
    fingerprint = fingerprint_of(b"rows", algorithm)
    if algorithm in CRYPTOGRAPHIC:
        assert fingerprint_in(fingerprint, is_proof=True) == fingerprint
    else:
        with pytest.raises(Unreadable, match=f"{algorithm} is not cryptographic"):
            fingerprint_in(fingerprint, is_proof=True)


@pytest.mark.parametrize("text", ["blake3", "blake3:" + "0" * 63, "xxh3:" + "0" * 64, "sha256:", 1])
def test_anything_else_is_no_fingerprint(text: object) -> None:
    with pytest.raises(Unreadable, match="is not a fingerprint"):
        fingerprint_in(text)


def test_an_algorithm_of_a_newer_version_is_told_as_that() -> None:
    with pytest.raises(NotKnown, match="fingerprints of the unknown algorithm 'k12'"):
        fingerprint_in("k12:" + "0" * 64)


@pytest.mark.stock("b3sum", "sha256sum")
@pytest.mark.parametrize(("algorithm", "tool"), [(BLAKE3, "b3sum"), (SHA256, "sha256sum")])
def test_a_stock_tool_comes_to_the_same(algorithm: str, tool: str, tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(bytes(range(256)) * 9999)
    done = subprocess.run([tool, path], capture_output=True, text=True, check=True)
    assert f"{algorithm}:{done.stdout.split()[0]}" == fingerprint_of(path.read_bytes(), algorithm)
