"""Runs servers under a small process that never outlives us, optionally in a private network.

One :class:`Supervisor` holds one or several servers (command lines). With ``private_network`` they
live in a network namespace of their own: ``forwards`` names the ports inside that can be reached
from the host, each at a free port of 127.0.0.1, and ``reachable`` the servers of the host that can
be reached from inside, at every address that there is in there.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import LocalServerError, log_tail
from .ports import listen_on_loopback

_ROOT = str(Path(__file__).resolve().parent.parent)
_RUN_CHILD = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from localservers.supervisor_child import main; main()"
)


class Supervisor:
    """Starts, signals and stops servers; everything ends when this process does.

    `forwards`: ports inside the private network; :attr:`host_ports` tells where each is on the
    host. They stay the same while the supervisor lives, so that a server may be killed and
    started again under one address. :attr:`reachable`: inner port -> (host, port) as seen by the
    host; to be set before the first start.
    """

    def __init__(
        self,
        log_dir: str | Path,
        private_network: bool = False,
        forwards: Sequence[int] = (),
    ) -> None:
        self.log_dir = Path(log_dir)
        self.private_network = private_network
        self._forwards = tuple(forwards)
        self.reachable: Mapping[int, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pids: dict[str, int] = {}
        self.host_ports: dict[int, int] = {}

    @property
    def pid_inside(self) -> int | None:
        """A process in the private network, the supervising one; None when it doesn't run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def open(self) -> None:
        """Start the supervising process (does nothing if it runs already)."""
        if self.pid_inside is not None:
            return
        self.log_dir.mkdir(parents=True, exist_ok=True)
        ours, its = socket.socketpair()
        listeners = {port: listen_on_loopback() for port in self._forwards}
        fds = [its.fileno(), *(listener.fileno() for listener in listeners.values())]
        log = self.log_dir / "supervisor.log"
        try:
            with open(log, "ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-E", "-S", "-c", _RUN_CHILD, _ROOT, str(its.fileno())],
                    pass_fds=fds,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.host_ports = {port: s.getsockname()[1] for port, s in listeners.items()}
            setup = {
                "do": "setup",
                "parent": os.getpid(),
                "private_network": self.private_network,
                "forwards": [(s.fileno(), port) for port, s in listeners.items()],
                "reachable": [(inner, *outer) for inner, outer in self.reachable.items()],
            }
        finally:
            its.close()
            for listener in listeners.values():
                listener.close()
        self._control = ours
        self._answers = ours.makefile("rb")
        try:
            self._ask(**setup)
        except LocalServerError as error:
            self.close()
            raise LocalServerError(
                f"Cannot make a private network for the server: {error}. It needs root, the "
                "capability CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN), or user namespaces "
                "(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0; on "
                "Ubuntu 24.04 also kernel.apparmor_restrict_unprivileged_userns=0)."
            ) from error

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
    ) -> int:
        """Start a server and return its process id. Its output is appended to `log`."""
        self.open()
        command = [str(part) for part in argv]
        environment = dict(os.environ if env is None else env)
        try:
            reply = self._ask(
                do="start", name=name, argv=command, env=environment, cwd=str(cwd), log=str(log)
            )
        except LocalServerError as error:
            raise LocalServerError(f"Cannot start {name} ({command[0]}): {error}") from error
        self._pids[name] = int(reply["pid"])
        return self._pids[name]

    def pid(self, name: str) -> int | None:
        """Process id of a server that was started and not stopped (it may have died since)."""
        return self._pids.get(name)

    def running(self, name: str) -> bool:
        """Is that server alive?"""
        if name not in self._pids or self._process is None or self._process.poll() is not None:
            return False
        return bool(self._ask(do="poll", name=name)["running"])

    def stop(self, name: str, signal_number: int = signal.SIGTERM, timeout: float = 10.0) -> None:
        """Signal a server, wait for its end, and kill what is left of it and of its children."""
        if self._pids.pop(name, None) is None or self._process is None:
            return
        if self._process.poll() is None:
            self._ask(do="stop", name=name, signal_number=int(signal_number), timeout=timeout)

    def close(self) -> None:
        """End the supervising process, and with it every server that still runs."""
        process, self._process = self._process, None
        self._pids.clear()
        self.host_ports = {}
        if process is None:
            return
        self._answers.close()
        self._control.close()
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            try:
                self._control.sendall(json.dumps(request).encode() + b"\n")
                line = self._answers.readline()
            except OSError:
                line = b""
        if not line:
            log = log_tail(self.log_dir / "supervisor.log")
            raise LocalServerError(f"the supervising process has ended; start again.\n{log}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise LocalServerError(reply["error"])
        return reply
