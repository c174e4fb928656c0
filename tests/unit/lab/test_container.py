"""The arguments of a container on each kind of machine."""

from dataclasses import replace
from pathlib import Path

from lab.container import Volume, create_arguments, fingerprint, limit_arguments
from lab.fleet import Host
from lab.machine import Machine
from tests.support.machines import A_LAPTOP, A_MIXED_MACHINE

PG12 = Host(name="pg12", address="10.117.1.12", image="debian-12-postgres")
VOLUME = Volume(file=Path("/volumes/pg12.img"), device="/dev/loop7", path="/var/lib/holdfast")


def arguments(host: Host, machine: Machine, *, volume: Volume | None = None) -> list[str]:
    return create_arguments(
        host, network="holdfast-demo", image="localhost/x:1", machine=machine, volume=volume
    )


def test_a_container_has_the_name_and_address_of_its_inventory() -> None:
    assert {
        "--name=holdfast-demo-pg12",
        "--hostname=pg12",
        "--network=holdfast-demo",
        "--ip=10.117.1.12",
    } <= set(arguments(PG12, A_LAPTOP))


def test_the_image_and_the_first_process_come_last() -> None:
    assert arguments(PG12, A_LAPTOP)[-2:] == ["localhost/x:1", "/usr/local/sbin/lab-init"]


def test_without_systemd_the_first_process_becomes_the_server() -> None:
    chosen = create_arguments(
        PG12, network="n", image="localhost/x:1", boots=False, machine=A_LAPTOP, volume=None
    )
    assert chosen[-2:] == ["/usr/local/sbin/lab-init", "/usr/local/sbin/lab-serve"]


def test_unified_cgroups_take_the_plain_way() -> None:
    chosen = arguments(PG12, A_LAPTOP)
    assert "--systemd=always" in chosen
    assert not [each for each in chosen if each.startswith(("--runtime", "--tmpfs", "--ulimit"))]


def test_old_cgroups_never_let_podman_mount_them() -> None:
    chosen = set(arguments(PG12, A_MIXED_MACHINE))
    assert {"--runtime=runc", "--cgroupns=private", "--systemd=false"} <= chosen
    assert "--systemd=always" not in chosen


def test_limits_are_asked_for_no_higher_than_the_machine_allows() -> None:
    assert limit_arguments(A_MIXED_MACHINE) == [
        "--ulimit=nofile=20000:20000",
        "--ulimit=nproc=31000:31000",
    ]


def test_a_machine_that_may_raise_limits_leaves_them_to_podman() -> None:
    assert limit_arguments(replace(A_MIXED_MACHINE, may_raise_limits=True)) == []


def test_no_limit_of_open_files_is_asked_for_where_there_is_none() -> None:
    unlimited = replace(A_MIXED_MACHINE, open_files=None)
    assert limit_arguments(unlimited) == ["--ulimit=nproc=31000:31000"]


def test_own_kernel_settings_are_asked_for_by_the_inventory_only() -> None:
    asked = arguments(replace(PG12, own_sysctl=True), A_LAPTOP)
    assert "--env=LAB_OWN_SYSCTL=1" in asked
    assert "--env=LAB_OWN_SYSCTL=1" not in arguments(PG12, A_LAPTOP)


def test_a_volume_brings_its_device_and_a_label_that_finds_its_file_again() -> None:
    assert {
        "--device=/dev/loop7",
        "--env=LAB_VOLUME_PATH=/var/lib/holdfast",
        "--label=holdfast.lab.volume=/volumes/pg12.img",
    } <= set(arguments(PG12, A_LAPTOP, volume=VOLUME))


def test_no_container_is_privileged() -> None:
    for machine in (A_LAPTOP, A_MIXED_MACHINE):
        chosen = arguments(replace(PG12, own_sysctl=True), machine, volume=VOLUME)
        assert "--privileged" not in chosen
        assert [each for each in chosen if each.startswith("--cap-add")] == ["--cap-add=SYS_ADMIN"]


def test_a_container_is_another_one_as_soon_as_an_argument_or_a_file_differs() -> None:
    first = fingerprint(["--ip=1"], {"/etc/fstab": b""})
    assert fingerprint(["--ip=1"], {"/etc/fstab": b""}) == first
    assert fingerprint(["--ip=2"], {"/etc/fstab": b""}) != first
    assert fingerprint(["--ip=1"], {"/etc/fstab": b"x"}) != first
