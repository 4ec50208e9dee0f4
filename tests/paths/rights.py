"""What a Milvus user may do, which the server's proxy learns a moment after it was granted.

On a busy machine it may never learn it: the word that 2.3.5 sends it is then lost. To grant the
same once more sends it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymilvus.exceptions import MilvusException

from localservers.ports import wait_until


def is_denied(call: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether the server knows the user and forbids the call."""
    try:
        call(*args, **kwargs)
    except MilvusException as error:
        return "permission deny" in str(error)
    except Exception as error:
        return "PERMISSION_DENIED" in str(error)
    return False


def once_allowed(
    call: Any, *args: Any, again: Callable[[], Any] | None = None, **kwargs: Any
) -> Any:
    """What a call gives once the right to it, which was granted, has come into force.

    Args:
        again: grants it once more.
    """
    answers: list[Any] = []

    def try_it() -> bool:
        denied = is_denied(lambda: answers.append(call(*args, **kwargs)))
        if denied and again:
            again()
        return not denied

    wait_until(try_it, 60, lambda: f"{call} is denied still", interval=0.2)
    return answers[-1] if answers else call(*args, **kwargs)
