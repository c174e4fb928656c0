"""How a store of a cloud is reached: obstore's options, Python's own TLS, and whom both believe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from holdfast.repositories.http_transport import Transport, proxy_to
from holdfast.repositories.object_errors import no_fault
from holdfast.repositories.own_certificates import is_server_and_authority

if TYPE_CHECKING:
    from obstore.store import ClientConfig

    from holdfast.repositories.tls_faults import TlsFault
    from holdfast.repositories.tls_relay import TlsRelay

CONNECT_TIMEOUT = timedelta(seconds=10)
REQUEST_TIMEOUT = timedelta(minutes=5)
HTTPS = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """To the store at `endpoint`; `tunnel` tells why there was none, where one of ours is used."""

    endpoint: str
    ca_file: Path | None
    timeout: timedelta
    client: ClientConfig
    tunnel: Callable[[], TlsFault | None] = no_fault

    def transport(self) -> Transport:
        """For the requests that obstore has not."""
        from holdfast.repositories.tls_relay import trusting

        return Transport(
            self.endpoint,
            tls=trusting(self.ca_file) if self.ca_file else None,
            timeout_seconds=self.timeout.total_seconds(),
        )


def connection_options(
    endpoint: str, ca_file: Path | None, timeout: timedelta
) -> ConnectionOptions:
    """Nothing is connected yet; `timeout` is how long the store may be silent."""
    client, tunnel = _client(endpoint, timeout), no_fault
    if ca_file is not None and _needs_tunnel(urlsplit(endpoint), ca_file):
        relay = _relay(urlsplit(endpoint), ca_file)
        client["root_certificate"] = relay.certificate
        client["proxy_url"] = f"http://127.0.0.1:{relay.port}"
        tunnel = relay.fault
    elif ca_file is not None:
        client["root_certificate"] = ca_file.read_bytes()
    return ConnectionOptions(
        endpoint=endpoint, ca_file=ca_file, timeout=timeout, client=client, tunnel=tunnel
    )


def _relay(url: SplitResult, ca_file: Path) -> TlsRelay:
    # Loaded where it is used: few stores have a certificate of their own.
    from holdfast.repositories.tls_relay import TlsRelay

    seconds = CONNECT_TIMEOUT.total_seconds()
    return TlsRelay(url.hostname or "", url.port or HTTPS, ca_file, connect_seconds=seconds)


def _needs_tunnel(url: SplitResult, ca_file: Path) -> bool:
    """A store behind a proxy of the environment has none: there is one way out alone."""
    host = url.hostname or ""
    return url.scheme == "https" and not proxy_to(url) and is_server_and_authority(ca_file, host)


def _client(endpoint: str, timeout: timedelta) -> ClientConfig:
    """No limit for a request as a whole, which would end long reads: only for its silence."""
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "timeout": timedelta(days=7),
        "read_timeout": timeout,
        "allow_http": endpoint.startswith("http://"),
    }
