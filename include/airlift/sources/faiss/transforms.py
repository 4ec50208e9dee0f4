"""The transforms before an index (IndexPreTransform), and undoing those that can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.sources.faiss.cursor import Cursor
from airlift.sources.faiss.kinds import MAX_DIM

_ORTHONORMAL = 1e-4  # the most that A·Aᵗ may differ from 1; Faiss itself takes 4e-5 or so
_LARGEST_MATRIX = 4_096  # dimensions: its square takes memory, its cube time
_PCA = {"PCAm": (4, 1), "PcAm": (4, 1 + 4), "Pcam": (4 + 4, 1 + 4)}
_LINEAR = {
    "rrot": "RandomRotationMatrix",
    "PCAm": "PCAMatrix",
    "PcAm": "PCAMatrix",
    "Pcam": "PCAMatrix",
    "Viqm": "ITQMatrix",
    "LTra": "LinearTransform",
}


@dataclass(frozen=True)
class Transform:
    """One transform of a chain.

    Attributes:
        name: Faiss' class.
        d_in, d_out: dimensions before and after.
        matrix: (d_out, d_in), for a linear transform.
        added: what is added after the matrix.
        places: for a remapping: which number of the vector before becomes each.
        why: why it can't be undone; "" when it can.
        lost: what is lost, though vectors are still of use as they are; "" when nothing is.
    """

    name: str
    d_in: int
    d_out: int
    matrix: NDArray[np.float32] | None = None
    added: NDArray[np.float32] | None = None
    places: NDArray[np.int32] | None = None
    why: str = ""
    lost: str = ""

    def undo(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the vectors were before."""
        if self.places is not None:
            before = np.zeros((len(vectors), self.d_in), np.float64)
            before[:, self.places] = vectors
            return before
        if self.added is not None:
            vectors = vectors - self.added
        return vectors if self.matrix is None else vectors @ self.matrix

    def apply(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """What Faiss made of the vectors."""
        if self.places is not None:
            return vectors[:, self.places]
        if self.matrix is not None:
            vectors = vectors @ self.matrix.T
        return vectors if self.added is None else vectors + self.added


def undo_all(transforms: tuple[Transform, ...], vectors: NDArray[Any]) -> NDArray[np.float32]:
    """The vectors that were added to the index, rounded to float32 once."""
    found = vectors.astype(np.float64)
    for transform in reversed(transforms):
        found = transform.undo(found)
    return found.astype(np.float32)


def rounding(transforms: tuple[Transform, ...], held: NDArray[Any]) -> float:
    """The largest difference that undoing and applying again makes, in parts of the length."""
    found = undo_all(transforms, held).astype(np.float64)
    for transform in transforms:
        found = transform.apply(found)
    lengths = np.linalg.norm(held.astype(np.float64), axis=1)
    apart = np.linalg.norm(found - held, axis=1)
    return float(np.max(apart / np.where(lengths > 0, lengths, 1), initial=0.0))


def parse_transform(cursor: Cursor) -> Transform:
    """Reads a transform."""
    code = cursor.fourcc()
    if code in _LINEAR:
        return _linear(cursor, code)
    if code == "RmDT":
        return _remap(cursor)
    if code == "VNrm":
        norm = np.frombuffer(cursor.read(4), "<f4")[0]
        why = "" if norm == 2 else f"it makes the {norm:g}-norm of vectors 1"
        lost = "vectors were made to have length 1, and are carried so"
        return Transform("NormalizationTransform", *_ends(cursor), why=why, lost=lost)
    if code == "VCnt":
        mean = np.frombuffer(cursor.vector_bytes(4, MAX_DIM), "<f4")
        d_in, d_out = _ends(cursor)
        if len(mean) != d_in or d_in != d_out:
            cursor.damaged(f"a CenteringTransform of {len(mean)} numbers for dimension {d_in}")
        return Transform("CenteringTransform", d_in, d_out, added=-mean)
    if code == "Viqt":
        raise AirliftError(
            f"{cursor.address}: an ITQTransform can't be undone; give an index without it"
        )
    cursor.damaged(f"{code!r} is no transform that is known")


def _ends(cursor: Cursor) -> tuple[int, int]:
    d_in, d_out = cursor.i32(), cursor.i32()
    cursor.skip(1)
    if not (0 < d_in <= MAX_DIM and 0 < d_out <= MAX_DIM):
        cursor.damaged(f"a transform from dimension {d_in:,} to {d_out:,}")
    return d_in, d_out


def _linear(cursor: Cursor, code: str) -> Transform:
    if code in _PCA:
        for skipped in _PCA[code]:
            cursor.skip(skipped)
        for _ in range(3):
            cursor.vector(4)
    elif code == "Viqm":
        cursor.skip(4 + 4)
    has_bias = cursor.read(1) != b"\0"
    numbers, matrix_at = cursor.vector(4)
    bias = np.frombuffer(cursor.vector_bytes(4, MAX_DIM), "<f4")
    d_in, d_out = _ends(cursor)
    after, name = cursor.at, _LINEAR[code]
    if numbers != d_in * d_out or (has_bias and len(bias) != d_out):
        cursor.damaged(
            f"a {name} from {d_in} to {d_out} dimensions with {numbers:,} and {len(bias):,} numbers"
        )
    if d_in != d_out:
        why = f"it leads from {d_in} dimensions to {d_out}: what it left out is lost"
        return Transform(name, d_in, d_out, why=why)
    if d_in > _LARGEST_MATRIX:
        why = f"its matrix of {d_in:,} dimensions is larger than the {_LARGEST_MATRIX:,} that are"
        return Transform(name, d_in, d_out, why=f"{why} undone here")
    cursor.at = matrix_at
    matrix = np.frombuffer(cursor.read(4 * numbers), "<f4").reshape(d_out, d_in)
    cursor.at = after
    exact = matrix.astype(np.float64)
    off = float(np.abs(exact @ exact.T - np.eye(d_in)).max())
    # Written so that NaN is refused too.
    why = "" if off < _ORTHONORMAL else f"its matrix is not orthonormal (off by {off:.2g})"
    return Transform(name, d_in, d_out, matrix, bias if has_bias else None, why=why)


def _remap(cursor: Cursor) -> Transform:
    places = np.frombuffer(cursor.vector_bytes(4, MAX_DIM), "<i4")
    d_in, d_out = _ends(cursor)
    if len(places) != d_out or places.min() < -1 or places.max() >= d_in:
        cursor.damaged(f"a RemapDimensionsTransform of {len(places)} places for dimension {d_in}")
    # Places of -1 are filled with 0.
    kept = np.sort(places[places >= 0])
    name = "RemapDimensionsTransform"
    if not np.array_equal(kept, np.arange(d_in)):
        return Transform(name, d_in, d_out, why="it leaves dimensions out or repeats them")
    if len(kept) != d_out:
        return Transform(name, d_in, d_out, why="it adds dimensions")
    return Transform(name, d_in, d_out, places=places)
