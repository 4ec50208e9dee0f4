"""The path from Faiss on real servers: rows are read back from the target and compared."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airlift.errors import AirliftError, Refused
from localservers import Milvus, MilvusLite, MilvusOnS3
from samples.faiss_indexes import IndexSpec, IndexTruth, write_faiss, write_index
from tests.paths.place import (
    BIN_FLAT,
    Place,
    SourceKind,
    bucket_place,
    lite_place,
    local_place,
)
from tests.paths.truth import count

FAISS = SourceKind("faiss", write_faiss, lambda folder: {"index_url": f"{folder}/songs.index"})


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores locally."""
    with local_place(milvus, tmp_path / "faiss", FAISS) as place:
        yield place


@pytest.fixture
def in_lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """Milvus Lite."""
    with lite_place(milvus_lite, tmp_path / "faiss", FAISS) as place:
        yield place


@pytest.fixture
def in_bucket(milvus_on_s3: MilvusOnS3, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores in a bucket."""
    with bucket_place(milvus_on_s3, tmp_path / "faiss", FAISS) as place:
        yield place


def only(report: dict[str, Any]) -> dict[str, Any]:
    [collection] = report["collections"]
    return collection


def rows_of(client: Any, name: str, key: str = "id") -> dict[int, dict[str, Any]]:
    """Every row, by the test's own reading; the vector as its bytes."""
    client.load_collection(name)
    # One page holds all; those of Milvus Lite are in no order.
    page = client.query(
        name, f"{key} < 0 or {key} >= 0", ["*"], limit=4_000, consistency_level="Strong"
    )
    rows = {row[key]: dict(row) for row in page}
    assert len(rows) == len(page)
    assert count(client, name, key=key) == len(rows)
    return rows


def raw(vector: Any) -> bytes:
    """A vector's bits, as the server gave them."""
    if isinstance(vector, bytes):
        return vector
    if isinstance(vector[0], bytes):
        return bytes(vector[0])
    return np.asarray(vector, np.float32).tobytes()


def holds(client: Any, name: str, truth: IndexTruth, vectors: np.ndarray | None = None) -> None:
    """The collection holds the truth's rows, bit for bit, and no others."""
    vectors = truth.vectors if vectors is None else vectors
    rows = rows_of(client, name)
    assert rows.keys() == set(truth.ids.tolist())
    for place, key in enumerate(truth.ids.tolist()):
        assert raw(rows[key]["vector"]) == vectors[place].tobytes(), key
        for field, values in truth.scalars.items():
            assert rows[key].get(field) == values[place], (key, field)


def counts(one: dict[str, Any]) -> set[int]:
    return {one[f"rows_{step}"] for step in ("planned", "converted", "imported", "counted")}


SPECS = [
    IndexSpec("songs", 1_200, "Flat", 16),
    IndexSpec("songs", 1_200, "IVF16,Flat", 16, "IP", own_ids=True),
    IndexSpec("songs", 900, "HNSW8,Flat", 33, ids_file=True),
    IndexSpec("songs", 1_200, "IDMap,Flat", 16, own_ids=True, scalars="parquet", joined=True),
    IndexSpec("songs", 700, "IVF8,Flat", 8, scalars="jsonl", nulls=True),
    IndexSpec("songs", 800, "PQ4x4,RFlat", 16, scalars="npy"),
]


def params_of(folder: Path, spec: IndexSpec) -> dict[str, Any]:
    """The params that a spec's files need."""
    suffix = {"parquet": ".parquet", "jsonl": ".jsonl", "npy": "", "": ""}[spec.scalars]
    return {
        "index_url": f"{folder}/{spec.name}{'-*' if spec.shards > 1 else ''}.index",
        "ids_url": f"{folder}/{spec.name}_ids.npy" if spec.ids_file else "",
        "scalars_url": f"{folder}/{spec.name}{suffix}" if spec.scalars else "",
        "scalars_id_column": "song" if spec.joined else "",
    }


OWN_INDEXES: dict[str, dict[str, str]] = {
    "IVF16": {"index_type": "IVF_FLAT", "nlist": "16"},
    "HNSW8": {"index_type": "HNSW", "M": "8", "efConstruction": "40"},
    "IDMap,Flat": {"index_type": "FLAT"},
}
"""What Milvus calls them."""


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.factory} {spec.scalars}")
def test_every_row_arrives_by_bulk_insert(place: Place, spec: IndexSpec) -> None:
    truth = place.write(spec)["songs"]
    own = next((index for name, index in OWN_INDEXES.items() if name in spec.factory), None)
    index = {"index": "source"} if own else {}
    report = place.run(verify="full", **params_of(place.folder, spec), **index)
    one = only(report)
    assert counts(one) == {spec.rows}
    assert one["verification"]["fingerprint_source"] == one["verification"]["fingerprint_target"]
    holds(place.client, "songs", truth)
    [index] = place.client.list_indexes("songs")
    made = place.client.describe_index("songs", index)
    assert made["metric_type"] == spec.metric
    assert {**made, **(own or {})} == made, "not as the source's index"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.factory} {spec.scalars}")
def test_every_row_arrives_in_milvus_lite(in_lite: Place, spec: IndexSpec) -> None:
    truth = in_lite.write(spec)["songs"]
    report = in_lite.run(verify="full", **params_of(in_lite.folder, spec))
    assert counts(only(report)) == {spec.rows}
    holds(in_lite.client, "songs", truth)


def test_halves_arrive_as_what_the_target_has(place: Place, in_lite: Place) -> None:
    for target in (place, in_lite):
        truth = target.write(IndexSpec("songs", 600, "SQfp16", 16))["songs"]
        target.run(verify="full")
        # Faiss rounds ties otherwise than numpy does.
        import faiss

        held = faiss.read_index(f"{target.folder}/songs.index").reconstruct_n(0, 600)
        described = target.client.describe_collection("songs")["fields"]
        kind = next(one["type"].name for one in described if one["name"] == "vector")
        if kind == "FLOAT_VECTOR":
            holds(target.client, "songs", truth, held)
        else:
            holds(target.client, "songs", truth, held.astype(np.float16))


@pytest.mark.parametrize("factory", ["BFlat", "BIVF8", "BHNSW8"])
def test_binary_vectors(place: Place, factory: str) -> None:
    truth = place.write(IndexSpec("songs", 300, factory, 64, "HAMMING"))["songs"]
    report = place.run(verify="full", index=BIN_FLAT)
    assert counts(only(report)) == {300}
    holds(place.client, "songs", truth)


def test_shards_from_a_bucket_and_codes_that_faiss_decodes_there(in_bucket: Place) -> None:
    """The index lies in a bucket of the S3 server; what Faiss must decode is copied to a disk.

    Two of the shards, and the codes, have their inverted lists in files of their own.
    """
    spec = IndexSpec(
        "songs",
        1_500,
        "IVF8,Flat",
        16,
        shards=3,
        own_ids=True,
        scalars="parquet",
        joined=True,
        lists_on_disk=2,
    )
    truth = in_bucket.write(spec, IndexSpec("codes", 500, "IVF4,SQ8", 16, lists_on_disk=1))
    from airlift.storage import open_storage

    server = in_bucket.connections.buckets["store"]
    url = in_bucket.staging_url.replace("/staging", "/source files")
    folder = open_storage(url, server)
    for path in in_bucket.folder.iterdir():
        folder.write_bytes(path.name, path.read_bytes())
    report = in_bucket.run(
        index_url=f"{url}/songs-*.index",
        scalars_url=f"{url}/songs.parquet",
        scalars_id_column="song",
        source_conn_id="store",
        verify="full",
        chunk_mb=1,
    )
    assert counts(only(report)) == {1_500}
    holds(in_bucket.client, "songs", truth["songs"])
    in_bucket.migration_id += "codes"
    report = in_bucket.run(
        index_url=f"{url}/codes.index", source_conn_id="store", allow_lossy=True, verify="full"
    )
    notes = "\n".join(only(report)["notes"])
    assert "lossy" in notes and "off by up to" in notes
    import faiss

    index = faiss.read_index(f"{in_bucket.folder}/codes.index")
    index.make_direct_map()
    held = index.reconstruct_n(0, 500)
    holds(in_bucket.client, "codes", truth["codes"], held)


def test_files_are_copied_into_staging_when_asked(place: Place) -> None:
    spec = IndexSpec("songs", 600, "IVF4,Flat", 16, ids_file=True, scalars="npy", lists_on_disk=1)
    truth = place.write(spec)["songs"]
    place.run(copy_source="always", keep_staging=True, **params_of(place.folder, spec))
    names = {path.rpartition("/")[2] for path in place.staged()}
    assert {"songs.index", "songs.ivfdata", "songs_ids.npy"} <= names
    holds(place.client, "songs", truth)


def test_an_empty_index(place: Place) -> None:
    place.write(IndexSpec("songs", 0, "Flat", 16))
    assert counts(only(place.run(verify="full"))) == {0}


def test_new_names_and_ids_of_the_target(place: Place) -> None:
    truth = place.write(IndexSpec("songs", 400, "IVF8,Flat", 16, unit_length=True))["songs"]
    mapping = {"songs": {"target": "tunes", "metric_type": "COSINE"}}
    place.run(vector_field="embedding", primary_key="song", mapping=mapping, verify="full")
    rows = rows_of(place.client, "tunes", "song")
    assert {raw(row["embedding"]) for row in rows.values()} == {
        one.tobytes() for one in truth.vectors
    }
    [index] = place.client.list_indexes("tunes")
    assert place.client.describe_index("tunes", index)["metric_type"] == "COSINE"


def test_nothing_is_written_when_the_source_is_refused(place: Place) -> None:
    place.write(IndexSpec("songs", 400, "SQ8", 16))
    with pytest.raises(Refused, match="allow_lossy"):
        place.run()
    place.write(IndexSpec("songs", 400, "Flat", 16))
    with pytest.raises(AirliftError, match="length 1"):
        place.run(mapping={"songs": {"metric_type": "COSINE"}})
    assert not place.client.has_collection("songs")


@pytest.mark.parametrize("form", ["ids_url", "column"])
def test_keys_that_are_texts(place: Place, form: str) -> None:
    """UUIDs from an `.npy`, or from a packed CSV file beside the index."""
    vectors = np.random.default_rng(4).standard_normal((300, 8), dtype=np.float32)
    place.folder.mkdir(parents=True, exist_ok=True)
    write_index(place.folder / "songs.index", vectors, "Flat")
    keys = [str(uuid.UUID(int=n * 7919)) for n in range(300)]
    lines = "".join(f'{key},"title, {n}",{n}\n' for n, key in enumerate(keys))
    (place.folder / "songs.csv.gz").write_bytes(gzip.compress(f"uuid,title,n\n{lines}".encode()))
    np.save(place.folder / "ids.npy", np.array(keys))
    params = {"primary_key": "uuid" if form == "column" else "key"}
    if form == "ids_url":
        params["ids_url"] = f"{place.folder}/ids.npy"
    report = place.run(verify="full", scalars_url=f"{place.folder}/songs.csv.gz", **params)
    assert counts(only(report)) == {300}
    name = params["primary_key"]
    rows = place.client.query(
        "songs", filter=f'{name} != "x"', output_fields=["*"], limit=1000, consistency_level=0
    )
    assert {row[name] for row in rows} == set(keys)
    for row in rows:
        n = keys.index(row[name])
        assert (row["title"], row["n"]) == (f"title, {n}", n)
        assert np.array(row["vector"], np.float32).tobytes() == vectors[n].tobytes()


def test_texts_that_repeat_are_no_keys(place: Place) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    write_index(place.folder / "songs.index", np.eye(4, dtype=np.float32), "Flat")
    np.save(place.folder / "ids.npy", np.array(["a", "b", "a", "c"]))
    with pytest.raises(Refused, match="primary keys stand in several rows"):
        place.run(ids_url=f"{place.folder}/ids.npy")
    assert not place.client.has_collection("songs")


def test_names_of_255_characters(in_lite: Place) -> None:
    """Staging lies on a disk, whose files' names are no longer."""
    name, column = "n" * 249, "c" * 255
    index = in_lite.folder / f"{name}.index"
    in_lite.folder.mkdir(parents=True, exist_ok=True)
    write_index(index, np.eye(4, dtype=np.float32), "Flat")
    scalars = in_lite.folder / "scalars.jsonl"
    scalars.write_text("".join(f'{{"{column}": {n}, "text": "{n}"}}\n' for n in range(4)))
    target = "t" * 255
    mapping = {name: {"target": target, "exclude": ["text"]}}
    urls = {"index_url": str(index), "scalars_url": str(scalars)}
    [one] = in_lite.run(**urls, mapping=mapping, verify="full")["collections"]
    assert one["file_format"] == "parquet"
    rows = rows_of(in_lite.client, target)
    assert {key: row[column] for key, row in rows.items()} == {n: n for n in range(4)}
