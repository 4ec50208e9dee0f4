"""A connection on which a server's answer can get lost: the request arrives, and nobody hears."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

from localservers.ports import LOOPBACK, listen_on_loopback

_RESET = struct.pack("ii", 1, 0)
# A server that has said nothing for so long has said all that it had to say.
_QUIET_SECONDS = 0.4
_MOST_SECONDS = 5.0


class LossyConnection:
    """Forwards a port of this machine to a server; also a context manager.

    Args:
        address: host:port of the server.
    """

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._server = (host, int(port))
        self._listener = listen_on_loopback()
        self._ends: set[socket.socket] = set()
        self._losing = threading.Event()
        self._heard = 0.0
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """What to connect to instead of the server."""
        return f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def lose_answers(self) -> None:
        """From now on no answer comes through; a little later all connections are reset.

        Returns at once, so that the request can be sent whose answer is to be lost.
        """
        self._heard = 0.0
        self._losing.set()
        threading.Thread(target=self._cut, daemon=True).start()

    def _cut(self) -> None:
        latest = time.monotonic() + _MOST_SECONDS
        while time.monotonic() < latest:
            time.sleep(0.02)
            if self._heard and time.monotonic() - self._heard > _QUIET_SECONDS:
                break
        self._reset_all()
        self._losing.clear()

    def _reset_all(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server, timeout=10)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            server.settimeout(None)
            with self._lock:
                self._ends |= {client, server}
            for args in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._copy, args=args, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_answer and self._losing.is_set():
                    self._heard = time.monotonic()
                    continue
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that accepts keeps a socket open that is only closed.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset_all()
