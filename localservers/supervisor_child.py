"""The process between us and the servers: starts them, keeps their ports, and never outlives us.

Run by :class:`localservers.supervisor.Supervisor` only. It reads one JSON object a line from the
inherited control socket and answers each with one. It ends, and with it everything that it ever
started, when it gets SIGTERM, when the control socket is closed, or when the process that started
it is gone (noticed by a pidfd: PR_SET_PDEATHSIG would fire when the starting *thread* ends).
Standard library only, so that it starts in 50 ms and stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from . import forwarder
from . import network_namespace as linux

Request = dict[str, Any]


class Child:
    """Starts, signals and stops the servers that the parent asks for."""

    def __init__(self) -> None:
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.helper = 0

    def handle(self, request: Request) -> Request:
        """Carry out one request of the parent."""
        action = getattr(self, f"do_{request.pop('do')}")
        return action(**request) or {}

    def do_start(
        self, name: str, argv: list[str], env: dict[str, str], cwd: str, log: str
    ) -> Request:
        """Start a server in a session of its own, its output appended to the file `log`."""
        with open(log, "ab") as output:
            server = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=linux.die_with_parent,
            )
        self.servers[name] = server
        return {"pid": server.pid}

    def do_poll(self, name: str) -> Request:
        """Exit code of the server, None while it runs."""
        server = self.servers.get(name)
        return {"running": server is not None and server.poll() is None}

    def do_stop(self, name: str, signal_number: int, timeout: float) -> Request:
        """Send the signal, wait, then SIGKILL whatever is left of the server's process tree."""
        server = self.servers.pop(name, None)
        if server is None:
            return {}
        with contextlib.suppress(ProcessLookupError):
            if server.poll() is None:
                server.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout)
        self.kill_strays()
        return {"returncode": server.wait()}

    def kill_strays(self) -> None:
        """SIGKILL every descendant that belongs to no server we still hold, until none is left.

        We adopt orphans, so a process that its own parent abandoned, or that made a session of its
        own, is found here all the same.
        """
        for _ in range(200):
            keep = {self.helper}
            for server in self.servers.values():
                keep |= {server.pid, *linux.descendants(server.pid)}
            strays = linux.descendants(os.getpid()) - keep
            for pid in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not strays:
                break
            time.sleep(0.02)
            self.reap()
        self.reap()

    def reap(self) -> None:
        """Take away the remains of adopted orphans, and of servers that ended by themselves."""
        ours = {server.pid for server in self.servers.values()}
        for server in self.servers.values():
            server.poll()
        for pid, (parent, state) in linux.process_table().items():
            if parent == os.getpid() and state == "Z" and pid not in ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def stop_everything(self) -> None:
        """Ask every server to end, give them two seconds, and kill every descendant."""
        for server in self.servers.values():
            with contextlib.suppress(ProcessLookupError):
                server.terminate()
        deadline = time.monotonic() + 2
        while any(s.poll() is None for s in self.servers.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.servers.clear()
        self.kill_strays()


def _open_network(setup: Request) -> int:
    """Enter the private network and connect it with the host's, both ways, as asked.

    Returns the process id of the helper that stays outside, 0 when none is needed.
    """
    if not setup["private_network"]:
        return 0
    helper, outside = 0, None
    if setup["reachable"]:
        helper, outside = _start_outside_helper(setup["reachable"])
    linux.enter_private_network()
    if outside is not None:
        listeners = []
        for inner_port, _, _ in setup["reachable"]:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.bind(("", inner_port))  # nobody else is in this network
            listener.listen(512)
            listeners.append(listener)
        socket.send_fds(outside, [b"listeners"], [entry.fileno() for entry in listeners])
        for listener in listeners:
            listener.close()
    for fd, inner_port in setup["forwards"]:
        forwarder.serve(socket.socket(fileno=fd), "127.0.0.1", inner_port)
    if outside is not None:
        outside.detach()  # stays open as long as this process lives: the helper's sign of life
    return helper


def _start_outside_helper(reachable: list[tuple[int, str, int]]) -> tuple[int, socket.socket]:
    """Fork a process that stays in the host's network and connects from there.

    It accepts on sockets that were opened inside the private network: a socket belongs to the
    namespace that it was made in, whoever holds it.
    """
    ours, its = socket.socketpair()
    main_pid = os.getpid()
    if pid := os.fork():
        its.close()
        return pid, ours
    linux.die_with_parent()
    if os.getppid() != main_pid:
        os._exit(0)
    ours.close()
    _, fds, _, _ = socket.recv_fds(its, 64, len(reachable))
    for fd, (_, host, port) in zip(fds, reachable, strict=False):
        forwarder.serve(socket.socket(fileno=fd), host, port)
    its.recv(1)  # ends when the main process does
    os._exit(0)


def main() -> None:
    """Set up as the first line on the control socket says, then serve requests to the end."""
    control = socket.socket(fileno=int(sys.argv[1]))
    requests = control.makefile("rb")
    setup = json.loads(requests.readline())
    child = Child()

    def answer(reply: Request) -> None:
        control.sendall(json.dumps(reply).encode() + b"\n")

    try:
        linux.adopt_orphans()
        child.helper = _open_network(setup)
    except OSError as error:
        answer({"error": str(error)})
        return
    wakeup_reader, wakeup_writer = os.pipe()
    os.set_blocking(wakeup_writer, False)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)

    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wakeup_reader, selectors.EVENT_READ)
    try:
        parent = os.pidfd_open(setup["parent"])
    except OSError:
        return  # the parent is gone already
    selector.register(parent, selectors.EVENT_READ)
    if os.getppid() != setup["parent"]:
        return
    answer({})

    try:
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if parent in ready:
                return
            if wakeup_reader in ready:
                signals = os.read(wakeup_reader, 4096)
                if signal.SIGTERM in signals or signal.SIGINT in signals:
                    return
                child.reap()
            if control in ready:
                line = requests.readline()
                if not line:
                    return
                try:
                    answer(child.handle(json.loads(line)))
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    answer({"error": str(error)})
    except OSError:
        return
    finally:
        child.stop_everything()
        os._exit(0)


if __name__ == "__main__":
    main()
