"""Counts, from the outside, what a process does to staging and to servers, and ends it at a point.

The engine knows nothing of this: the calls that all its writing goes through are wrapped, in the
process that is to be killed and nowhere else.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOMENTS = {
    "write": ("before", "in", "after"),
    "call": ("before", "in", "after"),
    "delete": ("before", "after"),
    "read": ("before",),
    "ask": ("before", "after"),
}
"""When a process can be ended, by the kind of what it does.

`in` a write half of the bytes are written; `in` a call the request is on its way to the server, or
was just answered.
"""

WEIGHTS = {"write": 4, "call": 6, "delete": 1, "read": 1, "ask": 2}
"""How often a kind is chosen: most is at stake where something is changed."""

_ASKING = re.compile(r"^(Get|List|Show|Has|Describe|Query|Search|Connect|Check|Alloc)")
_TOKEN = re.compile(r"[0-9a-f]{12,}")


@dataclass(frozen=True)
class Point:
    """A point in the life of a process.

    Attributes:
        action: what it does there: a kind of `MOMENTS` and a name, such as `write plan.json`.
        nth: the how many-eth time.
        moment: one of those of its kind.
        victim: what is ended there: the process itself, or the server of that name.
    """

    action: str
    nth: int
    moment: str
    victim: str = "process"

    def __str__(self) -> str:
        return f"{self.victim} {self.moment} {self.action} #{self.nth}"


def choose(seed: random.Random, actions: Mapping[str, int], victim: str = "process") -> Point:
    """A point among the actions that a process was seen to do.

    Args:
        actions: action -> how often.
    """
    kinds = sorted({action.split(" ")[0] for action in actions})
    [kind] = seed.choices(kinds, [WEIGHTS[one] for one in kinds])
    action = seed.choice(sorted(one for one in actions if one.startswith(f"{kind} ")))
    nth = seed.randint(1, actions[action])
    return Point(action, nth, seed.choice(MOMENTS[kind]), victim)


def kill_me() -> None:
    """Ends this process as `kill -9` would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal comes at once; nothing of the process runs any more


class Watch:
    """Counts the actions of this process, from `begin` on.

    Args:
        point: where to end something; None to count only.
        end: ends it; returns where that was not this process.
    """

    def __init__(self, point: Point | None, end: Callable[[], None] = kill_me) -> None:
        self.actions: Counter[str] = Counter()
        self._point = point
        self._end = end

    def begin(self) -> None:
        """Wraps what the engine writes and calls with; for the rest of the process' life."""
        self._wrap_files()
        self._wrap_grpc()
        self._wrap_http()

    def _happens(self, action: str) -> set[str]:
        """Counts an action; returns the moment at which something is to end, if it is this one."""
        self.actions[action] += 1
        point = self._point
        if point and (point.action, point.nth) == (action, self.actions[action]):
            return {point.moment}
        return set()

    def _around(self, action: str, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Calls a method, and ends the victim before or after it if this is the point."""
        moment = self._happens(action)
        if "before" in moment:
            self._end()
        result = method(*given, **named)
        if "after" in moment:
            self._end()
        return result

    def _end_soon(self) -> None:
        """Ends the victim while a call is on its way, or was answered a moment ago."""
        time.sleep(0.003)
        self._end()

    def _wrap_files(self) -> None:
        from airlift.output_file import OutputFile
        from airlift.storage import Storage

        watch, begin, write, commit = self, Storage.open_output, OutputFile.write, OutputFile.commit

        def open_output(self: Any, relative: str) -> Any:
            moment = watch._happens(f"write {_file(relative)}")
            if "before" in moment:
                watch._end()
            output: Any = begin(self, relative)
            output.airlift_moment = moment
            return output

        def write_half(self: Any, data: Any) -> int:
            view = memoryview(data).cast("B")
            # The first bytes of most formats are a few that mark the file.
            if "in" in self.airlift_moment and len(view) > 100:
                self.airlift_moment = set()
                half = len(view) // 2
                write(self, bytes(view[:half]))
                self._writing._stream.flush()
                watch._end()
                return half + write(self, bytes(view[half:]))
            return write(self, data)

        def commit_it(self: Any) -> None:
            if "in" in self.airlift_moment:
                watch._end()
            commit(self)
            if "after" in self.airlift_moment:
                watch._end()

        for owner, name, method in (
            (Storage, "open_output", open_output),
            (OutputFile, "write", write_half),
            (OutputFile, "commit", commit_it),
        ):
            setattr(owner, name, method)
        for name, kind in (
            ("delete_file", "delete"),
            ("delete_folder", "delete"),
            ("open_input", "read"),
        ):
            setattr(Storage, name, _named(watch, kind, getattr(Storage, name)))

    def _wrap_grpc(self) -> None:
        """Both ways of calling: `future` is how pymilvus makes collections and indexes."""
        from grpc._channel import _UnaryUnaryMultiCallable as Calls

        watch, blocking, future = self, Calls._blocking, Calls.future

        def call(self: Any, *given: Any, **named: Any) -> Any:
            return watch._calling(self, lambda: blocking(self, *given, **named))

        def wait(self: Any, *given: Any, **named: Any) -> Any:
            def sent() -> Any:
                answer = future(self, *given, **named)
                answer.exception()  # waits; a failure is raised where the engine asks
                return answer

            return watch._calling(self, sent)

        Calls._blocking, Calls.future = call, wait

    def _calling(self, callable_: Any, send: Callable[[], Any]) -> Any:
        method = callable_._method
        name = (method.decode() if isinstance(method, bytes) else method).rpartition("/")[2]
        moment = self._happens(f"{'ask' if _ASKING.match(name) else 'call'} {name}")
        if "before" in moment:
            self._end()
        meanwhile = threading.Thread(target=self._end_soon)
        if "in" in moment:
            meanwhile.start()
        answer = send()
        if "in" in moment:
            meanwhile.join()
        if "after" in moment:
            self._end()
        return answer

    def _wrap_http(self) -> None:
        """What is asked of Elasticsearch."""
        from elastic_transport import Transport

        watch, perform = self, Transport.perform_request

        def request(self: Any, method: str, target: str, **named: Any) -> Any:
            path = target.partition("?")[0].rstrip("/").rpartition("/")[2]
            kind = "call" if method == "DELETE" or path == "_pit" else "ask"
            return watch._around(f"{kind} {method} {path}", perform, self, method, target, **named)

        Transport.perform_request = request  # type: ignore[method-assign]


def _named(watch: Watch, kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: Any, relative: str) -> Any:
        return watch._around(f"{kind} {_file(relative)}", method, self, relative)

    return called


def _file(path: str) -> str:
    """A file's name, without what is different every time."""
    return _TOKEN.sub("*", path.rsplit("/", 1)[-1])
