"""Two calls of the kernel answer as the modules that take long to load."""

from __future__ import annotations

import socket

from holdfast.runtime import kernel_calls


def test_the_name_of_the_host_is_that_of_socket() -> None:
    assert kernel_calls.host_name() == socket.gethostname()


def test_a_token_has_two_digits_for_each_byte_and_is_never_the_same() -> None:
    tokens = {kernel_calls.token_hex(16) for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(bytes.fromhex(each)) == 16 for each in tokens)
