"""Makes Faiss index files with the real Faiss: for the demo, the tests and the benchmarks.

Beside them, as asked: an `.npy` of ids, and scalar fields as Parquet, JSON Lines or `.npy` files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

METRICS = {"IP": 0, "L2": 1}
_PRIME = 1_000_003  # a stride through the ids, so that they don't stand in order
_GENRES = ("rock", "jazz", "blues 蓝调", 'with "quotes" and \\ and\nlines', "")


@dataclass(frozen=True)
class IndexSpec:
    """An index to make: `<name>.index`, or `<name>-0.index` and so on for several shards.

    Attributes:
        factory: as `faiss.index_factory` takes it; for HAMMING, as `index_binary_factory` does.
        own_ids: the index is given ids (IDMap and IVF kinds); else it numbers its rows.
        ids_file: ids in `<name>_ids.npy`.
        scalars: `parquet`, `jsonl` or `npy`: fields in `<name>.parquet` and so on.
        joined: the scalars are in another order, with the ids in the column `song`.
        nulls: some scalars are missing.
        lists_on_disk: so many of the files (IVF kinds) have their inverted lists beside them, in
            `<stem>.ivfdata`.
    """

    name: str
    rows: int
    factory: str = "Flat"
    dim: int = 64
    metric: str = "L2"
    shards: int = 1
    own_ids: bool = False
    ids_file: bool = False
    scalars: str = ""
    joined: bool = False
    nulls: bool = False
    unit_length: bool = False
    lists_on_disk: int = 0
    seed: int = 1


@dataclass
class IndexTruth:
    """What a collection must hold, row by row."""

    ids: NDArray[np.int64]
    vectors: NDArray[Any]
    scalars: dict[str, list[Any]] = field(default_factory=dict)


def demo_indexes() -> list[IndexSpec]:
    """The demo's: songs in an IVF index of two shards, with ids and with fields joined by id."""
    return [
        IndexSpec(
            "songs",
            20_000,
            factory="IVF64,Flat",
            shards=2,
            own_ids=True,
            scalars="parquet",
            joined=True,
            seed=11,
        )
    ]


def write_faiss(folder: Path, specs: Sequence[IndexSpec]) -> dict[str, IndexTruth]:
    """Writes the index files and what stands beside them.

    Returns:
        What a migration must bring over, by collection.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {spec.name: _write(folder, spec) for spec in specs}


def _write(folder: Path, spec: IndexSpec) -> IndexTruth:
    rng = np.random.default_rng(spec.seed)
    vectors = _vectors(rng, spec)
    positions = np.arange(spec.rows, dtype=np.int64)
    # Some below zero: Faiss lets ids be any number but -1.
    other = positions * _PRIME % (spec.rows * 7 + 1) - spec.rows // 3 - 2
    own = other if spec.own_ids else positions
    for shard, rows in enumerate(np.array_split(positions, spec.shards)):
        suffix = f"-{shard}" if spec.shards > 1 else ""
        stem = f"{spec.name}{suffix}"
        write_index(
            folder / f"{stem}.index",
            vectors[rows],
            spec.factory,
            spec.metric,
            own[rows] if spec.own_ids else None,
            folder / f"{stem}.ivfdata" if shard < spec.lists_on_disk else None,
        )
    ids = own
    if spec.ids_file:
        ids = other[::-1].copy()
        np.save(folder / f"{spec.name}_ids.npy", ids)
    truth = IndexTruth(ids, vectors)
    if spec.scalars:
        truth.scalars = _scalars(rng, spec)
        _write_scalars(folder, spec, truth, rng)
    return truth


def write_index(
    path: Path,
    vectors: NDArray[Any],
    factory: str,
    metric: str = "L2",
    ids: NDArray[np.int64] | None = None,
    lists: Path | None = None,
) -> None:
    """Makes an index of vectors (bytes for HAMMING), trained on them, and writes it.

    Args:
        lists: a file for the inverted lists of an IVF index.
    """
    import faiss

    if metric == "HAMMING":
        index = faiss.index_binary_factory(vectors.shape[1] * 8, factory)
        write = faiss.write_index_binary
    else:
        index = faiss.index_factory(vectors.shape[1], factory, METRICS[metric])
        write = faiss.write_index
    if len(vectors) and not index.is_trained:
        # A few are enough for a sample, and quick.
        index.train(vectors[:20_000])
    if lists is not None:
        ivf = faiss.extract_index_ivf(index)
        on_disk = faiss.OnDiskInvertedLists(ivf.nlist, ivf.code_size, str(lists))
        ivf.replace_invlists(on_disk, True)
        on_disk.this.disown()
    if ids is not None:
        index.add_with_ids(vectors, ids)
    elif len(vectors):
        index.add(vectors)
    write(index, str(path))


def _vectors(rng: np.random.Generator, spec: IndexSpec) -> NDArray[Any]:
    if spec.metric == "HAMMING":
        return rng.integers(0, 256, (spec.rows, spec.dim // 8), dtype=np.uint8)
    vectors = rng.standard_normal((spec.rows, spec.dim), dtype=np.float32)
    if spec.unit_length:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _scalars(rng: np.random.Generator, spec: IndexSpec) -> dict[str, list[Any]]:
    year = rng.integers(1950, 2030, spec.rows).tolist()
    score = rng.random(spec.rows).tolist()
    genre = [_GENRES[n % len(_GENRES)] for n in range(spec.rows)]
    live = [n % 3 == 0 for n in range(spec.rows)]
    found: dict[str, list[Any]] = {"year": year, "score": score, "genre": genre, "live": live}
    if spec.nulls:
        found["genre"] = [None if n % 7 == 0 else one for n, one in enumerate(genre)]
    return found


def _write_scalars(
    folder: Path, spec: IndexSpec, truth: IndexTruth, rng: np.random.Generator
) -> None:
    order = rng.permutation(spec.rows) if spec.joined else np.arange(spec.rows)
    columns: dict[str, list[Any]] = {"song": truth.ids[order].tolist()} if spec.joined else {}
    columns |= {name: [values[n] for n in order] for name, values in truth.scalars.items()}
    if spec.scalars == "parquet":
        pq.write_table(pa.table(columns), folder / f"{spec.name}.parquet", row_group_size=10_000)
    elif spec.scalars == "jsonl":
        names = list(columns)
        lines = [
            orjson.dumps(dict(zip(names, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]
        (folder / f"{spec.name}.jsonl").write_bytes(b"\n".join(lines))
    else:
        (folder / spec.name).mkdir(exist_ok=True)
        for name, values in columns.items():
            np.save(folder / spec.name / f"{name}.npy", np.array(values))
