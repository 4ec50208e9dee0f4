"""Collections and files for import jobs: small ones, of which a test changes what it is about."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIM = 8
Files = dict[str, bytes]


@dataclass(frozen=True)
class Case:
    """A collection, as REST is asked for it, and the files of the job by their last names."""

    files: Files = field(default_factory=dict)
    fields: tuple[dict[str, Any], ...] = ()
    auto_id: bool = False
    dynamic: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "autoID": self.auto_id,
            "enableDynamicField": self.dynamic,
            "fields": list(self.fields or SIMPLE),
        }


def column(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """A field, as ``/collections/create`` takes it; numbers are its type's parameters."""
    params = {
        key: str(more.pop(key)) for key in ("dim", "max_length", "max_capacity") if key in more
    }
    described = {"fieldName": name, "dataType": kind, **more}
    return described | ({"elementTypeParams": params} if params else {})


KEY = column("id", "Int64", isPrimary=True)
VECTOR = column("vec", "FloatVector", dim=DIM)
NAME = column("name", "VarChar", max_length=16)
SIMPLE = (KEY, VECTOR, NAME)


def vectors(rows: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(rows).random((rows, dim), np.float32)


def with_value(value: float) -> np.ndarray:
    """20 vectors, one of which has that value in it."""
    found = vectors(20)
    found[3, 2] = value
    return found


def lists(values: Any, item: pa.DataType | None = None) -> pa.Array:
    return pa.array(
        [list(row) for row in np.asarray(values).tolist()], pa.list_(item or pa.float32())
    )


def _columns(changes: dict[str, Any], **own: Any) -> dict[str, Any]:
    return {name: values for name, values in (own | changes).items() if values is not None}


def table(rows: int, start: int = 0, **changes: Any) -> Files:
    """One Parquet file; a column that is None is left out."""
    own = _columns(
        changes,
        id=pa.array(range(start, start + rows), pa.int64()),
        vec=pa.array(vectors(rows).tolist(), pa.list_(pa.float32())),
        name=pa.array([f"n{number}" for number in range(start, start + rows)]),
    )
    return {"a.parquet": parquet(own)}


def parquet(columns: dict[str, pa.Array]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def arrays(rows: int, start: int = 0, **changes: Any) -> Files:
    """A numpy file for each field."""
    own = _columns(
        changes,
        id=np.arange(start, start + rows, dtype=np.int64),
        vec=vectors(rows),
        name=np.array([f"n{number}" for number in range(start, start + rows)]),
    )
    return {f"{name}.npy": npy(values) for name, values in own.items()}


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def records(rows: int, wrapped: bool = False, without: str = "", **changes: Any) -> Files:
    """One JSON file. A change is each row's value, or a function of its number."""
    found = []
    for number in range(rows):
        row = {"id": number, "vec": vectors(1)[0].tolist(), "name": f"n{number}"}
        for name, value in changes.items():
            row[name] = value(number) if callable(value) else value
        row.pop(without, None)
        found.append(row)
    return text({"rows": found} if wrapped else found)


def text(value: Any) -> Files:
    return {"a.json": (value if isinstance(value, str) else json.dumps(value)).encode()}
