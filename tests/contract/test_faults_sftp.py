"""A failing SFTP store: a few retries, nothing lost, nothing twice, clear messages."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from holdfast.model.errors import RepositoryFull, RepositoryRefused, RepositoryUnreachable
from holdfast.model.fingerprints import fingerprint_of
from holdfast.ports.repository import Content, Repository
from holdfast.repositories.local import LocalRepository
from holdfast.repositories.network import RetryingRepository
from holdfast.repositories.sftp import SftpRepository
from holdfast.repositories.sftp_connections import SshLogin
from lab.stores.sshd import SftpServer, end_sessions, sftp_server
from lab.stores.wire import Wire, wire
from tests.support.stores import login_to

MIB = 1 << 20
# A wire that is cut after this many bytes lets a login pass, but no long file.
AFTER_LOGIN_BYTES = 3 * MIB


@pytest.fixture
def line(ssh_server: SftpServer) -> Iterator[Wire]:
    with wire(ssh_server.port) as laid:
        yield laid


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def plain(root: Path) -> Repository:
    """The same files, seen on the server itself."""
    return LocalRepository(root)


@pytest.fixture
def repository(ssh_server: SftpServer, line: Wire, root: Path) -> Repository:
    login = login_to(ssh_server, port=line.port)
    # The key is known under the port that the client sees.
    store = SftpRepository(login, root=str(root))
    return RetryingRepository(store, attempts=3, first_wait_seconds=0.01)


def content(repository: Repository, key: str) -> bytes:
    with repository.open(key) as chunks:
        return b"".join(chunks)


def known(data: bytes) -> Content:
    return Content(size_bytes=len(data), fingerprint=fingerprint_of(data), read=lambda: [data])


@pytest.mark.parametrize("cut_at", [0, 1000, 2000, 3000, 4000, 5000])
def test_a_put_gets_over_a_cut_wire_wherever_it_is_cut(
    repository: Repository, plain: Repository, line: Wire, cut_at: int
) -> None:
    line.cut_at = [cut_at]
    repository.put("job/b/part", [b"one", b"two"])
    assert content(plain, "job/b/part") == b"onetwo"
    assert [each.key for each in plain.list("")] == ["job/b/part"]
    assert line.connections <= 2


def test_content_that_is_too_long_to_remember_is_read_again(
    repository: Repository, plain: Repository, line: Wire
) -> None:
    data = bytes(range(256)) * (20 * MIB // 256)
    line.cut_at = [AFTER_LOGIN_BYTES]
    repository.put("job/b/long", known(data))
    assert line.connections == 2
    assert content(plain, "job/b/long") == data


def test_a_stream_that_is_cut_is_an_error_and_its_rest_is_swept(
    repository: Repository, plain: Repository, line: Wire
) -> None:
    line.cut_at = [AFTER_LOGIN_BYTES]
    with pytest.raises(RepositoryUnreachable, match="cannot talk to"):
        repository.put("job/b/long", iter([b"x" * MIB] * 20))
    assert list(plain.list("")) == []
    assert repository.sweep("job") == 1
    assert repository.sweep("job") == 0


def test_a_server_that_stays_away_is_asked_a_few_times(
    repository: Repository, plain: Repository, line: Wire
) -> None:
    line.cut_at = [0] * 100
    with pytest.raises(RepositoryUnreachable, match="cannot talk to") as raised:
        repository.put("job/b/part", [b"x"])
    assert "whether its SSH server answers" in raised.value.hint
    assert line.connections == 3
    assert list(plain.list("")) == []


def test_sessions_that_die_while_reading_are_opened_again(
    repository: Repository, plain: Repository, ssh_server: SftpServer
) -> None:
    data = bytes(range(256)) * (12 * MIB // 256)
    plain.put("job/b/part", [data])
    found = b""
    with repository.open("job/b/part") as chunks:
        for chunk in chunks:
            found += chunk
            if len(found) == len(chunk):
                end_sessions(ssh_server.pid)
    assert found == data


def test_a_silent_server_is_given_up_after_the_timeout(
    ssh_server: SftpServer, line: Wire, root: Path
) -> None:
    login = login_to(ssh_server, port=line.port, timeout=timedelta(seconds=1))
    store = SftpRepository(login, root=str(root))
    store.put("job/one", [b"x"])
    line.silent = True
    with pytest.raises(RepositoryUnreachable, match="cannot talk to"):
        store.put("job/two", [b"x"])


def test_a_full_disk_is_told_as_one_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    with sftp_server(tmp_path / "narrow") as server:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (5 * MIB, 5 * MIB))
        store = SftpRepository(login_to(server), root=str(root))
        store.put("job/b/short", [b"x" * MIB])
        with pytest.raises(RepositoryFull, match="cannot store 'job/b/long' in 'sftp://") as raised:
            store.put("job/b/long", iter([b"x" * MIB] * 20))
        assert "quota" in raised.value.hint
        assert [each.key for each in store.list("")] == ["job/b/short"]
        assert store.sweep("job") == 0


def test_a_server_that_lets_few_channels_share_a_connection_gets_more_connections(
    tmp_path: Path, root: Path, plain: Repository
) -> None:
    with sftp_server(tmp_path / "narrow", channels=2) as server:
        store = SftpRepository(login_to(server), root=str(root))
        meeting = Barrier(6, timeout=60)

        def chunks() -> Iterator[bytes]:
            meeting.wait()
            yield b"x"

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: store.put(f"job/{number}", chunks()), range(6)))
    assert len(list(plain.list("job"))) == 6


def test_a_server_whose_key_is_another_one_is_refused(ssh_server: SftpServer) -> None:
    key = (Path(ssh_server.private_key).with_suffix(".pub")).read_text().strip()
    login = replace(login_to(ssh_server), host_keys=(key,))
    with pytest.raises(RepositoryRefused, match="another key") as raised:
        SftpRepository(login, root="/").check()
    assert "somebody may be intercepting" in raised.value.hint


def test_a_server_whose_key_is_not_known_is_refused(ssh_server: SftpServer, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    login = replace(login_to(ssh_server), host_keys=(), known_hosts=tmp_path / "known_hosts")
    with pytest.raises(RepositoryRefused, match="key is not known") as raised:
        SftpRepository(login, root="/").check()
    assert "ssh-keyscan" in raised.value.hint


def login_by_file(server: SftpServer, folder: Path, *lines: str) -> SshLogin:
    known = folder / "known_hosts"
    known.write_text("".join(line.format(port=server.port) + "\n" for line in lines))
    return replace(login_to(server), host_keys=(), known_hosts=known)


def test_the_hint_asks_for_the_keys_at_the_servers_own_port(
    ssh_server: SftpServer, tmp_path: Path
) -> None:
    with pytest.raises(RepositoryRefused) as raised:
        SftpRepository(login_by_file(ssh_server, tmp_path), root="/").check()
    asked = raised.value.hint.rpartition(": ")[2]
    assert asked == f"ssh-keyscan -p {ssh_server.port} 127.0.0.1"
    printed = subprocess.run(asked.split(), capture_output=True, text=True, check=True).stdout
    login = login_by_file(ssh_server, tmp_path, *printed.splitlines())
    SftpRepository(login, root=str(ssh_server.private_key.parent)).check()


@pytest.mark.parametrize("kind", ["host_key", "host_key_rsa"])
def test_a_server_is_asked_for_a_key_of_the_kind_that_is_known(
    ssh_server: SftpServer, tmp_path: Path, kind: str
) -> None:
    key = getattr(ssh_server, kind)
    root = str(ssh_server.private_key.parent)
    SftpRepository(replace(login_to(ssh_server), host_keys=(key,)), root=root).check()
    login = login_by_file(ssh_server, tmp_path, f"[127.0.0.1]:{{port}} {key}")
    SftpRepository(login, root=root).check()


def test_hashed_names_are_read_as_openssh_writes_them(
    ssh_server: SftpServer, tmp_path: Path
) -> None:
    login = login_by_file(ssh_server, tmp_path, f"[127.0.0.1]:{{port}} {ssh_server.host_key_rsa}")
    known = str(tmp_path / "known_hosts")
    subprocess.run(["ssh-keygen", "-H", "-f", known], capture_output=True, check=True)
    assert "127.0.0.1" not in Path(known).read_text()
    SftpRepository(login, root=str(ssh_server.private_key.parent)).check()


def test_a_revoked_key_is_refused_though_it_is_known(
    ssh_server: SftpServer, tmp_path: Path
) -> None:
    key = ssh_server.host_key
    lines = (f"[127.0.0.1]:{{port}} {key}", f"@revoked * {key}")
    with pytest.raises(RepositoryRefused, match=r"has revoked \(@revoked\)"):
        SftpRepository(login_by_file(ssh_server, tmp_path, *lines), root="/").check()


def test_a_server_without_a_key_of_a_known_kind_is_told_as_that(
    ssh_server: SftpServer, tmp_path: Path
) -> None:
    key = str(tmp_path / "other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key], check=True)
    listed = Path(f"{key}.pub").read_text().strip()
    with pytest.raises(RepositoryRefused, match="no key of a known type: ecdsa") as raised:
        SftpRepository(replace(login_to(ssh_server), host_keys=(listed,)), root="/").check()
    assert f"ssh-keyscan -p {ssh_server.port}" in raised.value.hint


def test_a_login_that_is_refused_says_what_to_do_and_shows_no_key(
    ssh_server: SftpServer,
) -> None:
    other = (ssh_server.private_key.parent / "host_key").read_text()
    login = replace(login_to(ssh_server), private_key=other)
    with pytest.raises(RepositoryRefused, match="refused the login") as raised:
        SftpRepository(login, root="/").check()
    assert "authorized_keys" in raised.value.hint
    assert "PRIVATE" not in repr(login)


def test_a_key_that_is_none_is_told_without_its_content(ssh_server: SftpServer) -> None:
    login = replace(login_to(ssh_server), private_key="secret words")
    with pytest.raises(RepositoryRefused, match="private key cannot be used") as raised:
        SftpRepository(login, root="/").check()
    assert "secret words" not in str(raised.value)


def test_a_folder_that_is_not_there_is_no_missing_object(ssh_server: SftpServer) -> None:
    store = SftpRepository(login_to(ssh_server), root="/nowhere/at/all")
    for act in (store.check, lambda: content(store, "a/b"), lambda: list(store.list(""))):
        with pytest.raises(RepositoryUnreachable) as raised:
            act()
        assert raised.value.hint == "create the folder '/nowhere/at/all' there first"


def test_the_room_that_is_told_is_that_of_the_folder(
    ssh_server: SftpServer, root: Path, plain: Repository
) -> None:
    told = SftpRepository(login_to(ssh_server), root=str(root)).free_bytes()
    known_here = plain.free_bytes()
    assert told is not None
    assert known_here is not None
    assert abs(told - known_here) < 0.1 * known_here


def test_what_is_stored_is_for_its_owner_only(ssh_server: SftpServer, root: Path) -> None:
    SftpRepository(login_to(ssh_server), root=str(root)).put("job/b/part", [b"x"])
    assert (root / "job").stat().st_mode & 0o077 == 0
