"""Real stores for the repository contract, and the logins of the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from holdfast.repositories.azure import azure_repository
from holdfast.repositories.bucket_lists import BucketRequests
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.gcs import GoogleTokens, gcs_repository
from holdfast.repositories.http_transport import Transport
from holdfast.repositories.object_store import ObjectStoreRepository
from holdfast.repositories.s3 import S3Keys, s3_repository, s3_requests
from holdfast.repositories.sftp_connections import SshLogin
from lab.stores.azure import AzureServer
from lab.stores.ceph import S3Server, S3User
from lab.stores.gcs import Account, GcsServer
from lab.stores.sshd import SftpServer

REGION = "us-east-1"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of a real S3 server; `endpoint` may be that of a proxy in front of it."""

    server: S3Server
    name: str

    @property
    def keys(self) -> S3Keys:
        return keys_of(self.server.owner)

    def let_writer_only_add(self) -> None:
        """Grant the permissions that docs/repositories.md lists for an append-only host."""
        arn, writer = f"arn:aws:s3:::{self.name}", {"AWS": ["arn:aws:iam:::user/writer"]}
        allowed = ["ListBucket", "ListBucketMultipartUploads", "GetObject", "PutObject"]
        rights = [f"s3:{each}" for each in (*allowed, "AbortMultipartUpload")]
        where = [arn, f"{arn}/*"]
        # Objects belong to the writer that puts them: without this nobody else could read them.
        owner = {"AWS": ["arn:aws:iam:::user/owner"]}
        statements = [
            {"Effect": "Allow", "Principal": owner, "Action": ["s3:*"], "Resource": where},
            {"Effect": "Allow", "Principal": writer, "Action": rights, "Resource": where},
            {
                "Effect": "Deny",
                "Principal": writer,
                "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
                "Resource": where,
            },
        ]
        policy = {"Version": "2012-10-17", "Statement": statements}
        self.requests().ask("PUT", "", {"policy": ""}, content=json.dumps(policy).encode())

    def repository(
        self,
        *,
        prefix: str,
        endpoint: str = "",
        keys: S3Keys | None = None,
        sends_checksums: bool = False,
        request_timeout: timedelta = timedelta(minutes=1),
    ) -> ObjectStoreRepository:
        return s3_repository(
            Bucket(
                name=self.name,
                prefix=prefix,
                endpoint=endpoint or self.server.endpoint,
                request_timeout=request_timeout,
            ),
            region=REGION,
            keys=keys or self.keys,
            clock=now,
            sends_checksums=sends_checksums,
        )

    def requests(self) -> BucketRequests:
        transport = Transport(self.server.endpoint)
        return s3_requests(transport, self.name, region=REGION, keys=self.keys, clock=now)


@dataclass(frozen=True)
class AzureContainer:
    """A container of Microsoft's own emulator; `port` may be that of a proxy in front of it."""

    server: AzureServer
    name: str

    def repository(
        self,
        *,
        prefix: str,
        port: int = 0,
        sas_token: str = "",
        request_timeout: timedelta = timedelta(minutes=1),
    ) -> ObjectStoreRepository:
        return azure_repository(
            Bucket(
                name=self.name,
                prefix=prefix,
                endpoint=replace(self.server, port=port or self.server.port).endpoint,
                request_timeout=request_timeout,
            ),
            account=self.server.account,
            account_key="" if sas_token else self.server.account_key,
            sas_token=sas_token,
            clock=now,
        )


@dataclass(frozen=True)
class GcsBucket:
    """A bucket of the lab's server for Google's API; `port` may be that of a proxy before it."""

    server: GcsServer
    name: str

    def repository(
        self,
        *,
        prefix: str,
        port: int = 0,
        account: Account | None = None,
        lists_itself: bool = True,
        request_timeout: timedelta = timedelta(minutes=1),
    ) -> ObjectStoreRepository:
        key_file = (account or self.server.user).key_file
        return gcs_repository(
            Bucket(
                name=self.name,
                prefix=prefix,
                endpoint=replace(self.server, port=port or self.server.port).endpoint,
                request_timeout=request_timeout,
            ),
            service_account_key=key_file,
            token=GoogleTokens(key_file, now) if lists_itself else None,
        )


def keys_of(user: S3User) -> S3Keys:
    return S3Keys(access_key=user.access_key, secret_key=user.secret_key)


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
