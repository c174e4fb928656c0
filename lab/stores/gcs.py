"""Google Cloud Storage on loopback: a small server of our own, as Google offers none to run.

It answers the XML API requests that the runner sends, as Google's reference describes, with
checksums, preconditions and signed tokens of service accounts. Where the reference leaves a choice,
it refuses.
"""

import base64
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lab.stores.gcs_bucket import PAGE, Bucket, Refused, Stored

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LONGEST_TOKEN_SECONDS = 3600
# The permissions of Storage Object User, and of Storage Object Creator with Storage Object Viewer.
USER = frozenset({"create", "get", "list", "delete", "listMultipartUploads"})
WRITER = frozenset({"create", "get", "list"})
Answer = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True)
class Account:
    """A service account: its permissions and its key."""

    email: str
    rights: frozenset[str]
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )

    @property
    def key_file(self) -> str:
        """The key file as Google's console issues it."""
        private = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "private_key_id": secrets.token_hex(20),
                "private_key": private.decode(),
                "client_email": self.email,
            }
        )


@dataclass
class GcsServer:
    """The server's port, its accounts and its buckets by name."""

    port: int
    user: Account
    writer: Account
    buckets: dict[str, Bucket]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def gcs_server(
    *buckets: str, names_a_page: int = PAGE, tls: ssl.SSLContext | None = None
) -> Iterator[GcsServer]:
    """Serve these buckets until the block ends; `user` may do everything, `writer` only add."""
    server = GcsServer(
        port=0,
        user=Account("user@lab.iam.gserviceaccount.com", USER),
        writer=Account("writer@lab.iam.gserviceaccount.com", WRITER),
        buckets={name: Bucket(names_a_page=names_a_page) for name in buckets},
    )
    with _Http(("127.0.0.1", 0), lambda *given: _Handler(server, *given)) as http:
        server.port = http.server_address[1]
        if tls:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, name="gcs", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: else each answer waits for the client to acknowledge the head.
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, server: GcsServer, *given: Any) -> None:
        self._server = server
        super().__init__(*given)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            status, headers, body = self._answer(content)
        except Refused as error:
            status, headers, body = _refusal(error)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server asks

    def _answer(self, content: bytes) -> Answer:
        url = urlsplit(self.path)
        asked = parse_qs(url.query, keep_blank_values=True)
        query = {name: values[-1] for name, values in asked.items()}
        bucket_name, _, name = url.path.lstrip("/").partition("/")
        account = _account(self._server, self.headers.get("authorization", ""))
        if unquote(bucket_name) not in self._server.buckets:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        request = _Request(
            bucket=self._server.buckets[unquote(bucket_name)],
            account=account,
            name=unquote(name),
            query=query,
            headers={key.lower(): value for key, value in self.headers.items()},
            content=content,
        )
        return _act(self.command, request)(request)


@dataclass(frozen=True)
class _Request:
    bucket: Bucket
    account: Account
    name: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes

    def require(self, right: str) -> None:
        if right not in self.account.rights:
            message = f"{self.account.email} does not have storage.objects.{right} access."
            raise Refused(403, "AccessDenied", message)

    @property
    def may_replace(self) -> bool:
        return "delete" in self.account.rights


def _act(method: str, request: _Request) -> Callable[[_Request], Answer]:
    if not request.name:
        acts = {"GET": _list_uploads if "uploads" in request.query else _list}
    elif "uploads" in request.query:
        acts = {"POST": _begin_upload}
    elif "uploadId" in request.query:
        acts = {"PUT": _put_part, "POST": _complete, "DELETE": _abort}
    else:
        acts = {"PUT": _put, "GET": _get, "HEAD": _get, "DELETE": _delete}
    if method not in acts:
        raise Refused(400, "InvalidArgument", f"This {method} request is not supported.")
    return acts[method]


def _put(request: _Request) -> Answer:
    request.require("create")
    stored = request.bucket.put(
        request.name, request.content, request.headers, may_replace=request.may_replace
    )
    return 200, _described(stored), b""


def _get(request: _Request) -> Answer:
    request.require("get")
    stored = request.bucket.get(request.name)
    size = len(stored.content)
    headers = {**_described(stored), **stored.headers, "Content-Length": str(size)}
    headers["Last-Modified"] = format_datetime(stored.updated, usegmt=True)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if wanted is None:
        return 200, headers, stored.content
    begin, end = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
    if begin > end:
        raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
    headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
    headers["Content-Length"] = str(end - begin + 1)
    return 206, headers, stored.content[begin : end + 1]


def _delete(request: _Request) -> Answer:
    request.require("delete")
    request.bucket.delete(request.name, request.headers)
    return 204, {}, b""


def _list(request: _Request) -> Answer:
    request.require("list")
    query = request.query
    if query.get("list-type") != "2" or "delimiter" in query:
        raise Refused(400, "InvalidArgument", "Only complete lists of version 2 are supported.")
    page = request.bucket.page(
        query.get("prefix", ""),
        after=query.get("start-after", ""),
        token=query.get("continuation-token", ""),
        most=int(query.get("max-keys", PAGE)),
    )
    is_encoded = query.get("encoding-type") == "url"
    named = quote_plus if is_encoded else escape
    contents = "".join(
        f"<Contents><Key>{named(name)}</Key><Generation>{each.generation}</Generation>"
        f"<MetaGeneration>1</MetaGeneration><LastModified>{each.updated:%Y-%m-%dT%H:%M:%S.%fZ}"
        f"</LastModified><ETag>&quot;{each.etag}&quot;</ETag><Size>{len(each.content)}</Size>"
        "</Contents>"
        for name, each in page.found
    )
    told = "<EncodingType>url</EncodingType>" if is_encoded else ""
    more = f"<NextContinuationToken>{page.token}</NextContinuationToken>" if page.token else ""
    return _document(
        "ListBucketResult",
        f"{told}<Prefix>{named(query.get('prefix', ''))}</Prefix>"
        f"<KeyCount>{len(page.found)}</KeyCount>"
        f"<IsTruncated>{str(bool(page.token)).lower()}</IsTruncated>{more}{contents}",
    )


def _list_uploads(request: _Request) -> Answer:
    request.require("listMultipartUploads")
    prefix = request.query.get("prefix", "")
    found = "".join(
        f"<Upload><Key>{escape(each.name)}</Key><UploadId>{upload_id}</UploadId></Upload>"
        for upload_id, each in list(request.bucket.uploads.items())
        if each.name.startswith(prefix)
    )
    return _document("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{found}")


def _begin_upload(request: _Request) -> Answer:
    request.require("create")
    upload_id = request.bucket.begin_upload(request.name, request.headers)
    return _document(
        "InitiateMultipartUploadResult",
        f"<Key>{escape(request.name)}</Key><UploadId>{upload_id}</UploadId>",
    )


def _put_part(request: _Request) -> Answer:
    request.require("create")
    upload_id, number = request.query["uploadId"], int(request.query.get("partNumber", 0))
    etag = request.bucket.put_part(upload_id, number, request.content, request.headers)
    return 200, {"ETag": f'"{etag}"'}, b""


def _complete(request: _Request) -> Answer:
    request.require("create")
    named = [
        (int(part.findtext("{*}PartNumber", "0")), part.findtext("{*}ETag", ""))
        for part in ElementTree.fromstring(request.content)  # noqa: S314 - our own tests send it
    ]
    stored = request.bucket.complete(
        request.query["uploadId"], named, may_replace=request.may_replace
    )
    status, headers, body = _document(
        "CompleteMultipartUploadResult",
        f"<Key>{escape(request.name)}</Key><ETag>&quot;{stored.etag}&quot;</ETag>",
    )
    return status, {**headers, "x-goog-generation": str(stored.generation)}, body


def _abort(request: _Request) -> Answer:
    request.require("create")
    request.bucket.abort(request.query["uploadId"])
    return 204, {}, b""


def _described(stored: Stored) -> dict[str, str]:
    return {
        "ETag": f'"{stored.etag}"',
        "x-goog-generation": str(stored.generation),
        "x-goog-metageneration": "1",
        "x-goog-hash": stored.checksums,
        "x-goog-stored-content-encoding": "identity",
        "x-goog-stored-content-length": str(len(stored.content)),
    }


def _document(name: str, inside: str) -> Answer:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{name} xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
    return 200, {"Content-Type": "application/xml"}, f"{text}{inside}</{name}>".encode()


def _refusal(error: Refused) -> Answer:
    text = f"<Code>{error.code}</Code><Message>{escape(str(error))}</Message>"
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error>{text}</Error>".encode()
    return error.status, {"Content-Type": "application/xml"}, body


def _account(server: GcsServer, authorization: str) -> Account:
    """The account that signed the token, as service accounts do themselves (AIP-4111)."""
    try:
        head, claims, signature = authorization.removeprefix("Bearer ").split(".")
        told = json.loads(_bytes(claims))
        account = next(each for each in (server.user, server.writer) if each.email == told["iss"])
        account.key.public_key().verify(
            _bytes(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        lasts = told["exp"] - told["iat"] <= LONGEST_TOKEN_SECONDS
        if told["scope"] == SCOPE and lasts and told["iat"] - 60 <= time.time() < told["exp"]:
            return account
    except (ValueError, KeyError, StopIteration, InvalidSignature):
        pass
    raise Refused(401, "AuthenticationRequired", "Authentication required.")


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
