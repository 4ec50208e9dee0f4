"""One run at a time: claims on what two runs must not work on at the same moment.

A claim is a file `<staging_url>/claims/<key>@<holder>.held`, or `….raised` while it is being made;
the key stands for a migration's folder or for a collection of a target. Not every bucket can
"write only if absent", so the files are raised flags: whoever wants something raises a flag first,
and then looks for others. Of two who do so at once, at least one sees the other, as listings are up
to date (S3, GCS and Azure promise that). Who sees nobody holds it and says so; who sees somebody
takes the flag down again and is told who it is. It may happen that both do; it can't that both hold
it.

A claim of a run that has ended without giving it back does not count, and is removed.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from airlift.errors import AirliftError
from airlift.storage import Storage

_FOLDER = "claims"
_RAISED, _HELD = "raised", "held"


class Taken(AirliftError):
    """Another run holds it; trying again later helps."""


class Holder(BaseModel):
    """Who claims.

    Attributes:
        airflow: names the Airflow that runs it; "" outside of Airflow.
        dag_id, run_id: of the run; empty outside of Airflow.
        migration_id: what it works on.
        host: the machine.
        pid, born: its process, and when that began (seconds since 1970); 0 in Airflow, where a run
            is many processes.
    """

    model_config = ConfigDict(frozen=True)

    airflow: str = ""
    dag_id: str = ""
    run_id: str = ""
    migration_id: str
    host: str
    pid: int = 0
    born: float = 0.0

    @classmethod
    def this_process(cls, migration_id: str) -> Holder:
        """The holder of a migration that runs in this process, without Airflow."""
        born = psutil.Process().create_time()
        host = socket.gethostname()
        return cls(migration_id=migration_id, host=host, pid=os.getpid(), born=born)

    @property
    def digest(self) -> str:
        """The same in all tasks of a run."""
        parts = [self.airflow, self.dag_id, self.run_id, self.migration_id]
        if not self.run_id:
            parts += [self.host, str(self.pid), str(self.born)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """For people."""
        if self.run_id:
            return f"run {self.run_id!r} of DAG {self.dag_id!r}, migration {self.migration_id!r}"
        return f"process {self.pid} on {self.host}, migration {self.migration_id!r}"


class _Claim(BaseModel):
    """A claim's file."""

    model_config = ConfigDict(frozen=True)

    what: str
    since: str
    holder: Holder


def process_lives(holder: Holder) -> bool:
    """Whether a holder outside of Airflow still lives; one on another machine may."""
    if holder.run_id or holder.host != socket.gethostname():
        return True
    try:
        return abs(psutil.Process(holder.pid).create_time() - holder.born) < 1
    except psutil.NoSuchProcess:
        return False


def key_of(*names: str) -> str:
    """A claim's key, made of what it stands for."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


class Claims:
    """The claims of one holder.

    Args:
        root: the folder that `staging_url` names.
        holder: who claims.
        lives: whether another holder is still at work.
    """

    def __init__(
        self, root: Storage, holder: Holder, lives: Callable[[Holder], bool] = process_lives
    ) -> None:
        self._folder = root.folder(_FOLDER)
        self._holder = holder
        self._lives = lives

    def take(self, wanted: Mapping[str, str]) -> None:
        """Claims all of it, or nothing; what is held already stays so.

        Args:
            wanted: key -> what it stands for, in words.

        Raises:
            Taken: another run that has not ended holds some of it.
        """
        names = self._names()
        missing = {key: what for key, what in wanted.items() if self._name(key, _HELD) not in names}
        if not missing:
            return
        # Flags of this attempt: another task of the run may be at it too.
        attempt = uuid.uuid4().hex
        flags = {self._name(key, attempt, _RAISED): what for key, what in missing.items()}
        try:
            for name, what in flags.items():
                self._write(name, what)
            self._refuse_others(missing)
            for key, what in missing.items():
                self._write(self._name(key, _HELD), what)
        finally:
            # A held claim needs its flag no longer; one that was refused must not stand in the way.
            self._remove(flags)

    def give_back(self) -> None:
        """Gives back everything that the holder has claimed."""
        self._remove(name for name in self._names() if _digest(name) == self._holder.digest)

    def _refuse_others(self, wanted: Mapping[str, str]) -> None:
        others = self._others(wanted)
        while others is None:
            others = self._others(wanted)
        if others:
            told = (self._told(wanted[_key(name)], name, one) for name, one in others.items())
            raise Taken("; ".join(told))

    def _others(self, wanted: Mapping[str, str]) -> dict[str, _Claim] | None:
        """The living claims of others by file name; None when it is to be looked for anew."""
        found = {}
        for name in self._names():
            if _key(name) not in wanted or _digest(name) == self._holder.digest:
                continue
            claim = self._read(name)
            if claim is None:
                return None  # a raised flag goes when it has become a held one
            if self._lives(claim.holder):
                found[name] = claim
            else:
                self._remove([name])
        return found

    def _told(self, what: str, name: str, claim: _Claim) -> str:
        holder, own = claim.holder, self._holder
        told = f"{what} is claimed by {holder.name}, since {claim.since}"
        if (holder.airflow, bool(holder.run_id)) == (own.airflow, bool(own.run_id)):
            return f"{told}; wait for its end, or mark it failed, then clear this task"
        where = "another Airflow" if holder.run_id else "no Airflow"
        return (
            f"{told} (in {where}, on {holder.host}, so this run can't tell whether it still "
            f"works); wait for its end, or, if it is dead, delete {self._folder.address(name)}; "
            "then clear this task"
        )

    def _names(self) -> list[str]:
        return list(self._folder.list())

    def _name(self, key: str, *ending: str) -> str:
        return ".".join((f"{key}@{self._holder.digest}", *ending))

    def _write(self, name: str, what: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        claim = _Claim(what=what, since=now, holder=self._holder)
        self._folder.write_bytes(name, claim.model_dump_json(indent=2).encode())

    def _read(self, name: str) -> _Claim | None:
        try:
            return _Claim.model_validate_json(self._folder.read_bytes(name))
        except AirliftError:
            if self._folder.exists(name):
                raise
            return None
        except ValidationError as error:
            raise AirliftError(
                f"{self._folder.address(name)} is no claim of this version ({error}); delete it if "
                "no migration runs"
            ) from error

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._folder.delete_file(name)


def _key(name: str) -> str:
    return name.partition("@")[0]


def _digest(name: str) -> str:
    return name.partition("@")[2].partition(".")[0]
