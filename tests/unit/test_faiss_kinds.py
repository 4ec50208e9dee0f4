"""Every kind of Faiss index, made by the real Faiss: contents bit for bit, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.sources.faiss import transforms
from samples.faiss_indexes import IndexSpec, write_faiss, write_index
from tests.unit.faiss_reading import Read, source_of

ROWS, DIM = 700, 16


def floats(rows: int = ROWS, dim: int = DIM, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def read(folder: Path, chunk_bytes: int = 1 << 30, **params: Any) -> Read:
    return Read(source_of(folder, **params), chunk_bytes)


EXACT = [
    "Flat",
    "IVF8,Flat",
    "IVF500,Flat",
    "IVF8_HNSW8,Flat",
    "HNSW8,Flat",
    "NSG8,Flat",
    "Flat,Refine(Flat)",
    "PQ4x4,RFlat",
    "SQ8,RFlat",
    "IVF8,PQ4x4,RFlat",
    "IVF8,Flat,RFlat",
    # Read by Faiss, in its child process, and as exact.
    "IVF16(RCQ2x2),Flat",
]


@pytest.mark.parametrize(
    ("factory", "index_type", "params"),
    [
        ("Flat", "FLAT", {}),
        ("IVF8,Flat", "IVF_FLAT", {"nlist": 8}),
        ("IVF8_HNSW8,Flat", "IVF_FLAT", {"nlist": 8}),
        ("HNSW12", "HNSW", {"M": 12, "efConstruction": 40}),
        ("RR16,IVF4,Flat", "IVF_FLAT", {"nlist": 4}),
        ("IVF8,SQ8", "IVF_SQ8", {"nlist": 8}),
        ("IVF8,PQ4x4np", "IVF_PQ", {"nlist": 8, "m": 4, "nbits": 4}),
        ("HNSW32_SQ8", "HNSW", {"M": 32, "efConstruction": 40}),
        ("NSG8,Flat", None, "IndexNSGFlat > IndexFlatL2"),
        ("PQ4x4,RFlat", None, "IndexRefine > IndexFlatL2"),
        ("IVF8,SQfp16", None, "IndexIVFScalarQuantizer"),
        ("LSH", None, "IndexLSH"),
        ("PQ4x4", None, "IndexPQ"),
    ],
)
def test_how_the_index_is_searched(tmp_path, factory, index_type, params):
    write_index(tmp_path / "songs.index", floats(), factory, "L2")
    [collection] = source_of(tmp_path, allow_lossy=True).describe()
    [vector] = collection.collection_schema.vectors
    if index_type is None:
        assert (vector.index, vector.unlike_index) == (None, params)
    else:
        assert vector.index == {"index_type": index_type, "params": params}
        assert vector.unlike_index == ""


def test_how_a_binary_index_is_searched(tmp_path):
    for factory, index in (
        ("BFlat", {"index_type": "BIN_FLAT", "params": {}}),
        ("BIVF4", {"index_type": "BIN_IVF_FLAT", "params": {"nlist": 4}}),
        ("BHNSW8", None),
    ):
        folder = tmp_path / factory
        folder.mkdir()
        made = faiss.index_binary_factory(16, factory)
        bits = np.random.default_rng(1).integers(0, 256, (200, 2), dtype=np.uint8)
        made.train(bits)
        made.add(bits)
        faiss.write_index_binary(made, str(folder / "songs.index"))
        [collection] = source_of(folder).describe()
        [vector] = collection.collection_schema.vectors
        assert vector.index == index
        assert bool(vector.unlike_index) == (index is None)


CASES = [(factory, metric) for factory in EXACT for metric in ("L2", "IP")]
# Faiss has these for L2 only.
CASES += [(factory, "L2") for factory in ("IVF8,FlatPanorama4", "HNSW8,FlatPanorama")]


@pytest.mark.parametrize(("factory", "metric"), CASES)
def test_exact_kinds_come_bit_for_bit(tmp_path: Path, factory: str, metric: str) -> None:
    vectors = floats()
    write_index(tmp_path / "songs.index", vectors, factory, metric)
    got = read(tmp_path, chunk_bytes=200 * 4 * DIM)
    assert len(got.chunks) > 1
    assert got.ids.tolist() == sorted(got.ids) if "IVF" not in factory else True
    assert sorted(got.ids) == list(range(ROWS))
    assert got.vectors().tobytes() == vectors.tobytes()
    [vector] = got.schema.vectors
    assert (vector.type, vector.dim, vector.metric_type) == (DataType.FLOAT_VECTOR, DIM, metric)


@pytest.mark.parametrize(
    "factory", ["IDMap,Flat", "IDMap2,Flat", "IDMap,HNSW8,Flat", "IVF8,Flat", "IDMap,SQfp16"]
)
def test_ids_of_the_index_come_along_negative_and_extreme_ones_too(
    tmp_path: Path, factory: str
) -> None:
    vectors = floats().astype(np.float16).astype(np.float32)
    ids = np.arange(ROWS, dtype=np.int64) * 31 - 5_000
    ids[:4] = [-(1 << 63), (1 << 63) - 2, 1 << 40, -7]
    write_index(tmp_path / "songs.index", vectors, factory, ids=ids)
    got = read(tmp_path, chunk_bytes=10_000)
    assert sorted(got.ids.tolist()) == sorted(ids.tolist())
    held = got.vectors("<f2" if "fp16" in factory else "<f4").astype(np.float32)
    assert held.tobytes() == vectors[np.argsort(ids)].tobytes()


@pytest.mark.parametrize("kind", [faiss.IndexNNDescentFlat, faiss.IndexHNSWCagra])
def test_graphs_over_flat_vectors(tmp_path: Path, kind: Any) -> None:
    vectors = floats()
    index = kind(DIM, 32)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    assert read(tmp_path).vectors().tobytes() == vectors.tobytes()


@pytest.mark.parametrize("code", [b"IvFL", b"IvFl"])
def test_inverted_lists_as_old_versions_wrote_them(tmp_path: Path, code: bytes) -> None:
    """Ids stood before the vectors; no Faiss writes it any more, so it is put together here."""
    vectors = floats()
    path = tmp_path / "songs.index"
    write_index(path, vectors, "IVF4,Flat")
    index = faiss.read_index(str(path))
    data = path.read_bytes()
    head = data[4 : data.index(b"ilar") - 9]  # without the empty direct map
    ids, codes = [], []
    for number in range(4):
        size = index.invlists.list_size(number)
        ids.append(faiss.rev_swig_ptr(index.invlists.get_ids(number), size).tobytes())
        some = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * DIM * 4).tobytes()
        codes.append((len(some) // (4 if code == b"IvFl" else 1), some))
    with path.open("wb") as file:
        file.write(code + head)
        for some in ids:
            file.write((len(some) // 8).to_bytes(8, "little") + some)
        file.write(bytes(9))
        for count, some in codes:
            file.write(count.to_bytes(8, "little") + some)
    got = read(tmp_path)
    assert "IndexIVFFlat" in got.notes
    assert got.vectors().tobytes() == vectors.tobytes()


def test_an_id_map_over_inverted_lists(tmp_path: Path) -> None:
    vectors, ids = floats(), np.arange(ROWS, dtype=np.int64)[::-1] * 3
    inner = faiss.index_factory(DIM, "IVF8,Flat")
    inner.train(vectors)
    index = faiss.IndexIDMap2(inner)
    index.add_with_ids(vectors, ids)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    got = read(tmp_path)
    assert got.vectors().tobytes() == vectors[np.argsort(ids)].tobytes()


@pytest.mark.parametrize(
    ("factory", "kind", "dtype"),
    [
        ("SQfp16", DataType.FLOAT16_VECTOR, "<f2"),
        ("HNSW8,SQfp16", DataType.FLOAT16_VECTOR, "<f2"),
        ("SQbf16", DataType.BFLOAT16_VECTOR, "<u2"),
    ],
)
def test_halves_come_as_they_are(tmp_path: Path, factory: str, kind: DataType, dtype: str) -> None:
    vectors = floats()
    write_index(tmp_path / "songs.index", vectors, factory)
    got = read(tmp_path)
    assert got.schema.vectors[0].type is kind
    truth = faiss.read_index(str(tmp_path / "songs.index")).reconstruct_n(0, ROWS)
    held = got.vectors(dtype)
    if kind is DataType.BFLOAT16_VECTOR:
        held = (held.astype(np.uint32) << 16).view(np.float32)
    assert held.astype(np.float32).tobytes() == truth.tobytes()
    assert "carried as they are" in got.notes


def test_inverted_lists_of_halves_without_residuals(tmp_path: Path) -> None:
    vectors = floats()
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(DIM), DIM, 8, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2, False
    )
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    got = read(tmp_path)
    index.make_direct_map()
    truth = index.reconstruct_n(0, ROWS)
    assert got.vectors("<f2").astype(np.float32).tobytes() == truth.tobytes()


@pytest.mark.parametrize(
    ("kind", "low"),
    [
        (faiss.ScalarQuantizer.QT_8bit_direct, 0),
        (faiss.ScalarQuantizer.QT_8bit_direct_signed, -128),
    ],
)
def test_integers_come_exactly(tmp_path: Path, kind: int, low: int) -> None:
    vectors = np.random.default_rng(1).integers(low, low + 256, (ROWS, DIM)).astype(np.float32)
    index = faiss.IndexScalarQuantizer(DIM, kind)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    got = read(tmp_path)
    assert got.vectors().tobytes() == vectors.tobytes()


@pytest.mark.parametrize("factory", ["RR16,Flat", "PCAR16,Flat", "RR16,HNSW8,Flat"])
def test_rotations_are_undone_but_for_rounding(tmp_path: Path, factory: str) -> None:
    vectors = floats()
    write_index(tmp_path / "songs.index", vectors, factory)
    got = read(tmp_path)
    assert np.abs(got.vectors() - vectors).max() < 1e-5
    assert "undone" in got.notes and "rounding" in got.notes


def test_a_permutation_is_undone_exactly(tmp_path: Path) -> None:
    vectors, places = floats(), np.random.default_rng(2).permutation(DIM)
    change = faiss.RemapDimensionsTransform(DIM, DIM, False)
    faiss.copy_array_to_vector(places.astype(np.int32), change.map)
    index = faiss.IndexPreTransform(change, faiss.IndexFlatL2(DIM))
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    assert read(tmp_path).vectors().tobytes() == vectors.tobytes()


def test_centering_is_undone(tmp_path: Path) -> None:
    vectors = floats() + 3
    change = faiss.CenteringTransform(DIM)
    change.train(vectors)
    index = faiss.IndexPreTransform(change, faiss.IndexFlatL2(DIM))
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    assert np.abs(read(tmp_path).vectors() - vectors).max() < 1e-5


@pytest.mark.parametrize("factory", ["BFlat", "BIVF8", "BHNSW8", "BHash2x4", "IDMap2,BFlat"])
def test_binary_kinds_come_bit_for_bit(tmp_path: Path, factory: str) -> None:
    bits = np.random.default_rng(1).integers(0, 256, (ROWS, 8), dtype=np.uint8)
    if "IDMap" in factory:
        index = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(64))
        index.add_with_ids(bits, np.arange(ROWS) * 2)
        faiss.write_index_binary(index, str(tmp_path / "songs.index"))
    else:
        write_index(tmp_path / "songs.index", bits, factory, "HAMMING")
    got = read(tmp_path, chunk_bytes=3_000)
    assert got.vectors("|u1").tobytes() == bits.tobytes()
    [vector] = got.schema.vectors
    assert (vector.type, vector.dim, vector.metric_type) == (DataType.BINARY_VECTOR, 64, "HAMMING")


LOSSY = [
    "SQ8",
    "SQ4",
    "IVF8,SQ8",
    "IVF8,SQfp16",
    "PQ4x4",
    "IVF8,PQ4x4",
    "HNSW8,SQ8",
    "RR16,IVF8,PQ4x4",
]
LOSSY += ["RQ2x4", "IVF8,PQ1+1", "PQ4x4fs", "LSH", "IVF8,RaBitQ"]


@pytest.mark.parametrize("factory", LOSSY)
def test_lossy_kinds_only_when_asked_for(tmp_path: Path, factory: str) -> None:
    vectors = floats()
    write_index(tmp_path / "songs.index", vectors, factory)
    [reason] = source_of(tmp_path).check()
    assert "allow_lossy" in reason and "near those that were added" in reason
    with pytest.raises(Refused):
        source_of(tmp_path).describe()
    got = read(tmp_path, allow_lossy=True)
    assert "lossy" in got.notes and "without the original vectors" in got.notes
    index = faiss.read_index(str(tmp_path / "songs.index"))
    if hasattr(faiss.downcast_index(index), "make_direct_map"):
        faiss.downcast_index(index).make_direct_map()
    if "RR16" in factory:
        faiss.extract_index_ivf(index).make_direct_map()
    truth = index.reconstruct_n(0, ROWS)
    if "RR16" in factory:  # both undo the rotation, in another order of adding
        assert np.abs(got.vectors() - truth).max() < 1e-5
    else:
        assert got.vectors().tobytes() == truth.tobytes()


def test_the_error_of_a_scalar_quantiser_is_told(tmp_path: Path) -> None:
    vectors = floats()
    write_index(tmp_path / "songs.index", vectors, "SQ8")
    got = read(tmp_path, allow_lossy=True)
    said = float(got.notes.split("off by up to ")[1].split(";")[0])
    # Told to three digits.
    assert np.abs(got.vectors() - vectors).max() <= said * 1.01


def test_a_normalised_index_is_lossy_and_comes_as_it_is(tmp_path: Path) -> None:
    vectors = floats()
    write_index(tmp_path / "songs.index", vectors, "L2norm,Flat", "IP")
    [reason] = source_of(tmp_path).check()
    assert "length 1" in reason and "allow_lossy" in reason
    got = read(tmp_path, allow_lossy=True)
    assert np.allclose(np.linalg.norm(got.vectors(), axis=1), 1)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("PCA8,Flat", "PCAMatrix can't be undone: it leads from 16 dimensions to 8"),
        ("PCAW16,Flat", "not orthonormal"),
        ("ITQ16,Flat", "ITQTransform can't be undone"),
        ("IVF8,FlatDedup", "IndexIVFFlatDedup: it keeps one vector for several ids"),
        ("IVF8,PQ4x4fs", "Faiss 1.15 crashes when it decodes"),
        ("IVF8,ITQ8,SH8", "IndexIVFSpectralHash"),
    ],
)
def test_what_cannot_be_moved_is_refused_by_name(tmp_path: Path, factory: str, told: str) -> None:
    try:
        write_index(tmp_path / "songs.index", floats(), factory)
    except RuntimeError:
        pytest.skip("Faiss can't make it")
    [reason] = source_of(tmp_path, allow_lossy=True).check()
    assert told in reason and "songs.index" in reason


def test_a_matrix_that_would_take_all_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(tmp_path / "songs.index", floats(), "RR16,Flat")
    monkeypatch.setattr(transforms, "_LARGEST_MATRIX", DIM - 1)
    [reason] = source_of(tmp_path).check()
    assert "its matrix of 16 dimensions is larger than the 15 that are undone here" in reason


def test_metrics_without_a_counterpart(tmp_path: Path) -> None:
    for number, name in [(faiss.METRIC_L1, "L1"), (faiss.METRIC_Jaccard, "Jaccard")]:
        index = faiss.IndexFlat(DIM, number)
        index.add(floats(3))
        faiss.write_index(index, str(tmp_path / "songs.index"))
        [reason] = source_of(tmp_path).check()
        assert f"searched by {name}, which no metric of Milvus does" in reason


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "IDMap,Flat", "HNSW8,Flat", "SQ8"])
def test_empty_indexes(tmp_path: Path, factory: str) -> None:
    index = faiss.index_factory(DIM, factory)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    source = source_of(tmp_path, allow_lossy=True)
    assert source.check() == []
    [collection] = source.describe()
    assert (collection.rows, source.cut(collection, 1 << 20)) == (0, [])


def test_a_dimension_that_milvus_does_not_take(tmp_path: Path) -> None:
    index = faiss.IndexFlatL2(32_769)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    [reason] = source_of(tmp_path).check()
    assert "dimension 32,769" in reason


def test_shards_and_replicas_cannot_be_written_by_faiss_itself(tmp_path: Path) -> None:
    """So their parts come as files: see the tests of patterns."""
    for index in (faiss.IndexShards(DIM), faiss.IndexReplicas(DIM)):
        with pytest.raises(RuntimeError, match="don't know how to serialize"):
            faiss.write_index(index, str(tmp_path / "songs.index"))


def test_a_cosine_collection_of_unit_vectors_only(tmp_path: Path) -> None:
    mapping = {"songs": {"metric_type": "COSINE"}}
    write_faiss(tmp_path, [IndexSpec("songs", 300, "IVF8,Flat", dim=DIM, unit_length=True)])
    assert len(read(tmp_path, mapping=mapping).ids) == 300
    vectors = floats(300)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[211] *= 1.01
    write_index(tmp_path / "songs.index", vectors, "Flat")
    with pytest.raises(AirliftError, match="the one with the id 211 has 1.01"):
        read(tmp_path, mapping=mapping)
    # What counts is the vector that was added, not what the transform made of it.
    vectors[211] /= 1.01
    change = faiss.CenteringTransform(DIM)
    change.train(vectors)
    index = faiss.IndexPreTransform(change, faiss.IndexFlatL2(DIM))
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "songs.index"))
    assert len(read(tmp_path, mapping=mapping).ids) == 300
