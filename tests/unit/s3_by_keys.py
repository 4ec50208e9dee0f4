"""A small S3 service that takes any key, also one that is no path.

versitygw keeps objects as files, and MinIO refuses empty parts, so neither can show them; AWS, Ceph
and R2 do. It answers as Amazon documents ListObjectsV2, HeadObject and GetObject.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET, ACCESS_KEY = "bucket", "AKIDKEYS"
_CHANGED = "Wed, 01 Jul 2026 10:00:00 GMT"


class KeyedS3:
    """The service's objects, and what goes wrong.

    Attributes:
        objects: by key.
        page: the most keys of one answer.
        short: bytes that are left out at the end of every answer with an object's bytes.
    """

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.page = 1000
        self.short = 0
        self.endpoint_url = ""

    def etag(self, key: str) -> str:
        return f'"{hashlib.md5(self.objects[key]).hexdigest()}"'

    def listed(self, query: dict[str, list[str]]) -> str:
        """The answer of ListObjectsV2."""
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        most = min(int(query.get("max-keys", ["1000"])[0]), self.page)
        after = query.get("continuation-token", [""])[0]
        items: dict[str, str] = {}
        for key in sorted(self.objects):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                items[folder] = (
                    f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
                )
            else:
                items[key] = (
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
                    f"<LastModified>2026-07-01T10:00:00.000Z</LastModified></Contents>"
                )
        left = [name for name in sorted(items) if name > after]
        more = len(left) > most
        last = escape(left[most - 1]) if more else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>"
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}"
            f"</IsTruncated>{token if more else ''}"
            f"{''.join(items[name] for name in left[:most])}</ListBucketResult>"
        )


@contextmanager
def keyed_s3(objects: dict[str, bytes]) -> Iterator[KeyedS3]:
    """Serves objects on a free port of this machine."""
    service = KeyedS3(objects)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            bucket, _, key = unquote(parts.path)[1:].partition("/")
            if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
                self._error(403, "InvalidAccessKeyId")
            elif bucket != BUCKET:
                self._error(404, "NoSuchBucket")
            elif not key:
                self._send(200, service.listed(parse_qs(parts.query)).encode())
            elif key not in service.objects:
                self._error(404, "NoSuchKey")
            elif self.headers.get("If-Match", service.etag(key)) != service.etag(key):
                self._error(412, "PreconditionFailed")
            else:
                self._object(key)

        def _object(self, key: str) -> None:
            data = service.objects[key]
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data
            if service.short and wanted:
                part = part[: -service.short]
            self._send(206 if wanted else 200, part, ETag=service.etag(key))

        def _error(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
            self._send(status, body.encode())

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", _CHANGED)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.endpoint_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
