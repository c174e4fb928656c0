"""A pattern that matches no host ends the run, in every playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible.inventory.manager import split_host_pattern

from plugins.lookup.fleet import require_hosts, require_release, sliced

PROJECT = Path(__file__).resolve().parents[3]
GROUPS = {"all": ["db1", "db2", "web1"], "databases": ["db1", "db2"], "postgres": ["db1"]}


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [
        ("databases", None),
        ("db1", None),
        ("databases:!db1", None),
        ("db*,web1", None),
        ("databases:&postgres", None),
        ("~db[0-9]", None),
        ("databases", "db2"),
    ],
)
def test_a_pattern_that_matches_hosts_is_taken(pattern: str, limit: str | None) -> None:
    require_hosts(pattern, GROUPS, limit=limit)


@pytest.mark.parametrize(
    ("pattern", "limit", "told"),
    [
        ("databses", None, "did you mean 'databases'?"),
        ("db3", None, "did you mean 'db"),
        ("databases:!db9", None, "cannot find hosts 'db9'"),
        ("databses:db1", None, "cannot find hosts 'databses'"),
        ("postgres:!db1", None, "it leaves none"),
        ("postgres", "db2", "none of them is within --limit db2"),
        ("", None, "say which"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name(
    pattern: str, limit: str | None, told: str
) -> None:
    with pytest.raises(AnsibleError) as refusal:
        require_hosts(pattern, GROUPS, limit=limit)
    assert told in str(refusal.value)


FLEET = {
    "all": [f"db{number}" for number in range(1, 12)],
    "databases": [f"db{number}" for number in range(1, 12)],
    "postgres": ["db2", "db3"],
}


@pytest.mark.parametrize("count", [1, 2, 4, 11])
def test_each_host_is_in_one_slice_in_the_order_of_the_inventory(count: int) -> None:
    slices = [
        sliced("databases:!db5", f"{number}/{count}", FLEET).split(",")
        for number in range(1, min(count, 10) + 1)
    ]
    names = [name for each in slices for name in each]
    assert sorted(names) == sorted(set(FLEET["databases"]) - {"db5"})
    assert [each[0] for each in slices] == names_in_order(names)[: len(slices)]
    assert all(each == names_in_order(each) for each in slices)


def test_a_slice_of_hosts_named_by_address_names_each_of_them() -> None:
    addresses = [f"2001:db8::{number}" for number in range(1, 5)]
    first = sliced("databases", "1/2", {"databases": addresses})
    assert split_host_pattern(first) == addresses[::2]


def names_in_order(names: list[str]) -> list[str]:
    return [name for name in FLEET["databases"] if name in names]


@pytest.mark.parametrize("chosen", ["0/4", "5/4", "1/0", "1", "a/b", "1/4 ", "-1/4", ""])
def test_a_slice_that_there_is_not_is_refused(chosen: str) -> None:
    with pytest.raises(AnsibleError, match="fleet_slice is such as 1/4"):
        sliced("databases", chosen, FLEET)


def test_a_slice_without_a_host_is_refused() -> None:
    with pytest.raises(AnsibleError, match="cannot choose the slice '3/3' of 'postgres'"):
        sliced("postgres", "3/3", FLEET)


@pytest.mark.parametrize(("release", "is_taken"), [("2.15.13", False), ("2.16.0", True)])
def test_a_release_of_ansible_that_was_never_tried_is_refused(release: str, is_taken: bool) -> None:
    if is_taken:
        require_release(release)
        return
    with pytest.raises(AnsibleError, match=r"2\.16 or later is needed"):
        require_release(release)


PLAYBOOKS = [
    ("audit.yml", {"fleet_hosts": "databses"}),
    ("tune.yml", {"fleet_hosts": "databses"}),
    ("deploy.yml", {"fleet_hosts": "databses"}),
    ("site.yml", {"fleet_hosts": "databses"}),
    ("backup.yml", {"fleet_hosts": "databses"}),
    ("verify.yml", {"fleet_hosts": "databses"}),
    ("undo.yml", {"undo_hosts": "databses"}),
    ("undo.yml", {}),
    ("restore.yml", {"restore_host": "databses", "restore_backup": "a/latest", "restore_to": "x"}),
]


@pytest.mark.parametrize(("playbook", "asked"), PLAYBOOKS)
def test_every_playbook_refuses_a_misspelt_group_from_any_folder(
    playbook: str, asked: dict[str, str], tmp_path: Path
) -> None:
    done = run(tmp_path, playbook, asked)
    assert done.returncode != 0
    assert "did you mean 'databases'?" in done.stderr or (not asked and "say which" in done.stderr)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"sysctl_setings": {}}, "sysctl_setings (did you mean sysctl_settings?)"),
        ({"tune_hosts": "db1"}, "tune_hosts (it is called fleet_hosts now)"),
    ],
)
def test_a_playbook_refuses_a_misspelt_variable_before_it_looks_at_a_host(
    asked: dict[str, object], told: str, tmp_path: Path
) -> None:
    done = run(tmp_path, "tune.yml", asked)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr


def run(
    folder: Path, playbook: str, asked: dict[str, object] | dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """The playbook as an operator runs it, from an unrelated folder."""
    inventory = folder / "hosts.yml"
    hosts = {"databases": {"hosts": {"db1": {"ansible_connection": "local"}}}}
    inventory.write_text(
        json.dumps({"all": {"vars": {"ansible_become": False}, "children": hosts}})
    )
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [
            program,
            f"--inventory={inventory}",
            PROJECT / "playbooks" / playbook,
            f"-e{json.dumps(asked)}",
        ],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "HOME": str(folder),
            "COLUMNS": "1000",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
