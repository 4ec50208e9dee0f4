"""Walks an index file to where it keeps its vectors and ids, without Faiss.

Sizes and dimensions are checked against the file before anything of that size is allocated, so a
hostile file costs nothing. What only Faiss can decode is named, and left to `decoder`.

The format is that of Faiss' `index_write.cpp`: little-endian, one class after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.sources.faiss.cursor import Cursor
from airlift.sources.faiss.kinds import (
    BINARY_KINDS,
    BITS,
    FLOAT32,
    KINDS,
    MAX_BITS,
    MAX_DIM,
    METRICS,
    OTHER_METRICS,
    SQ_CODECS,
    Codec,
    Kind,
)
from airlift.sources.faiss.layout import Layout
from airlift.sources.faiss.lists_on_disk import InvertedLists, parse_lists_on_disk
from airlift.sources.faiss.other_files import what_begins_with
from airlift.sources.faiss.transforms import parse_transform

_MAX_LISTS = 1 << 26
_MAX_DEPTH = 8
_FLAT_HEADER = 37 + 8
_MAX_LEVELS = 1 << 10
_EIGHT_BITS = (0, 2)
"""Faiss' qtype of scalar quantisers with a byte for each number."""


class _Unwalkable(Exception):
    """An index whose end can't be found without reading it as Faiss does."""


@dataclass(frozen=True)
class Header:
    """What every index begins with."""

    dim: int
    rows: int
    metric: str


def parse(cursor: Cursor) -> Layout:
    """Walks the whole file.

    Raises:
        Damaged: it is not what it says it is.
        AirliftError: it is, and can't be moved.
    """
    if cursor.size < 4:
        cursor.damaged("it is too short to be an index")
    binary = cursor.fourcc() in BINARY_KINDS
    cursor.at = 0
    return _Parser(cursor, binary).index(cursor.size)


def _index(index_type: str, **params: int) -> dict[str, Any]:
    """An index in Milvus' words; see `Field.index`."""
    return {"index_type": index_type, "params": params}


class _Parser:
    """Reads one index, and those inside it.

    Every method that takes `end` reads an index that fills the file up to there; None means: until
    it ends by itself, which is needed of an IVF's quantizer only.
    """

    def __init__(self, cursor: Cursor, binary: bool, depth: int = 0) -> None:
        self.cursor = cursor
        self.binary = binary
        self.depth = depth

    def index(self, end: int | None) -> Layout:
        if self.depth > _MAX_DEPTH:
            self.cursor.damaged("indexes inside indexes without end")
        code = self.cursor.fourcc()
        kind = (BINARY_KINDS if self.binary else KINDS).get(code)
        if kind is None and self.depth == 0 and (what := self._something_else()):
            raise AirliftError(f"{self.cursor.address} is no Faiss index: it is {what}")
        if kind is None:
            self.cursor.damaged(f"{code!r} is no kind of index that is known")
        if kind.why and end is None:
            raise _Unwalkable
        if kind.why:
            raise AirliftError(f"{self.cursor.address} holds an {kind.name}: {kind.why}")
        header = self._header(kind)
        layout: Layout = getattr(self, f"_{kind.parse}")(kind, header, end)
        if end is not None and self.cursor.at != end:
            self.cursor.damaged(
                f"the {kind.name} ends here, expected {end - self.cursor.at:,} bytes more"
            )
        return layout

    def _something_else(self) -> str:
        """What the file is in place of an index; "" where that is not known."""
        if self.cursor.address.endswith(".ivfdata"):
            return "the lists of one: leave it out of index_url, it is found beside its index"
        self.cursor.at = 0
        return what_begins_with(self.cursor.read(min(24, self.cursor.size)))

    def _inside(self, end: int | None) -> Layout:
        return _Parser(self.cursor, self.binary, self.depth + 1).index(end)

    def _header(self, kind: Kind) -> Header:
        cursor, most = self.cursor, MAX_BITS if self.binary else MAX_DIM
        dim = cursor.i32()
        if self.binary and cursor.i32() * 8 != dim:
            cursor.damaged(f"the bytes of a vector do not fit its {dim:,} bits")
        rows = cursor.i64()
        if dim < 1 or rows < 0:
            cursor.damaged(f"dimension {dim:,}, {rows:,} rows")
        if dim > most:
            raise AirliftError(
                f"{cursor.address} has dimension {dim:,}; Milvus takes at most {most:,}"
            )
        if not self.binary:
            cursor.skip(16)
        cursor.skip(1)
        number = cursor.i32()
        if self.binary:
            return Header(dim, rows, "HAMMING")
        if number > 1:
            cursor.skip(4)
        if kind.l2:
            number = 1
        if number not in METRICS:
            raise AirliftError(
                f"{cursor.address} is searched by {OTHER_METRICS.get(number, number)}, which no "
                "metric of Milvus does; only L2, inner product and Hamming distance have one"
            )
        return Header(dim, rows, METRICS[number])

    def _layout(self, kind: Kind, header: Header, codec: Codec | None, **more: Any) -> Layout:
        size = self.cursor.size
        # No code is smaller than a bit.
        if not more.get("lists_file") and header.rows > 8 * size:
            self.cursor.damaged(f"{header.rows:,} rows can't be in a file of {size:,} bytes")
        given = {"kind": kind.name, "dim": header.dim, "held_dim": header.dim, **more}
        return Layout(
            rows=header.rows, metric=header.metric, binary=self.binary, codec=codec, **given
        )

    def _around(
        self, kind: Kind, header: Header, inside: Layout, step: str, dim: int | None = None
    ) -> Layout:
        """An index around another one: they must agree."""
        theirs = (inside.rows, inside.dim, inside.metric)
        ours = (header.rows, dim or header.dim, header.metric)
        if theirs != ours:
            self.cursor.damaged(
                f"the {kind.name} says {ours} (rows, dimension, metric), what is in it {theirs}"
            )
        name = f"{kind.name} > {inside.kind}"
        return replace(inside, kind=name, dim=header.dim, inner=(step, *inside.inner))

    # --- vectors one after another ---------------------------------------------------------------

    def _flat(self, kind: Kind, header: Header, end: int | None) -> Layout:
        codec = BITS if self.binary else FLOAT32
        return self._positions(kind, header, codec, unit=1 if self.binary else 4)

    def _positions(self, kind: Kind, header: Header, codec: Codec, unit: int) -> Layout:
        units, start = self.cursor.vector(unit)
        width = codec.width(header.dim)
        if units * unit != header.rows * width:
            self.cursor.damaged(
                f"{header.rows:,} rows of {width:,} bytes expected, found {units * unit:,} bytes"
            )
        return self._layout(
            kind,
            header,
            codec,
            run_rows=np.array([header.rows], np.int64),
            vectors_at=np.array([start], np.int64),
            index=_index("BIN_FLAT" if self.binary else "FLAT"),
        )

    def _scalar_quantizer(self, kind: Kind, header: Header, end: int | None) -> Layout:
        codec = self._sq_codec(header)
        if codec is None:
            self.cursor.vector(1)
            return self._layout(kind, header, None, lossy=True)
        return self._positions(kind, header, codec, unit=1)

    def _sq_codec(self, header: Header) -> Codec | None:
        cursor = self.cursor
        self._quantizer = cursor.i32()
        codec = SQ_CODECS.get(self._quantizer)
        cursor.skip(4 + 4)
        dim, code_size = cursor.u64(), cursor.u64()
        cursor.vector(4)
        if dim != header.dim or (codec and code_size != codec.width(header.dim)):
            cursor.damaged(f"a scalar quantiser of {dim:,} dimensions and {code_size:,} bytes")
        return codec

    # --- inverted lists --------------------------------------------------------------------------

    def _ivf_flat(self, kind: Kind, header: Header, end: int | None) -> Layout:
        codec = BITS if self.binary else FLOAT32
        if not self._ivf_header(header):
            self._to(end)
            return self._layout(kind, header, None, lists=True, index=self._ivf_index())
        return self._lists(kind, header, codec)

    def _ivf_index(self) -> dict[str, Any]:
        """An index of exact vectors in as many lists."""
        return _index("BIN_IVF_FLAT" if self.binary else "IVF_FLAT", nlist=self._nlist)

    def _ivf_scalar_quantizer(self, kind: Kind, header: Header, end: int | None) -> Layout:
        index = None
        if self._ivf_header(header):
            codec = self._sq_codec(header)
            if self._quantizer in _EIGHT_BITS:
                index = _index("IVF_SQ8", nlist=self._nlist)
            code_size = self.cursor.u64()
            # By residuals it holds what is left when a centroid is taken off: near what was added.
            exact = self.cursor.read(1) == b"\0"
            if codec and exact:
                return self._lists(kind, header, codec)
            return self._coded_lists(kind, header, code_size, index, end)
        self._to(end)
        return self._layout(kind, header, None, lossy=True, lists=True, index=index)

    def _ivf_product_quantizer(self, kind: Kind, header: Header, end: int | None) -> Layout:
        index = None
        if not self._ivf_header(header):
            self._to(end)
            return self._layout(kind, header, None, lossy=True, lists=True)
        self.cursor.skip(1)
        code_size, dim, parts, bits = (self.cursor.u64() for _ in range(4))
        if dim == header.dim and parts and dim % parts == 0:
            index = _index("IVF_PQ", nlist=self._nlist, m=parts, nbits=bits)
        self.cursor.vector(4)
        return self._coded_lists(kind, header, code_size, index, end)

    def _coded_lists(
        self,
        kind: Kind,
        header: Header,
        code_size: int,
        index: dict[str, Any] | None,
        end: int | None,
    ) -> Layout:
        """Lists of codes that Faiss decodes; it needs their file, where they have one."""
        cursor, more = self.cursor, dict[str, Any]()
        if cursor.fourcc() == "ilod":
            on_disk = parse_lists_on_disk(cursor, self._nlist, code_size, header.rows)
            more = {"lists_file": on_disk.file, "lists_bytes": on_disk.file_bytes}
        else:
            self._to(end)
        return self._layout(kind, header, None, lossy=True, lists=True, index=index, **more)

    def _ivf_header(self, header: Header) -> bool:
        """Whether the quantizer could be walked over."""
        cursor = self.cursor
        self._nlist = cursor.u64()
        if self._nlist > min(_MAX_LISTS, cursor.left()):
            cursor.damaged(f"{self._nlist:,} inverted lists")
        cursor.skip(8)
        try:
            quantizer = self._inside(None)
        except _Unwalkable:
            return False
        if quantizer.dim != header.dim:
            cursor.damaged(f"a quantizer of dimension {quantizer.dim:,}, expected {header.dim:,}")
        direct_map = cursor.read(1)
        cursor.vector(8)
        if direct_map == b"\2":
            cursor.vector(16)
        return True

    def _lists(self, kind: Kind, header: Header, codec: Codec) -> Layout:
        width = codec.width(header.dim)
        stored = self.cursor.fourcc()
        if stored == "ilod":
            lists = parse_lists_on_disk(self.cursor, self._nlist, width, header.rows)
        elif stored == "ilar":
            lists = self._lists_inside(header, width)
        else:
            raise AirliftError(
                f"{self.cursor.address}: inverted lists of the kind {stored!r} are not known"
            )
        return self._layout(
            kind,
            header,
            codec,
            lists=True,
            index=self._ivf_index(),
            run_rows=lists.sizes,
            vectors_at=lists.vectors_at,
            ids_at=lists.ids_at,
            lists_file=lists.file,
            lists_bytes=lists.file_bytes,
        )

    def _lists_inside(self, header: Header, width: int) -> InvertedLists:
        """Lists in the index itself, of vectors of `width` bytes."""
        cursor = self.cursor
        nlist, code_size = cursor.u64(), cursor.u64()
        if nlist != self._nlist or code_size != width:
            cursor.damaged(
                f"{nlist:,} lists of {code_size:,} bytes a vector; expected {self._nlist:,} of "
                f"{width:,}"
            )
        sizes = self._list_sizes()
        # As floats first: hostile sizes would overflow when added up.
        if sizes.sum(dtype=np.float64) > 2.0 * header.rows + 1 or int(sizes.sum()) != header.rows:
            cursor.damaged(f"its lists do not hold {header.rows:,} rows together")
        rows = sizes.astype(np.int64)
        starts = cursor.at + np.concatenate(([0], np.cumsum(rows[:-1]))) * (width + 8)
        cursor.skip(header.rows * (width + 8))
        ids_at = starts + rows * width
        return InvertedLists(rows, starts.astype(np.int64), ids_at.astype(np.int64))

    def _list_sizes(self) -> NDArray[np.uint64]:
        """The sizes of the lists that are not empty."""
        form = self.cursor.fourcc()
        if form not in ("full", "sprs"):
            self.cursor.damaged(f"sizes of lists in the form {form!r}")
        found = np.frombuffer(self.cursor.vector_bytes(8, 2 * self._nlist), "<u8")
        if form == "full":
            if len(found) != self._nlist:
                self.cursor.damaged(f"{len(found):,} sizes of {self._nlist:,} lists")
            return found[found > 0]
        numbers, sizes = found[0::2], found[1::2]
        if len(numbers) != len(sizes) or (numbers[1:] <= numbers[:-1]).any():
            self.cursor.damaged("the numbers of its lists are not in order")
        if len(numbers) and numbers[-1] >= self._nlist:
            self.cursor.damaged(f"a list of number {numbers[-1]:,}, of {self._nlist:,}")
        return sizes[sizes > 0]

    # --- an index around another -----------------------------------------------------------------

    def _id_map(self, kind: Kind, header: Header, end: int | None) -> Layout:
        if end is None:
            raise _Unwalkable
        room = 8 + 8 * header.rows
        if self.cursor.left(end) < room:
            self.cursor.damaged(f"{header.rows:,} ids expected")
        inside = self._inside(end - room)
        if inside.id_map_at is not None:
            raise AirliftError(
                f"{self.cursor.address}: an IDMap in an IDMap has two ids for a row; write the "
                "inner one to a file of its own"
            )
        ids, start = self.cursor.vector(8)
        if ids != header.rows:
            self.cursor.damaged(f"{header.rows:,} ids expected, found {ids:,}")
        return replace(self._around(kind, header, inside, "index"), id_map_at=start)

    def _pre_transform(self, kind: Kind, header: Header, end: int | None) -> Layout:
        cursor = self.cursor
        count = cursor.i32()
        if not 0 <= count <= _MAX_DEPTH:
            cursor.damaged(f"a chain of {count:,} transforms")
        chain = tuple(parse_transform(cursor) for _ in range(count))
        dim = header.dim
        for transform in chain:
            if transform.d_in != dim:
                cursor.damaged(f"a {transform.name} of dimension {transform.d_in} on {dim}")
            dim = transform.d_out
        if end is not None:
            for transform in chain:
                if transform.why:
                    raise AirliftError(
                        f"{cursor.address}: its {transform.name} can't be undone: {transform.why}"
                    )
        inside = self._inside(end)
        around = self._around(kind, header, inside, "index", dim)
        lossy = inside.lossy or any(transform.lost for transform in chain)
        return replace(around, transforms=(*chain, *inside.transforms), lossy=lossy)

    def _refine(self, kind: Kind, header: Header, end: int | None) -> Layout:
        """Vectors are taken from the refine store, which is the better of the two."""
        if end is None:
            raise _Unwalkable
        self._back_to_flat(header, end - 4)
        inside = self._inside(end - 4)
        self.cursor.skip(4)
        around = self._around(kind, header, inside, "refine_index")
        return replace(around, index=None)  # the base index, which was not looked at, is searched

    def _back_to_flat(self, header: Header, end: int) -> None:
        """Goes to the flat index that ends at `end`, over what can't be walked."""
        start = end - _FLAT_HEADER - 4 * header.dim * header.rows
        if start < self.cursor.at:
            self.cursor.damaged(f"{header.rows:,} rows of dimension {header.dim:,} expected")
        self.cursor.at = start
        found = self.cursor.fourcc()
        self.cursor.at = start
        if KINDS.get(found, Kind("", "")).parse != "flat":
            raise AirliftError(
                f"{self.cursor.address}: expected flat vectors at its end, found {found!r}: it is "
                "truncated, or they are of another kind: write the inner index that holds them to "
                "a file of its own"
            )

    def _at_the_end(self, kind: Kind, header: Header, end: int | None) -> Layout:
        if end is None:
            raise _Unwalkable
        self._back_to_flat(header, end)
        around = self._around(kind, header, self._inside(end), "storage")
        return replace(around, index=None)

    def _hnsw(self, kind: Kind, header: Header, end: int | None) -> Layout:
        cursor = self.cursor
        cursor.vector(8)
        neighbours = np.frombuffer(cursor.vector_bytes(4, _MAX_LEVELS), "<i4")
        for width in (4, 8, 4):
            cursor.vector(width)
        cursor.skip(2 * 4)
        ef_construction = cursor.i32()
        cursor.skip(2 * 4)
        # Neighbours of the levels up to each one; the lowest level has twice as many as the others.
        links = int(neighbours[1]) // 2 if len(neighbours) > 1 else 0
        index = None
        if links > 0 and ef_construction > 0 and not self.binary:
            index = _index("HNSW", M=links, efConstruction=ef_construction)
        around = self._around(kind, header, self._inside(end), "storage")
        return replace(around, index=index)

    def _multi_hash(self, kind: Kind, header: Header, end: int | None) -> Layout:
        inside = self._around(kind, header, self._inside(None), "storage")
        self._to(end)
        return replace(inside, index=None)

    # --- what only Faiss can read ----------------------------------------------------------------

    def _opaque(self, kind: Kind, header: Header, end: int | None) -> Layout:
        self._to(end)
        return self._layout(kind, header, None, lossy=True, lists=kind.lists)

    def _opaque_exact(self, kind: Kind, header: Header, end: int | None) -> Layout:
        self._to(end)
        return self._layout(kind, header, None, lists=kind.lists)

    def _to(self, end: int | None) -> None:
        if end is None:
            raise _Unwalkable
        self.cursor.at = end
