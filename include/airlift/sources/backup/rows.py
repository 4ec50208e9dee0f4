"""Reads the columns of a segment's log files side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pyarrow as pa

from airlift.errors import AirliftError
from airlift.reading_ahead import AHEAD
from airlift.schema import Field
from airlift.sources.backup.log_file import LogFile
from airlift.sources.backup.segments import Segment, StoredLog
from airlift.storage import Storage

ROW_ID, TIMESTAMP = 0, 1
"""The ids of the two fields that Milvus keeps beside those of the schema."""

_OWN = {ROW_ID, TIMESTAMP}


def dynamic_id(found: set[int], declared: set[int], where: str) -> int | None:
    """The id of the hidden dynamic field: the one that the schema doesn't have; None for none.

    Raises:
        AirliftError: several are unknown.
    """
    unknown = sorted(found - declared - _OWN)
    if len(unknown) > 1:
        raise AirliftError(
            f"{where}: the schema in the backup lacks the fields {unknown}, and only one of them "
            "can be the dynamic field; it was made while the schema changed: make it again"
        )
    return unknown[0] if unknown else None


class LogSet:
    """The rows of one place in the lists of logs: each wanted field's column of them.

    Use it as a context manager.

    Args:
        index: of the logs.
        wanted: field id -> field; the dynamic field may have the id -1 where it isn't known yet.
        declared: ids of all fields of the schema.
        dynamic: whether the collection has a dynamic field.

    Attributes:
        rows: how many there are, as all files agree.
        columns: field id -> the file that has it, and its column there.
    """

    def __init__(
        self,
        storage: Storage,
        segment: Segment,
        index: int,
        wanted: Mapping[int, Field],
        declared: set[int],
        dynamic: bool,
    ) -> None:
        self._held = ExitStack()
        self._wanted = wanted
        self.columns: dict[int, tuple[LogFile, str]] = {}
        logs = segment.logs[index]
        if not segment.packed:
            logs = {field: log for field, log in logs.items() if field in wanted}
        try:
            self._files = self._opened(storage, logs)
            for key, one in self._files.items():
                if segment.packed:
                    self._take_group(one)
                else:
                    self._take_field(key, one)
            if segment.packed:
                self._find_dynamic(declared, dynamic)
            self.rows = self._agreed()
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> LogSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        self._held.close()

    def _opened(self, storage: Storage, logs: Mapping[int, StoredLog]) -> dict[int, LogFile]:
        """Opens the files: side by side in a bucket, where each is a request or two."""

        def opened(log: StoredLog) -> LogFile:
            return LogFile(storage, log.path, log.size)

        with _mapping(len(logs) if not storage.is_local else 1) as mapped:
            files = dict(zip(logs, mapped(opened, logs.values()), strict=True))
        for one in files.values():
            self._held.callback(one.close)
        return files

    def _take_field(self, field: int, one: LogFile) -> None:
        if one.frame.field_id != field:
            has = "Parquet itself" if one.frame.field_id is None else f"field {one.frame.field_id}"
            raise AirliftError(
                f"{one.address} holds {has}, expected a binlog of field {field}; the files of the "
                "backup were mixed up: copy it again"
            )
        if len(one.schema) != 1:
            raise AirliftError(f"{one.address} has the columns {one.schema.names}, expected one")
        self.columns[field] = (one, one.schema.names[0])

    def _take_group(self, one: LogFile) -> None:
        if one.frame.field_id is not None or not one.field_ids():
            raise AirliftError(
                f"{one.address}: expected Parquet with field ids, as of storage version 2"
            )
        for field, name in one.field_ids().items():
            if field in self.columns:
                raise AirliftError(f"{one.address}: the field {field} is in another log as well")
            self.columns[field] = (one, name)

    def _find_dynamic(self, declared: set[int], dynamic: bool) -> None:
        where = next(iter(self._files.values())).address if self._files else ""
        found = dynamic_id(set(self.columns), declared, where)
        if found is not None and not dynamic:
            raise AirliftError(f"{where}: the schema in the backup lacks the field {found}")
        if found is not None:
            self.columns[UNKNOWN] = self.columns.pop(found)

    def _agreed(self) -> int:
        files = list(self._files.values())
        for one in files:
            if one.rows != files[0].rows:
                raise AirliftError(
                    f"{one.address} has {one.rows:,} rows, {files[0].address} has "
                    f"{files[0].rows:,}: all fields' logs must have as many; copy the backup again"
                )
        return files[0].rows if files else 0

    def batches(self, rows: int) -> Iterator[dict[int, pa.Array]]:
        """Yields the wanted columns of `rows` rows at a time, as they are stored."""
        by_file: dict[int, tuple[LogFile, dict[int, str]]] = {}
        for field in self._wanted.keys() & self.columns.keys():
            one, name = self.columns[field]
            by_file.setdefault(id(one), (one, {}))[1][field] = name
        readers = [
            (one, names, one.batches(rows, list(names.values()))) for one, names in by_file.values()
        ]
        left = self.rows
        while left:
            columns: dict[int, pa.Array] = {}
            for one, names, batches in readers:
                batch = next(batches, None)
                if batch is None or batch.num_rows != min(rows, left):
                    raise AirliftError(
                        f"{one.address} is damaged: it says that it has {self.rows:,} rows, and "
                        "has fewer; copy the backup again"
                    )
                columns |= {field: batch.column(name) for field, name in names.items()}
            yield columns
            left -= min(rows, left)


UNKNOWN = -1
"""Stands for the id of the dynamic field where only the files tell it."""


def fields_by_id(fields: tuple[Field, ...], ids: Mapping[str, int]) -> dict[int, Field]:
    """The fields of a schema by their ids at the source."""
    return {ids.get(one.name, UNKNOWN): one for one in fields if one.name in ids or one.is_dynamic}


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterator[LogFile]]]:
    if workers < 2:
        yield map
        return
    with ThreadPoolExecutor(min(workers, AHEAD)) as pool:
        yield pool.map
