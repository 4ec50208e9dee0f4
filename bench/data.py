"""The sources that are benchmarked, made once and kept in the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROWS = {"1M": 1_000_000, "3M": 3_000_000}
DIM = 128


def cache() -> Path:
    """Where sources are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "milvus-airlift" / "bench"


def source(size: str) -> Path:
    """A folder of Milvus 1.x with `size` rows: 128 floats each, 3 % deleted, in 4 segments."""
    folder = cache() / f"milvus1x-{size}"
    if not folder.is_dir():
        from include.samples.milvus1x_tables import TableSpec, write_milvus1x

        scratch = folder.with_suffix(".part")
        shutil.rmtree(scratch, ignore_errors=True)
        spec = TableSpec(
            "songs",
            ROWS[size],
            dim=DIM,
            segments=4,
            deleted_fraction=0.03,
            seed=1,
            keep_truth=False,
        )
        write_milvus1x(scratch, [spec])
        scratch.rename(folder)
    return folder


FAISS = {
    "Flat 1M": ("Flat", 1_000_000),
    "IVFFlat 1M": ("IVF1024,Flat", 1_000_000),
    "IVFFlat 2M": ("IVF1024,Flat", 2_000_000),
}
_FAISS_BLOCK = 100_000


def faiss_index(name: str) -> Path:
    """A folder with an index file of 128 floats a row."""
    folder = cache() / f"faiss-{name.replace(' ', '-')}"
    if not folder.is_dir():
        import faiss
        import numpy as np

        factory, rows = FAISS[name]
        rng = np.random.default_rng(1)
        index = faiss.index_factory(DIM, factory)
        index.train(rng.standard_normal((_FAISS_BLOCK, DIM), dtype=np.float32))
        for _ in range(rows // _FAISS_BLOCK):
            index.add(rng.standard_normal((_FAISS_BLOCK, DIM), dtype=np.float32))
        scratch = folder.with_suffix(".part")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        faiss.write_index(index, str(scratch / "songs.index"))
        scratch.rename(folder)
    return folder


def warm(folder: Path) -> None:
    """Reads all files once, so that every case finds them in the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(16 << 20):
                    pass
