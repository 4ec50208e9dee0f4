"""A network of its own on this machine, with machines on it that are network namespaces.

this machine                servers that listen on 127.0.0.1
    | forwarded
10.77.0.1, the bridge       where those servers are for the machines; what has no machine of
    | a cable each          its own runs here
10.77.0.11, 10.77.0.12 …    machines; their host names are their addresses
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LocalServerError
from .supervisor import Supervisor

BRIDGE = "10.77.0.1"

_MAKE_BRIDGE = f"""
ip link add lan type bridge
ip address add {BRIDGE}/24 dev lan
ip link set lan up
"""
# The first process of a machine, given its address, the name of its cable's end at the bridge, and
# the command that it becomes. Its parent is in the bridge's network.
_ENTER_MACHINE = """
at_the_bridge() { nsenter --target "$PPID" --net -- ip link "$@"; }
at_the_bridge delete "$2" 2>/dev/null || true
at_the_bridge add "$2" master lan type veth peer name eth0 netns $$
at_the_bridge set "$2" up
ip address add "$1/24" dev eth0
ip link set eth0 up
ip link set lo up
hostname "$1"
shift 2
exec "$@"
"""
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Lan(Supervisor):
    """Runs programs at the bridge and on machines; it takes root and iproute2.

    Args:
        log_dir: for the log of the supervising process.
        servers: port at the bridge -> (host, port) of this machine.
        forwards: ports at the bridge that :attr:`host_ports` makes reachable from this machine.
    """

    def __init__(
        self,
        log_dir: str | Path,
        servers: Mapping[int, tuple[str, int]],
        forwards: Sequence[int] = (),
    ) -> None:
        super().__init__(log_dir, private_network=True, forwards=forwards)
        self.reachable = servers

    def open(self) -> None:
        """Make the network (does nothing if it is there)."""
        if self.pid_inside is not None:
            return
        super().open()
        command = ["nsenter", "--target", str(self.pid_inside), "--net", "--", "sh", "-ec"]
        made = subprocess.run(
            [*command, _MAKE_BRIDGE],
            env={**os.environ, "PATH": _with_sbin(os.environ)},
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            self.close()
            raise LocalServerError(
                "Cannot make a bridge in a network namespace. It needs root (CAP_SYS_ADMIN, "
                "CAP_NET_ADMIN), a kernel with bridge and veth, and iproute2 (apt-get install "
                f"iproute2): {made.stderr.strip()}"
            )

    def start_machine(
        self,
        address: str,
        argv: Sequence[str | Path],
        log: str | Path,
        env: Mapping[str, str],
        cwd: str | Path = "/",
    ) -> int:
        """Start a machine that runs one program; its address is its name for all other calls.

        To stop it by SIGKILL is to pull its plug: the program and all that it has started end.
        """
        cable = f"at{address.rsplit('.', 1)[-1]}"
        enter = ["unshare", "--net", "--uts", "--", "sh", "-ec", _ENTER_MACHINE, "sh"]
        environment = {**env, "PATH": _with_sbin(env)}
        return self.start(address, [*enter, address, cable, *argv], log, environment, cwd)


def _with_sbin(env: Mapping[str, str]) -> str:
    return f"{env.get('PATH', os.defpath)}:{_SBIN}"
