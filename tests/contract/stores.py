"""Real stores for the contract of repositories: how tests log in to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.repositories.clouds import s3_repository
from holdfast.repositories.object_store import ObjectStoreRepository
from holdfast.repositories.s3_requests import S3Keys, S3Requests
from holdfast.repositories.sftp_connections import SshLogin
from lab.stores.ceph import S3Server
from lab.stores.sshd import SftpServer

REGION = "us-east-1"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Bucket:
    """A bucket of a real S3 server; `endpoint` may be that of a proxy before it."""

    server: S3Server
    name: str

    @property
    def keys(self) -> S3Keys:
        return S3Keys(access_key=self.server.access_key, secret_key=self.server.secret_key)

    def repository(
        self,
        *,
        prefix: str,
        endpoint: str = "",
        keys: S3Keys | None = None,
        request_timeout: timedelta = timedelta(minutes=1),
    ) -> ObjectStoreRepository:
        return s3_repository(
            bucket=self.name,
            prefix=prefix,
            region=REGION,
            endpoint=endpoint or self.server.endpoint,
            keys=keys or self.keys,
            clock=now,
            request_timeout=request_timeout,
        )

    def requests(self) -> S3Requests:
        return S3Requests(
            endpoint=self.server.endpoint,
            bucket=self.name,
            region=REGION,
            keys=self.keys,
            clock=now,
        )


def login_to(
    server: SftpServer, *, port: int | None = None, timeout: timedelta = timedelta(minutes=1)
) -> SshLogin:
    return SshLogin(
        host="127.0.0.1",
        port=port or server.port,
        user=server.user,
        host_keys=(server.host_key,),
        private_key=server.private_key.read_text(),
        timeout=timeout,
    )
