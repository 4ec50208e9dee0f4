"""REST and gRPC on one port, as a real Milvus serves them (19530): the first bytes decide."""

from __future__ import annotations

import contextlib
import socket
import threading


class OnePort:
    """Passes a connection that opens with HTTP/2's preface on to gRPC, any other to REST."""

    def __init__(self, port: int, grpc_port: int, rest_port: int) -> None:
        self._targets = grpc_port, rest_port
        self._socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self._socket.getsockname()[1]
        self._live: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True, name="emulator-port").start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            start = client.recv(65536)
            if not start:
                client.close()
                return
            server = socket.create_connection(
                ("127.0.0.1", self._targets[0 if start.startswith(b"PRI ") else 1])
            )
            self._live |= {client, server}
            server.sendall(start)
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
            self._pump(client, server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(262144):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            self._live.discard(end)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for end in list(self._live):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
