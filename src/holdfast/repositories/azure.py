"""A container of Azure Blob Storage, and lists of it by account key or shared access signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree

from obstore.store import AzureStore

from holdfast.repositories.bucket_lists import LONGEST_ETAG, UnfinishedUpload
from holdfast.repositories.buckets import RETRIES, Bucket, connection_to
from holdfast.repositories.http_transport import StoreRefused, Transport, encoded, size_of

if TYPE_CHECKING:
    from obstore.store import AzureConfig

    from holdfast.repositories.object_keys import Listed
    from holdfast.repositories.object_store import ObjectStoreRepository

VERSION = "2021-12-02"
PAGE = 1000
# Encoding, language, length, MD5, type, date, four conditions and a range: none is sent.
_NONE_OF_THESE = "\n" * 12

Login = Callable[[str, dict[str, str]], tuple[dict[str, str], dict[str, str]]]
"""From the path and the query of a GET to its query and headers with the login."""


def azure_repository(
    container: Bucket,
    *,
    account: str,
    account_key: str,
    sas_token: str,
    clock: Callable[[], datetime],
) -> ObjectStoreRepository:
    """Without key and token the machine's identity is used."""
    config: AzureConfig = {"account_name": account}
    if account_key:
        config["account_key"] = account_key
    if sas_token:
        config["sas_key"] = sas_token
    if container.endpoint:
        config["endpoint"] = container.endpoint
    address = container.endpoint or f"https://{account}.blob.core.windows.net"
    connection = connection_to(container, address, name=f"azure://{account}/{container.name}")
    with connection.login(hint="account_key must be Base64, sas_token only sv=...&sig=..."):
        store = AzureStore(
            container.name,
            prefix=container.prefix or None,
            client_options=connection.client,
            retry_config=RETRIES,
            config=config,
        )
    requests = None
    if account_key or sas_token:
        login = by_token(sas_token) if sas_token else by_key(account, account_key, clock=clock)
        requests = ContainerRequests(connection.transport(), container.name, login=login)
    return connection.repository(store, requests)


class ContainerRequests:
    """Requests to one container."""

    def __init__(self, transport: Transport, container: str, *, login: Login) -> None:
        self._transport = transport
        self._path = f"{transport.path}/{quote(container, safe='')}"
        self._login = login

    def objects(self, prefix: str) -> Iterator[Listed]:
        """Every object whose name begins with `prefix`, page by page; its version is its ETag."""
        marker = ""
        while True:
            page = self._page(prefix, marker)
            for blob in page.iterfind("Blobs/Blob"):
                if blob.findtext("Properties/ResourceType") != "directory":
                    size_bytes = size_of(blob.findtext("Properties/Content-Length", ""))
                    version = blob.findtext("Properties/Etag", "")[:LONGEST_ETAG]
                    yield _name(blob), size_bytes, version
            before, marker = marker, page.findtext("NextMarker", "")
            if not marker:
                return
            if marker == before:
                raise StoreRefused(http.client.BAD_GATEWAY, "", "its list never ends")

    def unfinished(self, _prefix: str) -> Iterator[UnfinishedUpload]:
        """Yields nothing: Azure deletes uncommitted blocks after a week."""
        return iter(())

    def abort(self, upload: UnfinishedUpload) -> None:
        raise NotImplementedError(upload)

    def _page(self, prefix: str, marker: str) -> ElementTree.Element:
        asked = {
            "restype": "container",
            "comp": "list",
            "prefix": prefix,
            "maxresults": str(PAGE),
        }
        query, headers = self._login(self._path, asked | ({"marker": marker} if marker else {}))
        return self._transport.ask("GET", f"{self._path}?{encoded(query)}", headers)


def by_key(account: str, account_key: str, *, clock: Callable[[], datetime]) -> Login:
    """A login by Shared Key."""
    key = base64.b64decode(account_key)

    def login(path: str, query: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        moment = format_datetime(clock(), usegmt=True)
        headers = {"x-ms-date": moment, "x-ms-version": VERSION}
        named = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        asked = "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        text = f"GET{_NONE_OF_THESE}{named}/{account}{path}{asked}"
        digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        return query, headers | {"authorization": f"SharedKey {account}:{signature}"}

    return login


def by_token(sas_token: str) -> Login:
    """A login by a shared access signature, which is part of each query."""
    token = dict(parse_qsl(sas_token.removeprefix("?"), keep_blank_values=True))

    def login(_path: str, query: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        return query | token, {"x-ms-version": VERSION}

    return login


def _name(blob: ElementTree.Element) -> str:
    """The blob's name, decoded if Azure encoded it for characters that XML cannot hold."""
    found = blob.find("Name")
    if found is None:
        return ""
    text = found.text or ""
    return unquote(text) if found.get("Encoded") == "true" else text
