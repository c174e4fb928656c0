"""Telling a container from a machine with a kernel of its own."""

from pathlib import Path

import pytest

from plugins.module_utils.host_kind import container_kind


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_machine_of_its_own_is_no_container(tmp_path: Path) -> None:
    put(tmp_path, "proc/1/environ", "HOME=/\0TERM=linux\0")
    assert container_kind(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("run/systemd/container", "lxc\n", "lxc"),
        ("proc/1/environ", "HOME=/\0container=podman\0", "podman"),
        ("run/.containerenv", "", "podman"),
        (".dockerenv", "", "docker"),
    ],
)
def test_each_mark_of_a_container_is_enough(
    tmp_path: Path, name: str, text: str, kind: str
) -> None:
    put(tmp_path, name, text)
    assert container_kind(tmp_path) == kind
