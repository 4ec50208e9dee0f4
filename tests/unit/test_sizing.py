"""Memory on the target by the sizing tool's formulas, worked by hand; and the stated speeds."""

import pytest

from airlift.assessment.rates import IMPORT_RATES, LOAD, import_rate
from airlift.assessment.sizing import FORMULAS, UNKNOWN, Vectors, memory_bytes, storage_bytes
from airlift.milvus.capabilities import WAYS_OF_MODE
from airlift.targets.ways import IMPORT_WAYS, WRITE_WAYS

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("index_type", "row_bytes", "params", "expected"),
    [
        # A million of 768 floats is 3.072 GB.
        ("FLAT", 4 * 768, {}, 3.072e9),
        ("", 4 * 768, {}, 3.072e9),
        # The tool: (1 + 2 M / d) x vectors.
        ("HNSW", 4 * 768, {"M": 30}, 3.072e9 * (1 + 60 / 768)),
        ("HNSW", 4 * 768, {"M": 16, "efConstruction": 200}, 3.072e9 * (1 + 32 / 768)),
        ("HNSW", 4 * 768, {}, 3.312e9),
        ("AUTOINDEX", 4 * 128, {}, 0.512e9 + 8 * 18 * MILLION),
        ("IVF_FLAT", 4 * 768, {"nlist": 1024}, 3.072e9 + 1024 * 3072),
        ("IVF_SQ8", 4 * 768, {"nlist": 1024}, 0.768e9 + 1024 * 3072),
        ("IVF_RABITQ", 4 * 768, {"nlist": 1024}, 0.096e9 + 1024 * 3072),
        # 96 codes of a byte, and 128 centroids.
        ("IVF_PQ", 4 * 768, {"m": 96, "nbits": 8}, 96 * MILLION + 128 * 3072),
        ("SCANN", 4 * 768, {}, 3.456e9),
        ("SCANN", 4 * 768, {"with_raw_data": False}, 0.384e9),
        ("DISKANN", 4 * 768, {}, 0.768e9),
        # Half-precision vectors have the same links over half the bytes.
        ("HNSW", 2 * 768, {"M": 30}, 1.536e9 + 240 * MILLION),
        ("BIN_IVF_FLAT", 64, {"nlist": 128}, 64 * MILLION + 128 * 64),
        ("SPARSE_INVERTED_INDEX", 400.5, {}, 400.5e6),
    ],
)
def test_memory_of_an_index(index_type, row_bytes, params, expected):
    vectors = Vectors(MILLION, row_bytes, params)
    assert FORMULAS[index_type].memory(vectors) == pytest.approx(expected)


def test_params_that_are_no_numbers_are_as_if_not_given():
    assert FORMULAS["HNSW"].memory(Vectors(10, 4, {"M": "16"})) == 10 * 4 + 8 * 30 * 10


def test_diskann_takes_the_query_nodes_disk():
    vectors = Vectors(MILLION, 4 * 768, {})
    assert FORMULAS["DISKANN"].local_disk(vectors) == 3.072e9 * (1 + 56 / 768)
    assert FORMULAS["HNSW"].local_disk(vectors) == 0


def test_an_index_that_the_tool_does_not_know_counts_as_hnsw():
    vectors = Vectors(MILLION, 512, {})
    assert UNKNOWN.memory(vectors) == FORMULAS["HNSW"].memory(vectors)
    assert "not in the sizing tool" in UNKNOWN.text


def test_a_loaded_collection_and_its_storage():
    """A million of 768 floats under HNSW (M 30), and 100 bytes of other values a row."""
    loaded = memory_bytes(3.312e9, 100 * MILLION)
    assert loaded == pytest.approx(3.9088e9)
    assert storage_bytes(3.172e9, loaded) == pytest.approx(7.0808e9)


def test_every_way_in_has_a_stated_speed():
    ways = {way for ways in WAYS_OF_MODE.values() for way in ways}
    assert ways | IMPORT_WAYS.keys() | WRITE_WAYS.keys() <= IMPORT_RATES.keys()
    for rate in IMPORT_RATES.values():
        assert "bench/README.md" in rate.origin


def test_small_chunks_take_the_least_time_each():
    bulk = IMPORT_RATES["grpc_bulk_insert"]
    assert bulk.seconds([1000.0] * 5) == 10
    assert bulk.seconds([52e6 * 10]) == pytest.approx(10)
    assert LOAD.seconds([]) == 0


@pytest.mark.parametrize("way", ["grpc_bulk_insert", "rest_import"])
def test_json_files_are_imported_more_slowly(way):
    plain, json = import_rate(way, "parquet"), import_rate(way, "json")
    assert plain == import_rate(way, "numpy") == IMPORT_RATES[way]
    assert json.seconds([52e6 * 10]) == pytest.approx(50) and "5 times as long" in json.origin
    assert json.seconds([1000.0]) == plain.seconds([1000.0])
    # Rows that are sent in requests are only read from them.
    assert import_rate("insert", "json") == IMPORT_RATES["insert"]
