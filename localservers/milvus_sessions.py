"""Lets a restarted Milvus start at once, by ending the sessions that its predecessor left behind.

Milvus keeps a session for each of its parts in its own etcd, under leases that run out 10 to 30 s
after the server's end (it doesn't give them up properly, not even when stopped with SIGTERM).
Until then a restarted server waits for them and talks to the dead. So we note the leases of a
healthy server in a file, and at the next start on the same data revoke exactly those: what etcd
would do by itself some seconds later. Three etcd calls, in hand-written protocol buffers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ETCD_PORT = 2379
_PREFIX = b"by-dev/meta/session/"
_FILE = "session-leases.json"


class Sessions:
    """The leases of one Milvus; `address` is where its etcd answers now."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE

    def note(self, address: str) -> None:
        """Write down the leases of the running, healthy server."""
        request = _bytes_field(1, _PREFIX) + _bytes_field(2, _PREFIX[:-1] + b"0")
        answer = _call(address, "/etcdserverpb.KV/Range", request)
        leases = set()
        for number, key_value in _fields(answer):
            if number == 2 and isinstance(key_value, bytes):
                leases |= {value for field, value in _fields(key_value) if field == 6}
        self._file.write_text(json.dumps(sorted(lease for lease in leases if lease)))

    def revoke_old(self, address: str) -> bool:
        """End the sessions of the previous server; False when etcd doesn't answer yet."""
        import grpc

        try:
            leases = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return True
        for lease in leases:
            try:
                _call(address, "/etcdserverpb.Lease/LeaseRevoke", b"\x08" + _varint(lease))
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    return False
        self._file.unlink(missing_ok=True)
        return True


def _call(address: str, method: str, request: bytes) -> bytes:
    import grpc

    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        call: Callable[..., Any] = channel.unary_unary(method)
        return bytes(call(request, timeout=2))


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (number, value) pairs of a message of varints and length-delimited fields."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        tag = varint()
        number = varint()
        if tag & 7 == 2:
            yield tag >> 3, message[position : position + number]
            position += number
        else:
            yield tag >> 3, number
