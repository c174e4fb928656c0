"""Hosts whose login may only add to a store; other hosts prune and repair."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.host_statuses import HostStatuses
from holdfast.catalog.places import STATUSES
from holdfast.locking.job_lock import LEASES
from holdfast.model.errors import RepositoryReadOnly
from holdfast.ports.repository import Repository
from holdfast.repositories.sftp import SftpRepository
from lab.stores.sshd import SftpServer
from tests.support.stores import S3Bucket, login_to
from tests.support.two_hosts import TwoHosts


@dataclass(frozen=True)
class Shared:
    """Hosts that may only add, hosts that may also remove, and the store itself."""

    writers: TwoHosts
    owners: TwoHosts
    store: Repository


def s3(request: pytest.FixtureRequest, folder: Path) -> Shared:
    bucket: S3Bucket = request.getfixturevalue("bucket")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    bucket.let_writer_only_add()
    where = f"bucket: {bucket.name}, prefix: {folder.name}, endpoint: '{bucket.server.endpoint}'"
    hosts: list[TwoHosts] = []
    for user in (bucket.server.writer, bucket.server.owner):
        name = user.name.upper()
        monkeypatch.setenv(f"{name}_ACCESS_KEY", user.access_key)
        monkeypatch.setenv(f"{name}_SECRET_KEY", user.secret_key)
        keys = (
            f"access_key: {{environment: {name}_ACCESS_KEY}},"
            f" secret_key: {{environment: {name}_SECRET_KEY}}"
        )
        (folder / user.name).mkdir()
        made = TwoHosts(folder / user.name, store=f"kind: s3, {where}, {keys}")
        made.go.touch()
        hosts.append(made)
    return Shared(hosts[0], hosts[1], bucket.repository(prefix=folder.name))


def sftp(request: pytest.FixtureRequest, folder: Path) -> Shared:
    server: SftpServer = request.getfixturevalue("ssh_server")
    root = folder / "behind-ssh"
    root.mkdir()
    where = f"host: 127.0.0.1, port: {server.port}, user: {server.user}, path: {root}"
    hosts: list[TwoHosts] = []
    for name, key in (("writer", server.writer_key), ("owner", server.private_key)):
        (folder / name).mkdir()
        login = f"host_keys: ['{server.host_key}'], private_key: {{file: {key}}}"
        made = TwoHosts(folder / name, store=f"kind: sftp, {where}, {login}")
        made.go.touch()
        hosts.append(made)
    return Shared(hosts[0], hosts[1], SftpRepository(login_to(server), root=str(root)))


@pytest.fixture(params=[s3, sftp], ids=lambda make: make.__name__)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    make: Callable[[pytest.FixtureRequest, Path], Shared] = request.param
    return make(request, tmp_path)


def ran(hosts: TwoHosts, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """The result of a run, its document, and its messages about leftovers."""
    with hosts.started("a", *arguments, "--json") as process:
        stdout, stderr = process.communicate(timeout=120)
    told = [line for line in stderr.splitlines() if "object_not_deleted" in line]
    return process.returncode, json.loads(stdout or "{}"), "\n".join(told)


def keys(store: Repository, prefix: str) -> list[str]:
    return [each.key for each in store.list(prefix)]


def listed(hosts: TwoHosts) -> list[str]:
    _, document, _ = ran(hosts, "list", "shop")
    return [each["backup"] for each in document["backups"]]


def test_a_killed_run_blocks_no_later_one_and_is_removed_from_elsewhere(shared: Shared) -> None:
    code, _ = shared.writers.ended("a", "backup", "shop", failpoint="part-stored")
    assert code == -signal.SIGKILL
    left = keys(shared.store, "shop")
    assert left
    # Another host, because this one could see that the process has ended.
    code, document = shared.writers.ended("b", "backup", "shop")
    assert code == 0, document
    assert set(left) < set(keys(shared.store, "shop"))
    (made,) = listed(shared.writers)

    assert ran(shared.owners, "repair", "shop")[0] == 0
    assert {key.rsplit("/parts/")[0] for key in keys(shared.store, "shop")} == {
        made,
        f"{made}/manifest.json",
    }
    assert len(keys(shared.store, LEASES)) == 1
    assert ran(shared.owners, "verify", made)[0] == 0
    assert ran(shared.writers, "backup", "shop")[0] == 0


def test_backups_end_well_and_tell_once_what_they_leave_and_who_may_remove_prunes(
    shared: Shared,
) -> None:
    for number in (1, 2):
        code, document, told = ran(shared.writers, "backup", "shop")
        assert code == 0, document
        assert "cannot delete" in told
        assert "\n" not in told
        assert len(listed(shared.writers)) == number
    made = listed(shared.writers)
    code, _, _ = ran(shared.writers, "prune", "shop")
    assert code == RepositoryReadOnly.exit_code
    assert listed(shared.writers) == made
    assert ran(shared.owners, "prune", "shop")[0] == 0
    survey = Catalog(shared.store).survey("shop")
    assert [each.backup_id for each in survey.manifests] == made[: len(survey.manifests)]
    assert len(survey.manifests) == 1


def test_a_check_is_content_and_says_that_not_all_can_be_removed(shared: Shared) -> None:
    for hosts, says in ((shared.writers, True), (shared.owners, False)):
        code, document, _ = ran(hosts, "check", "shop")
        assert code == 0, document
        (job,) = document["jobs"]
        detail = next(each["detail"] for each in job["findings"] if each["subject"] == "repository")
        assert ("some objects cannot be deleted" in detail) == says


def test_statuses_of_a_host_that_may_only_add_are_read_and_tidied_by_another(
    shared: Shared,
) -> None:
    for _ in range(3):
        code, _, told = ran(shared.writers, "backup", "shop")
        assert code == 0
        assert f"{STATUSES}/" not in told
    assert len(list(shared.store.list(STATUSES))) == 3
    (reported,) = HostStatuses(shared.store).all()
    assert reported.status is not None
    assert reported.status.number == 3
    code, document, _ = ran(shared.owners, "fleet")
    assert (code, [each["state"] for each in document["jobs"]]) == (0, ["ok"])
    assert ran(shared.owners, "prune", "shop")[0] == 0
    (left,) = shared.store.list(STATUSES)
    (after,) = HostStatuses(shared.store).all()
    assert after.status is not None
    assert after.status.name in left.key
    assert {each.command for each in after.status.acts} == {"backup", "prune"}
