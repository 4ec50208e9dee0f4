"""What is known of each kind of Faiss index, by the four characters that its file begins with.

`parse` names the function of `layout` that reads the kind's structure. Kinds of `opaque` hold codes
that only Faiss can turn into vectors: a child process does (see `decoder`).
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_DIM = 32_768
"""Of a float vector in Milvus."""

MAX_BITS = 262_144
"""Of a binary vector in Milvus."""


@dataclass(frozen=True)
class Kind:
    """A kind of index.

    Attributes:
        name: what Faiss calls the class.
        parse: how its file is read.
        lists: for `opaque`: rows lie in inverted lists, with ids.
        l2: the file names a wrong metric: it is L2.
        why: why the kind is refused.
    """

    name: str
    parse: str
    lists: bool = False
    l2: bool = False
    why: str = ""


def _opaque(name: str, lists: bool = False, l2: bool = False) -> Kind:
    return Kind(name, "opaque", lists, l2)


def _refused(name: str, why: str) -> Kind:
    return Kind(name, "refused", why=why)


_NO_VECTORS = "it holds hashes, from which no vector can be had back"
_FAST_SCAN = (
    "Faiss 1.15 crashes when it decodes such codes; add the vectors to an index without them"
)
_CODEC_ONLY = "it is a codec and holds no vectors"

KINDS: dict[str, Kind] = {
    "IxF2": Kind("IndexFlatL2", "flat"),
    "IxFI": Kind("IndexFlatIP", "flat"),
    "IxFl": Kind("IndexFlat", "flat"),
    "IwFl": Kind("IndexIVFFlat", "ivf_flat"),
    "IxMp": Kind("IndexIDMap", "id_map"),
    "IxM2": Kind("IndexIDMap2", "id_map"),
    "IxPT": Kind("IndexPreTransform", "pre_transform"),
    "IxRF": Kind("IndexRefine", "refine"),
    "IHNf": Kind("IndexHNSWFlat", "hnsw"),
    "IHNs": Kind("IndexHNSWSQ", "hnsw"),
    "IHNp": Kind("IndexHNSWPQ", "hnsw"),
    "IHN2": Kind("IndexHNSW2Level", "hnsw"),
    "INSf": Kind("IndexNSGFlat", "at_the_end"),
    "INNf": Kind("IndexNNDescentFlat", "at_the_end"),
    "IHNc": Kind("IndexHNSWCagra", "at_the_end"),
    "IHc2": Kind("IndexHNSWCagra", "at_the_end"),
    "IxSQ": Kind("IndexScalarQuantizer", "scalar_quantizer"),
    "IwSq": Kind("IndexIVFScalarQuantizer", "ivf_scalar_quantizer"),
    "IwSQ": _opaque("IndexIVFScalarQuantizer", lists=True),
    "IvSQ": _opaque("IndexIVFScalarQuantizer", lists=True),
    # Flat vectors, but laid out otherwise: Faiss reads them, exactly.
    "IvFl": Kind("IndexIVFFlat", "opaque_exact", lists=True),
    "IvFL": Kind("IndexIVFFlat", "opaque_exact", lists=True),
    "IxFP": _refused("IndexFlatL2Panorama", "add its vectors to an IndexFlat"),
    "IwPn": Kind("IndexIVFFlatPanorama", "opaque_exact", lists=True),
    "IwP2": Kind("IndexIVFFlatPanorama", "opaque_exact", lists=True),
    "IHfP": Kind("IndexHNSWFlatPanorama", "opaque_exact"),
    "IxPq": _opaque("IndexPQ"),
    "IxPQ": _opaque("IndexPQ", l2=True),
    "IxPo": _opaque("IndexPQ", l2=True),
    "IwPQ": Kind("IndexIVFPQ", "ivf_product_quantizer", lists=True),
    "IvPQ": _opaque("IndexIVFPQ", lists=True),
    "IwQR": _opaque("IndexIVFPQR", lists=True),
    "IvQR": _opaque("IndexIVFPQR", lists=True),
    "IwPf": _refused("IndexIVFPQFastScan", _FAST_SCAN),
    "IPfs": _opaque("IndexPQFastScan"),
    "IxRQ": _opaque("IndexResidualQuantizer"),
    "IxRq": _opaque("IndexResidualQuantizer"),
    "IxLS": _opaque("IndexLocalSearchQuantizer"),
    "IxPR": _opaque("IndexProductResidualQuantizer"),
    "IxPL": _opaque("IndexProductLocalSearchQuantizer"),
    "ILfs": _opaque("IndexLocalSearchQuantizerFastScan"),
    "IRfs": _opaque("IndexResidualQuantizerFastScan"),
    "IPRf": _opaque("IndexProductResidualQuantizerFastScan"),
    "IPLf": _opaque("IndexProductLocalSearchQuantizerFastScan"),
    "IVLf": _refused("IndexIVFLocalSearchQuantizerFastScan", _FAST_SCAN),
    "IVRf": _refused("IndexIVFResidualQuantizerFastScan", _FAST_SCAN),
    "NPLf": _refused("IndexIVFProductLocalSearchQuantizerFastScan", _FAST_SCAN),
    "NPRf": _refused("IndexIVFProductResidualQuantizerFastScan", _FAST_SCAN),
    "IwLS": _opaque("IndexIVFLocalSearchQuantizer", lists=True),
    "IwRQ": _opaque("IndexIVFResidualQuantizer", lists=True),
    "IwPL": _opaque("IndexIVFProductLocalSearchQuantizer", lists=True),
    "IwPR": _opaque("IndexIVFProductResidualQuantizer", lists=True),
    "Ixrq": _opaque("IndexRaBitQ"),
    "Ixrr": _opaque("IndexRaBitQ"),
    "Iwrq": _opaque("IndexIVFRaBitQ", lists=True),
    "Iwrr": _opaque("IndexIVFRaBitQ", lists=True),
    "Ix2L": _opaque("Index2Layer"),
    "INSp": _opaque("IndexNSGPQ"),
    "INSs": _opaque("IndexNSGSQ"),
    "IxHE": _opaque("IndexLSH"),
    "IxHe": _opaque("IndexLSH"),
    "IwFd": _refused(
        "IndexIVFFlatDedup",
        "it keeps one vector for several ids; add the vectors to an IndexIVFFlat",
    ),
    "IwSh": _refused("IndexIVFSpectralHash", _NO_VECTORS),
    "IwIQ": _refused(
        "IndexIVFIndependentQuantizer",
        "its vectors can't be told from its lists; write its index_ivf to a file of its own",
    ),
    "IxLa": _refused("IndexLattice", _CODEC_ONLY),
    "IRMf": _refused("IndexRowwiseMinMax", _CODEC_ONLY),
    "IRMh": _refused("IndexRowwiseMinMaxFP16", _CODEC_ONLY),
    "Imiq": _refused("MultiIndexQuantizer", _CODEC_ONLY),
    "ImRQ": _refused("ResidualCoarseQuantizer", _CODEC_ONLY),
    "null": _refused(
        "no index",
        "it was written without its storage (IO_FLAG_SKIP_STORAGE); give the file that has it",
    ),
}

BINARY_KINDS: dict[str, Kind] = {
    "IBxF": Kind("IndexBinaryFlat", "flat"),
    "IBwF": Kind("IndexBinaryIVF", "ivf_flat"),
    "IBHf": Kind("IndexBinaryHNSW", "hnsw"),
    "IBMp": Kind("IndexBinaryIDMap", "id_map"),
    "IBM2": Kind("IndexBinaryIDMap2", "id_map"),
    "IBHm": Kind("IndexBinaryMultiHash", "multi_hash"),
    "IBHh": _refused(
        "IndexBinaryHash", "its vectors lie by their hashes; add them to an IndexBinaryFlat"
    ),
    "IBFf": _refused("IndexBinaryFromFloat", "it holds floats; write its inner index instead"),
}

METRICS = {0: "IP", 1: "L2"}
"""Faiss' numbers of the metrics that Milvus has too."""

OTHER_METRICS = {
    2: "L1",
    3: "Linf",
    4: "Lp",
    20: "Canberra",
    21: "BrayCurtis",
    22: "JensenShannon",
    23: "Jaccard",
    24: "NaNEuclidean",
    25: "GOWER",
}


@dataclass(frozen=True)
class Codec:
    """How a vector's numbers lie in the file.

    Attributes:
        element: numpy's dtype of one number; for `bits` of eight dimensions.
        note: what the user should know of it.
    """

    name: str
    element: str
    note: str = ""

    def width(self, dim: int) -> int:
        """Bytes of a vector."""
        return dim // 8 if self.name == "bits" else dim * int(self.element[-1])


FLOAT32 = Codec("float32", "<f4")
BITS = Codec("bits", "|u1")
FLOAT16 = Codec("float16", "<f2", "the index holds float16 numbers; they are carried as they are")
BFLOAT16 = Codec(
    "bfloat16", "<u2", "the index holds bfloat16 numbers; they are carried as they are"
)
UINT8 = Codec(
    "uint8", "|u1", "the index holds integers from 0 to 255; they are carried as they are"
)
INT8 = Codec(
    "int8", "|u1", "the index holds integers from -128 to 127; they are carried as they are"
)

CODECS = {codec.name: codec for codec in (FLOAT32, BITS, FLOAT16, BFLOAT16, UINT8, INT8)}

SQ_CODECS = {4: FLOAT16, 7: BFLOAT16, 5: UINT8, 8: INT8}
"""Scalar quantisers that hold numbers, by Faiss' qtype; the others hold codes."""
