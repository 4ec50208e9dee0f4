"""Whole collections of Milvus 1.x, read by the source and compared with what was written."""

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.chunk import Chunk
from airlift.errors import AirliftError, Refused
from airlift.schema import SourceCollection
from airlift.sources.base import BATCH_BYTES, Source
from airlift.sources.milvus1x.params import Milvus1xParams
from airlift.sources.milvus1x.source import Milvus1xSource
from airlift.storage import open_storage
from samples.milvus1x_tables import (
    CollectionTruth,
    PartitionTruth,
    TableSpec,
    demo_tables,
    write_milvus1x,
)


def source(folder: Path, **params: Any) -> Milvus1xSource:
    given = {
        "tables_url": str(folder / "tables"),
        "meta_url": str(folder / "meta.sqlite"),
        "staging_url": str(folder / "staging"),
    }
    scratch = open_storage(str(folder / "staging" / "scratch"))
    return Milvus1xSource(Milvus1xParams(**{**given, **params}), no_connections, scratch)


no_connections: Any = None


def rows_of(reader: Source, chunks: list[Chunk]) -> dict[str, tuple[list[int], bytes]]:
    """Ids and vectors of each partition; every chunk is checked against its own words."""
    found: dict[str, tuple[list[int], bytes]] = {}
    for chunk in chunks:
        batches = list(reader.read(Chunk.model_validate_json(chunk.model_dump_json())))
        for batch in batches:
            batch.validate(full=True)
            assert batch.nbytes <= max(BATCH_BYTES, batch.nbytes // batch.num_rows)
        assert sum(batch.num_rows for batch in batches) == chunk.rows > 0
        ids, vectors = found.get(chunk.partition, ([], b""))
        for batch in batches:
            column = batch.column("vector")
            flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
            data = flat.to_numpy(zero_copy_only=False).tobytes() if len(flat) else b""
            if pa.types.is_fixed_size_binary(column.type):
                data = b"".join(column.to_pylist())
            ids, vectors = ids + batch.column("id").to_pylist(), vectors + data
        found[chunk.partition] = ids, vectors
    return found


def truth_of(truth: CollectionTruth) -> dict[str, tuple[list[int], bytes]]:
    return {
        tag: (part.ids.tolist(), part.vectors.tobytes())
        for tag, part in truth.partitions.items()
        if len(part.ids)
    }


def check(folder: Path, spec: TableSpec, chunk_bytes: int = 1 << 30, **params: Any) -> Any:
    truth = write_milvus1x(folder, [spec])[spec.name]
    reader = source(folder, **params)
    assert reader.check() == []
    [collection] = reader.describe()
    assert (collection.rows, collection.deleted) == (truth.rows, truth.deleted)
    live = {tag: len(part.ids) for tag, part in truth.partitions.items()}
    assert collection.partition_rows == live
    collection = SourceCollection.model_validate_json(collection.model_dump_json())
    chunks = source(folder, **params).cut(collection, chunk_bytes)
    assert sum(chunk.rows for chunk in chunks) == collection.live == sum(live.values())
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert rows_of(source(folder, **params), chunks) == truth_of(truth)
    return collection, chunks


BASE = TableSpec("songs", 1_000, dim=16, segments=4)


@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("metric", ["L2", "IP", "HAMMING", "JACCARD"])
@pytest.mark.parametrize("exact", [True, False])
def test_deleted_rows(tmp_path: Path, fraction: float, metric: str, exact: bool) -> None:
    spec = replace(BASE, deleted_fraction=fraction, metric=metric, exact_counts=exact)
    collection, _ = check(tmp_path, spec, chunk_bytes=5_000)
    key, vector = collection.collection_schema.fields
    assert (key.name, key.type, key.primary_key) == ("id", "INT64", True)
    assert (vector.name, vector.dim, vector.metric_type) == ("vector", 16, metric)
    assert vector.type == ("FLOAT_VECTOR" if metric in ("L2", "IP") else "BINARY_VECTOR")


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 1, "segments": 1},
        {"rows": 0, "segments": 1},
        {"segment_rows": []},
        {"segment_rows": [0, 5, 0, 0, 7, 1, 0]},
        {"rows": 2_000, "segments": 200, "deleted_fraction": 0.2},
        {"partitions": {"rock": 300, "jazz": 7, "nothing": 0}, "deleted_fraction": 0.1},
        {"rows": 0, "partitions": {"рок & roll": 30}},
        {"rows": 30_000, "dim": 128, "deleted_fraction": 0.03},
        {"rows": 9, "dim": 32_768},
        {"rows": 300_000, "dim": 8, "metric": "HAMMING", "deleted_fraction": 0.01},
    ],
)
def test_shapes(tmp_path: Path, change: dict[str, Any]) -> None:
    check(tmp_path, replace(BASE, **change), chunk_bytes=100_000)


def test_rows_from_a_meta_json(tmp_path: Path) -> None:
    truth = write_milvus1x(tmp_path, [BASE], meta_json=True)["songs"]
    reader = source(tmp_path, meta_url=f"file://{tmp_path}/meta.json")
    [collection] = reader.describe()
    assert rows_of(reader, reader.cut(collection, 1 << 20)) == truth_of(truth)


def test_the_demo_collections(tmp_path: Path) -> None:
    truth = write_milvus1x(tmp_path, demo_tables())
    reader = source(tmp_path)
    songs, prints = reader.describe()
    assert (songs.rows, songs.deleted, prints.live) == (20_000, 600, 10_000)
    assert songs.collection_schema.partitions == ("rock", "jazz")
    for collection in (songs, prints):
        chunks = reader.cut(collection, 1 << 20)
        assert rows_of(reader, chunks) == truth_of(truth[collection.name])


def test_chunks_are_of_about_equal_rows_and_the_same_again(tmp_path: Path) -> None:
    spec = replace(BASE, deleted_fraction=0.1, partitions={"rock": 55})
    collection, chunks = check(tmp_path, spec, chunk_bytes=72 * 100)
    default = [chunk.rows for chunk in chunks if not chunk.partition]
    assert len(default) == 9 and max(default) - min(default) <= 1 and max(default) <= 100
    assert any(len(chunk.read["spans"]) > 1 for chunk in chunks)
    assert all(chunk.bytes == chunk.rows * 72 for chunk in chunks)
    again = source(tmp_path).cut(collection, 72 * 100)
    assert again == chunks
    assert {c.id for c in source(tmp_path).cut(collection, 72 * 99)}.isdisjoint(
        {c.id for c in chunks}
    )


@pytest.fixture(scope="module")
def cut_me(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CollectionTruth]:
    folder = tmp_path_factory.mktemp("cut")
    spec = replace(BASE, rows=0, segment_rows=[40, 0, 1, 77], deleted_fraction=0.3)
    truth = write_milvus1x(folder, [replace(spec, partitions={"a": 33, "b": 2})])["songs"]
    return folder, truth


@settings(max_examples=60, deadline=None)
@given(chunk_bytes=st.integers(1, 20_000))
def test_any_chunk_size_gives_every_row_once(
    cut_me: tuple[Path, CollectionTruth], chunk_bytes: int
) -> None:
    folder, truth = cut_me
    reader = source(folder)
    [collection] = reader.describe()
    chunks = reader.cut(collection, chunk_bytes)
    assert rows_of(reader, chunks) == truth_of(truth)
    assert all(chunk.rows <= max(chunk_bytes // 72, 1) for chunk in chunks)


def repeated(folder: Path) -> tuple[TableSpec, CollectionTruth]:
    """100 rows over 4 segments; ids 0-9 stand in the 1st and the 3rd, and 5 also in the 4th."""
    ids = np.arange(100)
    ids[50:60] = np.arange(10)
    ids[99] = 5
    spec = replace(BASE, rows=100, ids=ids)
    return spec, write_milvus1x(folder, [spec])["songs"]


def test_repeated_ids_fail(tmp_path: Path) -> None:
    repeated(tmp_path)
    reader = source(tmp_path)
    [collection] = reader.describe()
    with pytest.raises(Refused) as refused:
        reader.cut(collection, 1 << 20)
    [reason] = refused.value.reasons
    assert "collection 'songs': 10 ids stand in several live rows (11 rows too many)" in reason
    assert "such as 0, 1, 2, 3, 4;" in reason
    assert "keep_last" in reason and "auto_id" in reason


@pytest.mark.parametrize("chunk_bytes", [72, 72 * 7, 1 << 20])
def test_repeated_ids_keep_last(tmp_path: Path, chunk_bytes: int) -> None:
    _, truth = repeated(tmp_path)
    reader = source(tmp_path, on_duplicate_id="keep_last")
    [collection] = reader.describe()
    chunks = reader.cut(collection, chunk_bytes)
    assert reader.cut(collection, chunk_bytes) == chunks
    assert (collection.rows, collection.left_out, collection.live) == (100, 11, 89)
    assert collection.partition_rows == {"": 89}
    [note] = [note for note in collection.notes if note.startswith("repeated ids")]
    assert "10 ids" in note and "11 rows are left out" in note
    last = {int(key): n for n, key in enumerate(truth.partitions[""].ids)}
    keep = sorted(last.values())
    part = truth.partitions[""]
    wanted = CollectionTruth(partitions={"": PartitionTruth(part.ids[keep], part.vectors[keep])})
    assert rows_of(source(tmp_path, on_duplicate_id="keep_last"), chunks) == truth_of(wanted)


def test_repeated_ids_keep_all(tmp_path: Path) -> None:
    _, truth = repeated(tmp_path)
    reader = source(tmp_path, on_duplicate_id="keep_all")
    [collection] = reader.describe()
    chunks = reader.cut(collection, 1 << 20)
    assert collection.live == 100 and "10 ids" in collection.notes[-1]
    assert rows_of(reader, chunks) == truth_of(truth)
    keys = np.load(tmp_path / "staging/scratch/songs/repeated_keys.npy", allow_pickle=False)
    assert keys.tolist() == list(range(10))
    assert collection.repeated_keys == "songs/repeated_keys.npy"


def test_repeated_ids_do_not_matter_when_the_target_makes_ids(tmp_path: Path) -> None:
    repeated(tmp_path)
    reader = source(tmp_path, mapping={"songs": {"auto_id": True}})
    [collection] = reader.describe()
    assert sum(chunk.rows for chunk in reader.cut(collection, 1 << 20)) == 100


def test_a_deleted_row_is_no_repeat(tmp_path: Path) -> None:
    spec = replace(BASE, rows=4, segments=2, ids=np.array([1, 2, 1, 3]))
    write_milvus1x(tmp_path, [spec])
    first = sorted((tmp_path / "tables/songs").iterdir())[0]
    (first / "deleted_docs").write_bytes((4).to_bytes(8, "little") + bytes(4))
    reader = source(tmp_path)
    [collection] = reader.describe()
    [chunk] = reader.cut(collection, 1 << 20)
    assert chunk.rows == 3


def test_ids_that_repeat_across_partitions(tmp_path: Path) -> None:
    spec = replace(BASE, rows=2, segments=1, partitions={"p": 2}, ids=np.array([1, 2, 2, 3]))
    write_milvus1x(tmp_path, [spec])
    reader = source(tmp_path, on_duplicate_id="keep_last")
    [collection] = reader.describe()
    found = rows_of(reader, reader.cut(collection, 1 << 20))
    assert {tag: ids for tag, (ids, _) in found.items()} == {"": [1], "p": [2, 3]}
    assert collection.partition_rows == {"": 1, "p": 2}


THREE = [replace(BASE, name=name, rows=5, segments=1) for name in ("songs", "albums", "artists")]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("*",), ["songs", "albums", "artists"]),
        (("a*",), ["albums", "artists"]),
        (("songs", "?lbums", "songs"), ["songs", "albums"]),
    ],
)
def test_chosen_collections(tmp_path: Path, patterns: tuple[str, ...], names: list[str]) -> None:
    write_milvus1x(tmp_path, THREE)
    found = source(tmp_path, collections=patterns).describe()
    assert [collection.name for collection in found] == names


def test_no_such_collection(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, THREE)
    reader = source(tmp_path, collections=("song", "zzz*", "albums"))
    with pytest.raises(Refused) as refused:
        reader.describe()
    assert refused.value.reasons == reader.check()
    first, second = refused.value.reasons
    assert "no collection 'song' in the source; it has songs;" in first
    assert "no collection 'zzz*'" in second and "albums, artists, songs" in second


def test_metrics(tmp_path: Path) -> None:
    names = ["TANIMOTO", "SUBSTRUCTURE", "SUPERSTRUCTURE"]
    write_milvus1x(tmp_path, [replace(BASE, name=name, metric=name) for name in names])
    reasons = source(tmp_path).check()
    assert "set allow_lossy to have JACCARD" in reasons[0]
    assert "SUBSTRUCTURE, which no metric" in reasons[1]
    assert "SUPERSTRUCTURE, which no metric" in reasons[2]
    reader = source(tmp_path, collections=("TANIMOTO",), allow_lossy=True)
    [collection] = reader.describe()
    assert collection.collection_schema.vectors[0].metric_type == "JACCARD"
    assert "other distances" in collection.notes[0]
    assert len(source(tmp_path, allow_lossy=True).check()) == 2


def edit_meta(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "meta.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("metric", "dim", "said"),
    [
        ("L2", 0, "has dimension 0; Milvus 2.x takes 1 to 32,768"),
        ("L2", 32_769, "has dimension 32,769"),
        ("JACCARD", 12, "has binary vectors of 12 bits; expected a multiple of 8"),
    ],
)
def test_dimensions(tmp_path: Path, metric: str, dim: int, said: str) -> None:
    write_milvus1x(tmp_path, [replace(BASE, metric=metric)])
    edit_meta(tmp_path, f"UPDATE Tables SET dimension = {dim} WHERE table_id = 'songs'")
    with pytest.raises(Refused, match=said):
        source(tmp_path).describe()
    assert said in source(tmp_path).check()[0]


def test_bad_files_of_several_collections_at_once(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, THREE)
    for name in ("songs", "albums"):
        [segment] = (tmp_path / "tables" / name).iterdir()
        (segment / "deleted_docs").unlink()
    edit_meta(tmp_path, "UPDATE Tables SET dimension = 0 WHERE table_id = 'artists'")
    with pytest.raises(Refused) as refused:
        source(tmp_path).describe()
    assert len(refused.value.reasons) == 3
    assert "collection 'songs': " in refused.value.reasons[0]
    assert "deleted_docs is missing" in refused.value.reasons[0]


def test_check_tells_of_missing_folders_and_files(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, [BASE])
    shutil.rmtree(tmp_path / "tables")
    [reason] = source(tmp_path).check()
    assert "tables is empty or does not exist" in reason
    (tmp_path / "meta.sqlite").unlink()
    assert "meta.sqlite: it does not exist" in source(tmp_path).check()[0]
    assert "expected the whole address" in source(tmp_path, meta_url="meta.sqlite").check()[0]


def test_a_deleted_docs_of_no_bytes_is_noted(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, [replace(BASE, segments=1)])
    [segment] = (tmp_path / "tables/songs").iterdir()
    (segment / "deleted_docs").write_bytes(b"")
    [collection] = source(tmp_path).describe()
    assert "deleted_docs of 0 bytes" in collection.notes[0]


def test_reading_from_a_copy(tmp_path: Path) -> None:
    spec = replace(BASE, deleted_fraction=0.1)
    truth = write_milvus1x(tmp_path, [spec])["songs"]
    reader = source(tmp_path)
    [collection] = reader.describe()
    copy = tmp_path / "staging" / "copy"
    for file in reader.files([collection]):
        target = copy / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "tables" / file.path, target)
        assert target.stat().st_size == file.size
    chunks = reader.cut(collection, 1 << 13)
    (tmp_path / "tables").rename(tmp_path / "gone")
    other = source(tmp_path)
    other.read_from(open_storage(str(copy)))
    assert other.cut(collection, 1 << 13) == chunks
    assert rows_of(other, chunks) == truth_of(truth)


@pytest.mark.parametrize("name", ["rv", "uid", "deleted_docs"])
@pytest.mark.parametrize("change", ["touch", "grow", "remove"])
def test_a_changed_source_is_not_read(tmp_path: Path, name: str, change: str) -> None:
    write_milvus1x(tmp_path, [replace(BASE, segments=1, deleted_fraction=0.1)])
    reader = source(tmp_path)
    [collection] = reader.describe()
    chunks = reader.cut(collection, 1 << 20)
    [path] = (tmp_path / "tables/songs").glob(f"*/*{name}")
    if change == "touch":
        os.utime(path, (1, 1))
    elif change == "grow":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.unlink()
    with pytest.raises(AirliftError, match=f"{name} was changed since the migration was planned"):
        next(reader.read(chunks[0]))
    with pytest.raises(AirliftError, match="was changed"):
        reader.cut(collection, 1 << 20)


def test_a_copy_with_other_deleted_rows_is_not_read(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, [replace(BASE, segments=1, deleted_fraction=0.1)])
    reader = source(tmp_path)
    [collection] = reader.describe()
    [path] = (tmp_path / "tables/songs").glob("*/deleted_docs")
    path.write_bytes(path.read_bytes()[:8] + bytes(path.stat().st_size - 8))
    reader.read_from(open_storage(str(tmp_path / "tables")))
    with pytest.raises(AirliftError, match="holds other deleted rows"):
        reader.cut(collection, 1 << 20)


def test_new_times_make_new_chunk_ids(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, [BASE])
    reader = source(tmp_path)
    [collection] = reader.describe()
    [before] = reader.cut(collection, 1 << 30)
    os.utime(next((tmp_path / "tables/songs").glob("*/*.rv")), (1, 1))
    [collection] = reader.describe()
    [after] = reader.cut(collection, 1 << 30)
    assert before.id != after.id


def test_a_damaged_file_of_left_out_rows(tmp_path: Path) -> None:
    repeated(tmp_path)
    reader = source(tmp_path, on_duplicate_id="keep_last")
    [collection] = reader.describe()
    [chunk] = reader.cut(collection, 1 << 20)
    for path in (tmp_path / "staging/scratch/songs/left_out").iterdir():
        np.save(path, np.array([10**6]))
    with pytest.raises(AirliftError, match="is damaged: expected row offsets"):
        list(reader.read(chunk))


def test_batches_lie_over_the_bytes_that_were_read(tmp_path: Path) -> None:
    write_milvus1x(tmp_path, [replace(BASE, rows=100_000, dim=128, keep_truth=False)])
    reader = source(tmp_path)
    [collection] = reader.describe()
    [chunk] = reader.cut(collection, 1 << 30)
    before = pa.total_allocated_bytes()
    batches = list(reader.read(chunk))
    assert pa.total_allocated_bytes() - before < 1 << 20  # Arrow made no copy
    assert len(batches) > 10
    assert batches[0].schema == collection.collection_schema.arrow
