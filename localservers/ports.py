"""Free ports, "is that server really ours?", and waiting for a condition."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import LocalServerError

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"
T = TypeVar("T")


def listen_on_loopback() -> socket.socket:
    """A socket that listens on a free port of 127.0.0.1; the kernel picks the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((LOOPBACK, 0))
    listener.listen(512)
    return listener


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago.

    Somebody else may take it before our server does; hence every server that binds a port itself
    is checked with :func:`listens` after its start.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def listening_sockets(pid: int | str = "self") -> dict[str, tuple[str, int]]:
    """Every listening TCP socket of a process's network: inode -> (address as hex, port).

    The address is as the kernel writes it: ``0100007F`` is 127.0.0.1, all zeros is "every
    interface" (8 zeros for IPv4, 32 for IPv6).
    """
    found: dict[str, tuple[str, int]] = {}
    for table in (f"/proc/{pid}/net/tcp", f"/proc/{pid}/net/tcp6"):
        try:
            with open(table) as lines:
                next(lines)
                for line in lines:
                    fields = line.split()
                    if fields[3] == _LISTEN:
                        address, port = fields[1].rsplit(":", 1)
                        found[fields[9]] = (address, int(port, 16))
        except (OSError, StopIteration):
            continue
    return found


def sockets_of(pid: int) -> set[str]:
    """The inodes of all sockets that a process holds (empty if it is gone or not ours)."""
    inodes = set()
    try:
        for fd in os.scandir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(fd.path)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        pass
    return inodes


def listens(pid: int, port: int) -> bool:
    """Does the process `pid` (not just anybody) listen on this port, in whatever network it is?"""
    held = sockets_of(pid)
    return any(p == port and inode in held for inode, (_, p) in listening_sockets(pid).items())


def wait_until(
    condition: Callable[[], T],
    timeout: float,
    failure: Callable[[], str],
    alive: Callable[[], bool] = lambda: True,
    interval: float = 0.05,
) -> T:
    """Ask `condition` again and again until it returns something true, and return that.

    Raises LocalServerError with the text of `failure` after `timeout` seconds, or at once when
    `alive` says that the process we wait for has ended.
    """
    deadline = time.monotonic() + timeout
    while True:
        was_alive = alive()
        result = condition()
        if result:
            return result
        if not was_alive:
            raise LocalServerError(f"The process ended while it was starting. {failure()}")
        if time.monotonic() > deadline:
            raise LocalServerError(f"Gave up after {timeout:.0f} s. {failure()}")
        time.sleep(interval)
