"""The files of a container that acts as a host, and errors of several hosts."""

import io
import tarfile

import pytest

from lab import hosts, podman
from lab.errors import LabError


def test_files_arrive_with_the_modes_of_a_real_host() -> None:
    files = {
        "/usr/local/sbin/lab-init": b"#!/bin/sh\n",
        "/etc/fstab": b"",
        "/etc/ssh/ssh_host_ed25519_key": b"secret",
        "/root/.ssh/authorized_keys": b"public",
    }
    with tarfile.open(fileobj=io.BytesIO(podman.archive(files))) as tar:
        assert {entry.name: entry.mode for entry in tar} == {
            "usr/local/sbin/lab-init": 0o755,
            "etc/fstab": 0o644,
            "etc/ssh/ssh_host_ed25519_key": 0o600,
            "root/.ssh/authorized_keys": 0o600,
        }


def test_one_failed_host_does_not_hide_another() -> None:
    started: list[str] = []

    def start(name: str) -> None:
        if name.startswith("pg"):
            raise LabError(f"cannot start host '{name}': no", hint="read the log")
        started.append(name)

    with pytest.raises(LabError) as caught:
        hosts.side_by_side(start, ["pg12", "maria12", "pg13"])
    assert str(caught.value) == "cannot start host 'pg12': no\ncannot start host 'pg13': no"
    assert caught.value.hint == "read the log"
    assert started == ["maria12"]


def test_our_own_mistake_is_not_reported_as_a_failed_host() -> None:
    def start(name: str) -> None:
        if name == "pg13":
            raise KeyError(name)
        raise LabError("cannot start")

    with pytest.raises(KeyError):
        hosts.side_by_side(start, ["pg12", "pg13"])
