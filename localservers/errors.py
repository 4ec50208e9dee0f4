"""The one error class of this package."""

from __future__ import annotations

from pathlib import Path


class LocalServerError(RuntimeError):
    """A server could not be installed, started, reached or stopped.

    The message always says what failed and what to do about it; where a server has a log, the
    message ends with the last lines of it.
    """


def log_tail(path: str | Path, lines: int = 25) -> str:
    """The last lines of a log file, ready to be put at the end of an error message."""
    try:
        with open(path, "rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - 64 * 1024))
            text = log.read().decode("utf-8", "replace")
    except OSError as error:
        return f"(no log: {error})"
    tail = "\n".join(line[:500] for line in text.splitlines()[-lines:])
    return f"--- last lines of {path} ---\n{tail or '(empty)'}"
