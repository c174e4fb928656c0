"""An inventory read as a fleet."""

from pathlib import Path
from typing import Any

import pytest

from lab import fleet
from lab.errors import LabError
from lab.fleet import Host
from lab.state import PROJECT

FLEET = {"lab_network": "holdfast-test", "lab_subnet": "10.9.8.0/24"}
VARIABLES: dict[str, dict[str, Any]] = {
    "pg": {**FLEET, "ansible_host": "10.9.8.12", "lab_image": "debian-12"},
    "maria": {
        **FLEET,
        "ansible_host": "10.9.8.22",
        "lab_image": "debian-13",
        "lab_own_sysctl": True,
        "lab_volume_mb": 600,
    },
}


def test_hosts_come_from_their_variables() -> None:
    read = fleet.from_variables(VARIABLES, name="inventory")
    assert read.network == "holdfast-test"
    assert read.hosts == (
        Host(
            name="maria",
            address="10.9.8.22",
            image="debian-13",
            own_sysctl=True,
            volume_mb=600,
            volume_path="/var/lib/holdfast",
        ),
        Host(name="pg", address="10.9.8.12", image="debian-12"),
    )


def test_a_container_carries_the_name_of_its_network() -> None:
    host = fleet.from_variables(VARIABLES, name="inventory").host("pg")
    assert host.container("holdfast-test") == "holdfast-test-pg"


def test_a_limit_leaves_the_other_hosts_out() -> None:
    read = fleet.from_variables(VARIABLES, name="inventory")
    assert [host.name for host in read.only(["pg"]).hosts] == ["pg"]
    assert read.only([]) == read


def test_a_limit_to_an_unknown_host_names_the_known_ones() -> None:
    with pytest.raises(LabError) as caught:
        fleet.from_variables(VARIABLES, name="inventory").only(["pgg"])
    assert str(caught.value) == "cannot find host 'pgg': it is not in the inventory"
    assert caught.value.hint == "there are maria, pg"


def test_an_address_outside_the_subnet_is_refused_before_podman_sees_it() -> None:
    odd = {"pg": {**VARIABLES["pg"], "ansible_host": "10.9.9.12"}}
    with pytest.raises(LabError, match=r"^cannot place host 'pg': 10\.9\.9\.12 is not in 10\."):
        fleet.from_variables(odd, name="inventory")


@pytest.mark.parametrize("key", ["lab_network", "lab_subnet", "ansible_host", "lab_image"])
def test_a_missing_variable_is_named(key: str) -> None:
    lacking = {"pg": {name: value for name, value in VARIABLES["pg"].items() if name != key}}
    with pytest.raises(LabError, match=f"as throw-away hosts: {key} is not set$"):
        fleet.from_variables(lacking, name="inventory")


def test_a_folder_that_is_not_there_is_no_inventory() -> None:
    with pytest.raises(LabError, match=r"^cannot read inventory 'nowhere': no such folder$"):
        fleet.read(Path("nowhere"))


@pytest.mark.parametrize(
    ("inventory", "own_sysctl", "volume_mb", "both"),
    [
        ("inventory/demo", {"pg12", "pg13", "maria12", "maria13"}, 1500, ""),
        # Its PostgreSQL hosts have MariaDB too: jobs of two groups add up on them.
        ("molecule/default/inventory", {"pg12", "maria12"}, 600, "-mariadb"),
    ],
)
def test_the_fleets_of_the_project_are_what_the_documents_promise(
    inventory: str, own_sysctl: set[str], volume_mb: int, both: str
) -> None:
    read = fleet.read(PROJECT / inventory)
    assert {host.name: host.image for host in read.hosts} == {
        "pg12": f"debian-12-postgres{both}",
        "pg13": f"debian-13-postgres{both}",
        "maria12": "debian-12-mariadb",
        "maria13": "debian-13-mariadb",
    }
    assert {host.name for host in read.hosts if host.own_sysctl} == own_sysctl
    assert {host.volume_mb for host in read.hosts} == {volume_mb}
