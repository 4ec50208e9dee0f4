"""Runs servers that refuse to run as root."""

from __future__ import annotations

import os
import shutil

from .errors import LocalServerError

# Nobody has this id: it is in a range that Debian and systemd leave alone.
_UNUSED = 65533
NOBODY = 65534
"""The user `nobody`, for a server that wants one that has a name."""


def not_as_root(user: int = _UNUSED) -> list[str]:
    """What to put before a command that refuses to run as root; nothing when we aren't root.

    The command gets the id of that user, which nobody uses unless told otherwise, and on top the
    right to pass over file permissions: the cache and the tests' folders are in places that only
    root may enter, and need no chown so.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalServerError(
            "`setpriv` is not installed, and this server does not run as root. On Debian or "
            "Ubuntu: apt-get install util-linux"
        )
    options = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--pdeathsig=KILL"]
    options += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    # Without this, access(2) would say no where open(2) says yes.
    options += ["--securebits=+no_setuid_fixup"]
    return [setpriv, *options]
