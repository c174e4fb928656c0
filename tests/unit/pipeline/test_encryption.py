"""Encrypted bytes are opened by their recipients and the stock `age`, and by nobody else."""

from __future__ import annotations

import re
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, strategies as st

from holdfast.model.backup import Buffer
from holdfast.model.fingerprints import BLAKE3
from holdfast.pipeline.encryption import CannotOpen, Identities, encryption, sealed, unlocked
from holdfast.pipeline.flow import CorruptStream, Fingerprint, flow

MIB = 1 << 20
CHUNKS = 96
AGE_BLOCK_BYTES = 64 << 10
OURS, OTHERS = Identities.generate(), Identities.generate()


def seal(chunks: list[bytes], *recipients: str) -> bytes:
    with encryption(recipients or OURS.recipients) as stage:
        return b"".join(bytes(each) for each in flow(chunks, [stage]))


def unseal(stored: bytes, identities: Identities = OURS, *, cut: int = 1000) -> bytes:
    pieces = [stored[start : start + cut] for start in range(0, len(stored), cut)]
    with identities.decryption() as stage:
        return b"".join(bytes(each) for each in flow(pieces, [stage]))


@given(chunks=st.lists(st.binary(max_size=5000), max_size=8), cut=st.integers(1, 997))
def test_any_bytes_cut_anywhere_come_back(chunks: list[bytes], cut: int) -> None:
    assert unseal(seal(chunks), cut=cut) == b"".join(chunks)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3 * MIB + 1])
def test_sizes_around_the_blocks_of_age_come_back(size: int) -> None:
    plain = bytes(range(256)) * (size // 256 + 1)
    assert unseal(seal([plain[:size]]), cut=MIB) == plain[:size]


def test_without_recipients_nothing_is_changed() -> None:
    with encryption(()) as stage:
        assert b"".join(bytes(each) for each in flow([b"plain"], [stage])) == b"plain"


def test_each_recipient_can_open_and_others_cannot() -> None:
    stored = seal([b"secret"], *OURS.recipients, *OTHERS.recipients)
    assert unseal(stored, OURS) == unseal(stored, OTHERS) == b"secret"
    with pytest.raises(CannotOpen):
        unseal(stored, Identities.generate())


def test_one_flipped_bit_at_any_place_is_found() -> None:
    stored = bytearray(seal([b"1,ann\n2,bob\n"]))
    for at in range(len(stored)):
        stored[at] ^= 1
        with pytest.raises((CorruptStream, CannotOpen)):
            unseal(bytes(stored))
        stored[at] ^= 1


@pytest.mark.parametrize("damaged", [lambda c: c[:-1], lambda c: c + b"x", lambda c: c[:20]])
def test_what_was_cut_or_grew_is_found(damaged: object) -> None:
    assert callable(damaged)
    with pytest.raises(CorruptStream):
        unseal(damaged(seal([b"x" * 70_000])))


@pytest.mark.stock("age")
def test_the_stock_age_opens_what_we_seal_and_we_open_what_it_seals(tmp_path: Path) -> None:
    identity = tmp_path / "identity"
    identity.write_text(OURS.reveal())
    identity.chmod(0o600)
    plain = b"order,customer\n" * 20_000
    opened = subprocess.run(
        ["age", "-d", "-i", str(identity)], input=seal([plain]), capture_output=True, check=True
    )
    assert opened.stdout == plain
    by_age = subprocess.run(
        ["age", "-r", OURS.recipients[0]], input=plain, capture_output=True, check=True
    )
    assert unseal(by_age.stdout) == plain


@pytest.mark.stock("age-keygen")
def test_an_identity_made_by_age_keygen_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    identities = Identities.parse(path.read_text())
    assert unseal(seal([b"x"], *identities.recipients), identities) == b"x"


def test_a_line_that_is_no_identity_is_named_but_not_shown() -> None:
    broken = OURS.reveal().strip()[:-1] + "B"
    with pytest.raises(ValueError, match="line 2 is not an age identity") as raised:
        Identities.parse(f"# mine\n{broken}\n")
    assert broken not in repr(raised.getrepr())
    assert OURS.reveal().strip() not in f"{OURS}{OURS!r}"
    with pytest.raises(ValueError, match="no line begins with AGE-SECRET-KEY-1"):
        Identities.parse("# only words\n")


def test_memory_is_that_of_one_chunk_however_long_the_stream() -> None:
    seen: list[int] = []

    def chunks() -> Iterator[Buffer]:
        buffer = bytearray(MIB)
        for _ in range(CHUNKS):
            seen.append(tracemalloc.get_traced_memory()[0])
            yield memoryview(buffer)

    counted = Fingerprint(BLAKE3)
    tracemalloc.start()
    try:
        with encryption(OURS.recipients) as seal_stage, OURS.decryption() as open_stage:
            for _ in flow(chunks(), [seal_stage, open_stage, counted]):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counted.size_bytes == CHUNKS * MIB
    assert peak < 8 * MIB
    assert max(seen[1:]) - min(seen[1:]) < MIB


def test_nobody_holds_back_more_than_a_block_of_age() -> None:
    fed, sealed_bytes, opened = Fingerprint(BLAKE3), Fingerprint(BLAKE3), Fingerprint(BLAKE3)
    held: list[tuple[int, int]] = []

    def chunks() -> Iterator[Buffer]:
        for _ in range(CHUNKS):
            yield bytes(MIB)
            # All input has come out again, except for the buffer of the library.
            waiting = (fed.size_bytes - sealed_bytes.size_bytes, fed.size_bytes - opened.size_bytes)
            held.append(waiting)

    with encryption(OURS.recipients) as seal_stage, OURS.decryption() as open_stage:
        for _ in flow(chunks(), [fed, seal_stage, sealed_bytes, open_stage, opened]):
            pass
    assert len(held) == CHUNKS
    assert max(waiting for waiting, _ in held) <= AGE_BLOCK_BYTES
    assert max(waiting for _, waiting in held) <= 3 * AGE_BLOCK_BYTES
    assert opened.size_bytes == fed.size_bytes == CHUNKS * MIB


def test_a_stream_that_is_left_in_the_middle_leaves_no_thread() -> None:
    before = threading.active_count()

    def failing() -> Iterator[bytes]:
        yield b"x" * 200_000
        raise OSError("the disk is gone")

    def read_until_it_fails() -> None:
        with encryption(OURS.recipients) as stage:
            for _ in flow(failing(), [stage]):
                pass

    with pytest.raises(OSError, match="the disk is gone"):
        read_until_it_fails()
    assert threading.active_count() == before


def test_what_is_no_recipient_is_refused() -> None:
    with pytest.raises(ValueError, match="'age1nobody' is not an age recipient"):
        sealed(b"", ["age1nobody"])


def locked() -> bytes:
    made: bytes = pyrage.passphrase.encrypt(OURS.reveal().encode(), "correct horse")
    return made


def test_a_passphrase_that_asks_for_too_much_work_is_told_from_a_wrong_one() -> None:
    hard = re.sub(rb"(-> scrypt \S+) \d+", rb"\1 40", locked())
    with pytest.raises(CannotOpen, match="more computing time than this host has now"):
        unlocked(hard, "correct horse")
    with pytest.raises(CannotOpen, match="the passphrase does not open it"):
        unlocked(locked(), "battery staple")


def test_a_host_that_is_busy_for_a_moment_still_opens_what_a_passphrase_locks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals = [pyrage.DecryptError("Excessive work parameter for passphrase.")] * 3
    decrypt = pyrage.passphrase.decrypt

    def busy_at_first(content: bytes, passphrase: str) -> bytes:
        if refusals:
            raise refusals.pop()
        opened: bytes = decrypt(content, passphrase)
        return opened

    monkeypatch.setattr(pyrage.passphrase, "decrypt", busy_at_first)
    assert unlocked(locked(), "correct horse").decode() == OURS.reveal()
