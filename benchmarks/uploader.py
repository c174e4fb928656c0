"""Upload a folder as `holdfast copy` does its objects: our own contender in `benchmarks.upload`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from holdfast.cli.progress import Meter
from holdfast.operations.copy.objects import CopyItem, upload
from holdfast.ports.repository import Repository
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.local import LocalRepository
from holdfast.repositories.network import RetryingRepository
from holdfast.repositories.s3 import S3Keys, s3_repository
from holdfast.repositories.sftp import SftpRepository
from holdfast.repositories.sftp_connections import SshLogin

STORE = "BENCH_STORE"


def main(argv: list[str]) -> int:
    """`uploader FOLDER AT_ONCE`; the environment names the destination, as JSON."""
    folder, at_once = Path(argv[0]), int(argv[1])
    source = LocalRepository(folder)

    def walk() -> Iterator[CopyItem]:
        for stored in source.list(""):
            yield CopyItem(key=stored.key, size_bytes=stored.size_bytes)

    target = RetryingRepository(store_of(json.loads(os.environ[STORE])))
    tally = upload(walk, source, target, at_once=at_once, is_fresh=True, progress=Meter())
    print(f"{tally.sent} objects, {tally.sent_bytes} bytes")
    return 0


def store_of(where: dict[str, str]) -> Repository:
    if where["kind"] == "s3":
        return s3_repository(
            Bucket(name=where["bucket"], prefix="ours", endpoint=where["endpoint"]),
            region="us-east-1",
            keys=S3Keys(access_key=where["access_key"], secret_key=where["secret_key"]),
            clock=lambda: datetime.now(UTC),
        )
    login = SshLogin(
        host="127.0.0.1",
        port=int(where["port"]),
        user=where["user"],
        host_keys=(where["host_key"],),
        private_key=Path(where["private_key"]).read_text(),
    )
    return SftpRepository(login, root=where["root"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
