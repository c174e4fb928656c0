"""The settings of repositories: one model for each kind of store, selected by `kind`."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from holdfast.config.encryption import AuthenticationSettings, EncryptionSettings
from holdfast.config.secret import SecretSource
from holdfast.config.values import AbsolutePath, Duration, LeaseTime, Size, Strict, Text
from holdfast.model.checked import After, By, Mistake, Range
from holdfast.model.errors import ConfigInvalid

UPLOADS = 8
SMALLEST_PART_BYTES = 5 << 20
PART_BYTES = 8 << 20
REQUEST_TIMEOUT = timedelta(minutes=5)
LEASE_TIME = timedelta(seconds=90)
_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Lines = tuple[Text, ...]


def _prefix(value: str) -> str:
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise Mistake(f"'{value}' is not a plain prefix", hint="write it like db1 or team/db1")
    return value


def _endpoint(value: str) -> str:
    from urllib.parse import urlsplit  # it loads slowly, and a folder has no address

    try:
        url = urlsplit(value)
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise Mistake("it is not an address", hint="write https://HOST or https://HOST:PORT")
    if url.username or url.password or url.query or url.fragment:
        raise Mistake("an endpoint must not hold a login", hint="use the settings for keys")
    return value.rstrip("/")


Prefix = Annotated[str, After(_prefix)]
Endpoint = Annotated[str, After(_endpoint)]


class StoreSettings(Strict):
    """The settings of every kind of repository; hosts that share one should use the same."""

    lease_time: LeaseTime = LEASE_TIME
    repository_slots: Annotated[int, Range(at_least=1, at_most=1000)] | None = None
    encryption: EncryptionSettings | None = None
    authentication: AuthenticationSettings | None = None


class Transfers(StoreSettings):
    """The settings for transfers to a store behind a network.

    `upload_concurrency` is the number of small objects in flight. `upload_rate` is in bytes a
    second for all uploads of a run together. `request_timeout` is how long a store may be silent.
    """

    upload_concurrency: Annotated[int, Range(at_least=1, at_most=64)] = UPLOADS
    upload_rate: Size | None = None
    request_timeout: Duration = REQUEST_TIMEOUT


class LocalSettings(StoreSettings):
    """Backups in a folder of this host."""

    kind: Literal["local"]
    path: AbsolutePath


class BucketSettings(Transfers):
    """The settings of all clouds; `part_size` is for longer objects, with at most 10,000 parts.

    `endpoint` is needed if the store is not the provider's own, or at another of its addresses.
    `ca_file` holds the certificate authority of the store, if it is a private one.
    """

    prefix: Prefix = ""
    part_size: Annotated[Size, Range(at_least=SMALLEST_PART_BYTES)] = PART_BYTES
    endpoint: Endpoint = ""
    plain_http: bool = False
    ca_file: AbsolutePath | None = None

    def require_sound(self) -> None:
        """Backups travel encrypted unless the file says otherwise."""
        from urllib.parse import urlsplit

        url = urlsplit(self.endpoint)
        if url.scheme == "http" and url.hostname not in LOOPBACK and not self.plain_http:
            raise Mistake(
                "http sends backups unencrypted", hint="write https://, or add plain_http: true"
            )

    def authorities(self) -> Path | None:
        """`ca_file` after a check, before the store is contacted; raises `ConfigInvalid`."""
        return _with_certificates(self.ca_file) if self.ca_file else None


class S3Settings(BucketSettings):
    """A bucket of S3, or of a compatible store at `endpoint`.

    Without keys, they are searched for where AWS's own tools look. With `send_checksums` each
    request also sends its SHA-256 as a checksum, as a bucket with object lock requires.
    """

    kind: Literal["s3"]
    send_checksums: bool = False
    bucket: Text
    region: Text = "us-east-1"
    access_key: SecretSource | None = None
    secret_key: SecretSource | None = None
    session_token: SecretSource | None = None

    def require_sound(self) -> None:
        """Keys and token belong together."""
        super().require_sound()
        if (self.access_key is None) != (self.secret_key is None):
            raise Mistake("a key and its secret belong together", hint="name both or none")
        if self.session_token and not self.access_key:
            raise Mistake("a session token needs both keys", hint="name access_key and secret_key")


class GcsSettings(BucketSettings):
    """A bucket of Google Cloud Storage; without `service_account` the machine's own is used."""

    kind: Literal["gcs"]
    bucket: Text
    service_account: SecretSource | None = None


class AzureSettings(BucketSettings):
    """A container of Azure Blob Storage; without key and token the machine's identity is used."""

    kind: Literal["azure"]
    account: Text
    container: Text
    account_key: SecretSource | None = None
    sas_token: SecretSource | None = None

    def require_sound(self) -> None:
        """There is one login at the most."""
        super().require_sound()
        if self.account_key and self.sas_token:
            raise Mistake("two logins are named", hint="name either account_key or sas_token")


class SftpSettings(Transfers):
    """A folder on an SSH server whose host key must be known in advance."""

    kind: Literal["sftp"]
    host: Text
    port: Annotated[int, Range(at_least=1, at_most=65535)] = 22
    user: Text
    path: AbsolutePath
    host_keys: Lines = ()
    known_hosts: AbsolutePath | None = None
    private_key: SecretSource | None = None
    passphrase: SecretSource | None = None
    password: SecretSource | None = None

    def require_sound(self) -> None:
        """The server's key is known, and so is the way to log in."""
        if bool(self.host_keys) == bool(self.known_hosts):
            raise Mistake(
                "the server's key must be named in exactly one place",
                hint="write host_keys: [ssh-ed25519 AAAA...], or name a known_hosts file",
            )
        if (self.private_key is None) == (self.password is None):
            raise Mistake("exactly one login is needed", hint="name either private_key or password")


RepositorySettings = Annotated[
    LocalSettings | S3Settings | GcsSettings | AzureSettings | SftpSettings,
    By("kind"),
]


def _with_certificates(path: Path) -> Path:
    import ssl  # imported here: it takes longer to load than the settings themselves

    try:
        content = path.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise _no_certificate(path) from error
    except OSError as error:
        raise ConfigInvalid(
            f"cannot read ca_file '{path}': {os.strerror(error.errno or 0)}",
            hint="ca_file names the certificates, in PEM, of the signer of the store's certificate",
        ) from error
    if _BEGIN_CERTIFICATE not in content:
        raise _no_certificate(path)
    return path


def _no_certificate(path: Path) -> ConfigInvalid:
    return ConfigInvalid(
        f"cannot use ca_file '{path}': it holds no certificate in PEM",
        hint=f"convert one in DER: openssl x509 -inform der -in {path} -out {path}.pem",
    )
