"""A real S3 server on loopback: a monitor, a disk and a gateway of Ceph, as plain processes."""

import secrets
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import command
from lab.errors import CommandFailed
from lab.machine import install, missing
from lab.waiting import wait_until

PACKAGES = {
    "ceph-mon": ["/usr/bin/ceph-mon"],
    "ceph-osd": ["/usr/bin/ceph-osd"],
    "radosgw": ["/usr/bin/radosgw"],
    "ceph-common": ["/usr/bin/ceph"],
}
START_SECONDS = 120.0
PORTS = 10
# Lists of several pages are the usual ones in tests.
NAMES_A_PAGE = 7
# Settings for a start within seconds: quick elections, no placement by hosts, no disk benchmark.
CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
ms_bind_port_min = {lowest}
ms_bind_port_max = {highest}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# Without this the gateway waits for keys that nobody hands out.
ms_mon_client_mode = crc
keyring = /dev/null
run_dir = {folder}
crash_dir = {folder}
admin_socket = {folder}/$name.asok
log_file = {folder}/$name.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
[mon]
mon_data = {folder}/mon
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_data_avail_crit = 1
[osd]
osd_data = {folder}/osd
osd_objectstore = bluestore
bluestore_block_size = 10737418240
bluestore_cache_autotune = false
bluestore_cache_size = 134217728
osd_mclock_skip_benchmark = true
osd_class_load_list = *
osd_class_default_list = *
[client.rgw]
# Without tcp_nodelay every GET waits 40 ms for an acknowledgement.
rgw_frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw_run_sync_thread = false
rgw_dynamic_resharding = false
rgw_override_bucket_index_max_shards = 1
rgw_max_listing_results = {names_a_page}
"""


@dataclass(frozen=True)
class S3User:
    """A user of the server and its keys."""

    name: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class S3Server:
    """The server's port and users: `owner` may create buckets.

    `writer` may do what a bucket's policy allows. The gateway's `log` has a line for each request.
    """

    port: int
    owner: S3User
    writer: S3User
    log: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def s3_server(folder: Path, *, names_a_page: int = NAMES_A_PAGE) -> Iterator[S3Server]:
    """Start Ceph with all its data below `folder` until the block ends; raises `LabError`."""
    install(missing(PACKAGES))
    port = _free_ports()
    fsid, disk = str(uuid.uuid4()), str(uuid.uuid4())
    for name in ("mon", "osd"):
        (folder / name).mkdir(parents=True)
    ceph = _Ceph(folder, port, fsid, names_a_page=names_a_page)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        ceph.make_monitor()
        processes.append(ceph.start("ceph-mon", "-i", "a"))
        wait_until(lambda: ceph.ask("mon", "stat"), deadline_seconds=START_SECONDS)
        ceph.ask("osd", "new", disk)
        ceph.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        processes.append(ceph.start("ceph-osd", "-i", "0"))
        wait_until(ceph.require_disk, deadline_seconds=START_SECONDS)
        server = S3Server(
            port=port,
            owner=_user("owner"),
            writer=_user("writer"),
            log=folder / "client.rgw.log",
        )
        for user in (server.owner, server.writer):
            ceph.make_user(user)
        processes.append(ceph.start("radosgw", "-n", "client.rgw"))
        wait_until(lambda: _require_open(port), deadline_seconds=START_SECONDS)
        yield server
    finally:
        # The data is thrown away: an orderly shutdown would take eleven seconds.
        for process in reversed(processes):
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


class _Ceph:
    """One cluster: its programs, which share a configuration file."""

    def __init__(self, folder: Path, port: int, fsid: str, *, names_a_page: int) -> None:
        self._folder = folder
        self._monitor = port + 1
        self._fsid = fsid
        self._file = folder / "ceph.conf"
        self._file.write_text(
            CONFIGURATION.format(
                fsid=fsid,
                folder=folder,
                gateway=port,
                names_a_page=names_a_page,
                monitor=port + 1,
                lowest=port + 2,
                highest=port + PORTS - 1,
            )
        )

    def run(self, program: str, *arguments: str) -> str:
        return command.run([program, "-c", str(self._file), *arguments], timeout_seconds=60)

    def ask(self, *arguments: str) -> str:
        return self.run("ceph", "--connect-timeout", "5", *arguments)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.out").open("wb") as out:
            return subprocess.Popen(
                [program, "-c", str(self._file), "-f", *arguments], stdout=out, stderr=out
            )

    def make_monitor(self) -> None:
        monmap = str(self._folder / "monmap")
        address = f"[v2:127.0.0.1:{self._monitor}]"
        command.run(
            ["monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", address, monmap]
        )
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", "/dev/null")

    def require_disk(self) -> None:
        if "1 up" not in self.ask("osd", "stat"):
            raise CommandFailed("the disk of the S3 server is not up")

    def make_user(self, user: S3User) -> None:
        """Secrets on the command line are acceptable: this server on loopback protects nothing."""
        keys = ("--access-key", user.access_key, "--secret-key", user.secret_key)
        name = ("--uid", user.name, "--display-name", user.name)
        self.run("radosgw-admin", "-n", "client.rgw", "user", "create", *name, *keys)


def _user(name: str) -> S3User:
    return S3User(name=name, access_key=secrets.token_hex(10), secret_key=secrets.token_hex(20))


def _require_open(port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        raise CommandFailed(f"the S3 server does not listen on port {port}: {error}") from error


def _free_ports() -> int:
    """The first of `PORTS` consecutive free ports."""
    while True:
        first = 20_000 + secrets.randbelow(2_000) * PORTS
        if all(_is_free(port) for port in range(first, first + PORTS)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
