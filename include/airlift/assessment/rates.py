"""How fast targets were when they were measured: nothing may be written to try the user's own.

Figures of `bench/README.md`, on two cores that client and server shared, 128 floats a row. Others
are a third as fast or three times as fast: hence the range around every estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

STATED_FACTOR = 3.0
"""What was measured elsewhere is taken to be off by so much, either way."""

MEASURED_FACTOR = 1.5
"""What was measured here, on a part of the rows: other work on the machine, other parts."""


@dataclass(frozen=True)
class Rate:
    """A speed that was measured elsewhere.

    Attributes:
        bytes_a_second: of rows.
        least_seconds: of a chunk, however small it is.
        origin: what was measured, for people.
    """

    bytes_a_second: float
    least_seconds: float
    origin: str

    def seconds(self, sizes: list[float]) -> float:
        """For chunks of those bytes, one after the other."""
        return sum(max(size / self.bytes_a_second, self.least_seconds) for size in sizes)


_BULK = Rate(
    52e6, 2.0, "bench/README.md: 970,000 x 128 into Milvus 2.3.5 by bulk insert in 9.6 s; 2 s a job"
)
_INSERT = Rate(
    13e6, 0.0, "bench/README.md: 500,000 x 128 into Milvus 2.3.5 by insert in about 20 s"
)

IMPORT_RATES: dict[str, Rate] = {
    "grpc_bulk_insert": _BULK,
    "rest_import": Rate(
        _BULK.bytes_a_second,
        _BULK.least_seconds,
        "not measured: taken to be as fast as bulk insert on Milvus 2.3.5 (bench/README.md)",
    ),
    "grpc_backup_import": Rate(
        30e6, 2.0, "bench/README.md: a backup of 0.5 GB into Milvus 2.3.5 in 16.3 s; 2 s a job"
    ),
    "rest_backup_import": Rate(
        30e6, 2.0, "not measured: taken to be as fast as grpc_backup_import (bench/README.md)"
    ),
    "insert": _INSERT,
    "upsert": _INSERT,
}
"""By the way in."""

JSON_FACTOR = 5.0
"""So many times as long takes the import of JSON files as that of the same rows in Parquet."""

_SLOWER = {(way, "json"): JSON_FACTOR for way in ("grpc_bulk_insert", "rest_import")}


def import_rate(way: str, file_format: str) -> Rate:
    """The speed of a way in with chunk files of a format."""
    rate = IMPORT_RATES[way]
    factor = _SLOWER.get((way, file_format), 1.0)
    if factor == 1.0:
        return rate
    origin = f"{rate.origin}; {file_format} files take {factor:g} times as long (there)"
    return replace(rate, bytes_a_second=rate.bytes_a_second / factor, origin=origin)


LOAD = Rate(54e6, 1.0, "bench/README.md: 970,000 x 128 loaded by Milvus 2.3.5 in 9.4 s")
GRAPH_INDEX = Rate(
    0.88e6, 0.0, "bench/README.md: HNSW over 970,000 x 128 built by Milvus 2.3.5 in 562 s"
)
READ_BACK = Rate(92e6, 0.0, "bench/README.md: 178,300 rows x 128 read from Milvus 2.3.5 in 1 s")

GRAPH_INDEXES = frozenset({"AUTOINDEX", "HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "DISKANN"})
"""Those that take far longer to build than the rows to import."""
