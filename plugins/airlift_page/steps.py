"""The steps of a run: how far each is, and which to clear so that a run goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from airlift_page.progress import TaskState


def step_states(tasks: Iterable[TaskState], order: Sequence[str]) -> list[dict[str, Any]]:
    """The steps of a run: states of their tasks, when they began, and how long they took.

    Args:
        order: the ids of all tasks, first to last.
    """
    by_step: dict[str, list[TaskState]] = {name: [] for name in order}
    for one in tasks:
        by_step.setdefault(one.task, []).append(one)
    steps = []
    for name, states in by_step.items():
        started = min((one.started for one in states if one.started), default=None)
        running = any(one.state in ("running", "deferred") for one in states)
        ended = max((one.ended for one in states if one.ended), default=None)
        steps.append(
            {
                "id": name,
                "tasks": len(states),
                "states": Counter(one.state or "none" for one in states),
                "started": started,
                "ended": None if running else ended,
            }
        )
    return steps


def tasks_to_clear(tasks: Sequence[TaskState], order: Sequence[str]) -> list[Any]:
    """The tasks to clear, with all after them, so that a run that was stopped goes on.

    Those that have failed; where none has, what was not begun any more after the last success.

    Args:
        order: the ids of all tasks, first to last.
    """
    failed = [one for one in tasks if one.state == "failed"]
    if failed:
        return [one.task if one.index < 0 else [one.task, one.index] for one in failed]
    place = {task: at for at, task in enumerate(order[:-1])}  # the last only cleans up
    done = max((place[one.task] for one in tasks if _done(one, place)), default=-1)
    left = [one.task for one in tasks if place.get(one.task, -1) > done and one.state != "success"]
    return sorted(set(left), key=place.__getitem__)[:1]


def _done(one: TaskState, place: dict[str, int]) -> bool:
    return one.state == "success" and one.task in place
