"""The cases of `python -m bench fingerprint`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airlift.fingerprint import FingerprintKey
from airlift.fixed_width import fixed_bytes
from bench.timed import timed

_BATCH_BYTES = 4 << 20
_ROUNDS = 5


def fingerprint_rows(rows: int, dim: int) -> dict[str, Any]:
    """CPU seconds for rows of an id and a vector, batch by batch; the best of five rounds each.

    The reference is a sum of 64-bit words that are folded and multiplied: what the fingerprint was
    before, which is fast and overlooks negated vectors.
    """
    flat = np.random.default_rng(0).standard_normal(rows * dim, np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), dim)
    table = pa.record_batch({"id": pa.array(np.arange(rows)), "vector": vectors})
    step = max(1, _BATCH_BYTES // (4 * dim))
    batches = [table.slice(at, step) for at in range(0, rows, step)]
    drawn = np.random.default_rng(1).integers(0, 1 << 63, dim, dtype=np.uint64) | np.uint64(1)

    def fingerprint() -> None:
        fingerprinter = FingerprintKey.draw().fingerprinter("id")
        for batch in batches:
            fingerprinter.add(batch)
        assert fingerprinter.fingerprint

    def word_sums() -> None:
        for batch in batches:
            hashes = sum(_words(column, drawn) for column in batch.columns)
            assert isinstance(hashes, np.ndarray) and hashes.sum()

    found: dict[str, Any] = {}
    for name, work in (("fingerprint", fingerprint), ("word sums", word_sums)):
        found[name] = min(_cpu(work) for _ in range(_ROUNDS))
    return found


def _cpu(work: Any) -> float:
    found: dict[str, Any] = {}
    with timed(found):
        work()
    return float(found["cpu"])


def _words(column: pa.Array, multipliers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    raw = fixed_bytes(column)
    assert raw is not None
    hashes = np.empty(len(raw), np.uint64)
    for at in range(0, len(raw), 512):  # what stays in the processor's cache
        words = raw[at : at + 512].view(np.uint64)
        folded = words >> np.uint64(32)
        folded ^= words
        np.matmul(folded, multipliers[: words.shape[1]], out=hashes[at : at + 512])
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes ^= hashes >> np.uint64(shift)
        hashes *= np.uint64(multiplier)
    return hashes


FINGERPRINT_CASES = (fingerprint_rows,)
