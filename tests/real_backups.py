"""The real backups among the fixtures, and the rows that Milvus itself returned before them."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures" / "backups"
COLLECTIONS = {
    "mixed": {"articles": "default.articles"},
    "types": {
        "default.codes": "default.codes",
        "archive.readings": "archive.readings",
        "archive.blank": "archive.blank",
    },
}
"""By backup: the source collection's name, and the truth's."""

LOGS_OF_2_5 = {
    "real_2_5": {
        name: f"default.{name}"
        for name in (
            "real_rows",
            "p_every_scalar_parquet",
            "p_gaps_parquet",
            "p_sparse_parquet",
            "p_vectors_parquet",
            "p_defaults_parquet",
        )
    }
}
"""The same, of logs that Milvus 2.5.27 wrote; the metadata beside them is not milvus-backup's."""

_SINGLE = {"embedding", "v", "f", "vec", "vector", "float"}
_BYTES = {"bits", "f16", "bf16"}
_SPARSE = {"sp", "sparse"}


def unpack(name: str, folder: Path) -> Path:
    """Unpacks a backup into a folder; returns its own folder."""
    with tarfile.open(FIXTURES / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


def truth(backup: str, collection: str) -> list[dict[str, Any]]:
    """The live rows, sorted by key: `partition` and the values by field, as `plain` has them."""
    known = {**COLLECTIONS, **LOGS_OF_2_5}[backup]
    path = FIXTURES / f"{backup}.expected" / f"{known[collection]}.jsonl.gz"
    rows = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        told = json.loads(line)
        values = {name: _value(name, value) for name, value in told["row"].items()}
        rows.append(
            {"partition": told["partition"] or "_default", **values, "$meta": told["dynamic"]}
        )
    return rows


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _SINGLE:
        return np.asarray(value, np.float32).tobytes()
    if name in _SPARSE:
        pairs = sorted((int(index), weight) for index, weight in value.items())
        return np.array(pairs, [("index", "<u4"), ("weight", "<f4")]).tobytes()
    return bytes.fromhex(value) if name in _BYTES else value
