"""Copies bytes between two TCP connections at high speed, by splice(2) through a pipe.

The data never enters Python: each direction of a connection is one thread that moves up to 1 MiB
per system call inside the kernel. It is used by the supervisor's child only (standard library
only, and it must not import anything heavy).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import threading

_CHUNK = 1 << 20
_F_SETPIPE_SZ = 1031
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def serve(listener: socket.socket, host: str, port: int) -> None:
    """Accept on `listener` for ever, in a thread, and forward each connection to host:port.

    The outgoing connections are made in the network namespace of the caller's thread.
    """
    threading.Thread(target=_accept, args=(listener, host, port), daemon=True).start()


def _accept(listener: socket.socket, host: str, port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            if listener.fileno() < 0:
                return
            continue
        threading.Thread(target=_connect, args=(client, host, port), daemon=True).start()


def _connect(client: socket.socket, host: str, port: int) -> None:
    """Open the second leg and run both directions; refuse with a reset, as a closed port would."""
    try:
        server = socket.create_connection((host, port), timeout=10)
        server.settimeout(None)
    except OSError:
        _reset(client)
        return
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    other = threading.Thread(target=_copy, args=(server, client), daemon=True)
    other.start()
    _copy(client, server)
    other.join()
    client.close()
    server.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Move bytes until `source` ends; then end that direction only (half-close).

    A broken connection on either side breaks both, so that the peers see an error and not a
    clean end of data.
    """
    reader, writer = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(writer, _F_SETPIPE_SZ, _CHUNK)
    try:
        while count := os.splice(source.fileno(), writer, _CHUNK):
            while count:
                count -= os.splice(reader, target.fileno(), count)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(reader)
        os.close(writer)


def _reset(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    client.close()
