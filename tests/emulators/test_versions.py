"""What the emulator stores, by version, and how versions behave of which nothing was recorded."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from tests.emulators.recorded import VERSIONS
from tests.emulators.recorded_cases import CASES
from tests.emulators.recorded_files import (
    DIM,
    KEY,
    NAME,
    SIMPLE,
    VECTOR,
    Case,
    arrays,
    column,
    records,
    table,
    vectors,
)
from tests.emulators.recorded_server import ACCEPTED, JOBS, Asked
from tests.emulators.rest_import import RestImportServer, SimulatedClock

by_version = pytest.mark.parametrize("version", VERSIONS)


def rows_after(ask: Asked, name: str, case: Case) -> list[dict[str, Any]]:
    """Imports the files of a case as one group; the rows that a client reads then, by key."""
    assert ask.make(name, case) == ACCEPTED
    keys = [f"{name}/{file}" for file in case.files]
    for key, data in zip(keys, case.files.values(), strict=True):
        ask.put(key, data)
    body = {"collectionName": name, "files": [keys]}
    job = ask(f"{JOBS}create", body)["answer"]["data"]["jobId"]
    assert ask.watch(job)[-1]["answer"]["data"]["state"] == "Completed", ask.server.jobs[-1]
    with closing(MilvusClient(uri=ask.server.grpc_address, dedicated=True)) as client:
        rows = client.query(name, "id >= 0", ["*"], limit=1000)
        client.drop_collection(name)
    return sorted(rows, key=lambda row: row["id"])


# --- what is stored -------------------------------------------------------------------------


@by_version
@pytest.mark.parametrize(
    ("name", "kept"), [("empty_arrays_parquet", None), ("empty_arrays_json", [])]
)
def test_an_empty_list_in_a_nullable_array(ask: Asked, name: str, kept: list | None):
    rows = rows_after(ask, "empty_lists", CASES[name])
    for field, item in {"a": 1, "t": "x", "b": True}.items():
        assert [_list(row[field]) for row in rows] == [kept, None, [item]]


def _list(value: Any) -> list[Any] | None:
    return None if value is None else list(value)


@by_version
def test_an_empty_list_where_null_is_not_allowed_stays(ask: Asked):
    rows = rows_after(ask, "empty_lists", CASES["array_empty"])
    assert [(list(row["a"]), list(row["t"])) for row in rows] == [([], [])] * 3


@pytest.mark.parametrize("version", ["2.5.27"])
@pytest.mark.parametrize(
    ("items", "stored"),
    [([1, None], [1, 1]), ([None, 2], [0, 2]), ([3, None, None, 4], [3, 3, 3, 4]), ([5], [5])],
)
def test_null_in_an_array_is_stored_as_another_value(ask: Asked, items: list, stored: list):
    fields = (*SIMPLE, column("a", "Array", elementDataType="Int64", max_capacity=4))
    columns = {"a": pa.array([items] * 2, pa.list_(pa.int64()))}
    rows = rows_after(ask, "null_items", Case(table(2, **columns), fields))
    assert [list(row["a"]) for row in rows] == [stored] * 2


@by_version
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_a_vector_of_parquet_are_stored(ask: Asked, value: float):
    wanted = vectors(3)
    wanted[1, 2] = value
    vec = pa.array([row.tolist() for row in wanted], pa.list_(pa.float32()))
    rows = rows_after(ask, "not_finite", Case(table(3, vec=vec)))
    found = np.array([row["vec"] for row in rows], np.float32)
    assert np.array_equal(found, wanted, equal_nan=True)


@by_version
@pytest.mark.parametrize(
    ("name", "number", "wanted"),
    [
        ("f16_parquet_uint8", 0, bytes([1] * 16)),
        ("f16_npy_uint8", 1, bytes([1] * 16)),
        ("f16_json", 0, np.ones(DIM, np.float16).tobytes()),
        ("f16_parquet_nan", 1, np.full(DIM, np.nan, np.float16).tobytes()),
        ("bf16_json", 0, bytes([0x80, 0x3F] * 8)),
        ("bf16_npy_uint8", 0, bytes([1] * 16)),
        ("bin_parquet_uint8", 1, b"\x01"),
        ("bin_json", 0, b"\x01"),
    ],
)
def test_vectors_that_lite_has_not_are_kept(ask: Asked, name: str, number: int, wanted: bytes):
    rows = rows_after(ask, "other_vectors", CASES[name])
    assert base64.b64decode(rows[number]["v"]) == wanted


@pytest.mark.parametrize("version", ["2.6.20"])
@pytest.mark.parametrize("name", ["i8v_parquet_int8", "i8v_npy_int8", "i8v_json"])
def test_int8_vectors_are_kept(ask: Asked, name: str):
    wanted = [1, -2, 3, 4, 5, 6, 7, -128] if name == "i8v_parquet_int8" else [1] * 8
    rows = rows_after(ask, "other_vectors", CASES[name])
    assert np.frombuffer(base64.b64decode(rows[0]["v"]), np.int8).tolist() == wanted


@by_version
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sparse_json", [{1: 0.5, 100: 0.25}, {4294967294: 1.5}]),
        ("sparse_json_file", [{1: 0.5}, {1: 0.5}]),
        ("sparse_struct_u32_f32", [{1: 0.5, 5: 0.25}] * 2),
        ("sparse_struct_i64_f64", [{1: 0.5, 5: 0.25}] * 2),
        ("sparse_unsorted", [{3: 2.5, 9: 1.5}] * 2),
        ("sparse_json_empty", [{}, {1: 0.5}]),
    ],
)
def test_sparse_vectors_are_kept(ask: Asked, name: str, wanted: list[dict[int, float]]):
    rows = rows_after(ask, "sparse_vectors", CASES[name])
    assert [dict(row["sp"]) for row in rows] == wanted


@by_version
def test_nulls_and_defaults(ask: Asked):
    rows = rows_after(ask, "nulls", CASES["nullable_values"])
    found = [(row["name"], row["n"], row["f"], row["j"], _list(row["a"])) for row in rows]
    assert found == [
        ("a", 1, None, None, [1]),
        (None, None, 0.5, {"a": 1}, None),
        ("b", 3, None, None, None),
    ]
    rows = rows_after(ask, "defaults", CASES["default_null"])
    assert [(row["name"], row["n"]) for row in rows] == [("a", 7), ("dflt", 1), ("b", 7)]


@pytest.mark.parametrize("version", ["2.6.20"])
@pytest.mark.parametrize("files", [table(2, other=pa.array([1, 2])), records(2, other=1)])
def test_what_is_no_field_is_left_out_without_a_dynamic_field(ask: Asked, files: dict[str, bytes]):
    rows = rows_after(ask, "extra", Case(files))
    assert [set(row) for row in rows] == [{"id", "vec", "name"}] * 2


@by_version
def test_keys_of_json_go_to_the_dynamic_field(ask: Asked):
    rows = rows_after(ask, "dynamic", Case(records(2, other=[1]), dynamic=True))
    assert [row["other"] for row in rows] == [[1]] * 2


# --- versions between the recorded ones -----------------------------------------------------


@contextmanager
def asked(version: str, folder: Path) -> Iterator[Asked]:
    with RestImportServer(folder, version, token=None, clock=SimulatedClock()) as server:
        yield Asked(server, folder / "bucket")


FIXED = pa.array(vectors(2).tolist(), pa.list_(pa.float32(), DIM))


@pytest.mark.parametrize(
    ("version", "code", "nullable", "fixed", "jobs"),
    [
        ("2.4.0", 2100, False, False, 2),
        ("2.5.27", 2100, False, False, 2),
        ("2.6.4", 2100, False, False, 2),
        ("2.6.17", 2100, False, False, 2),
        ("v2.6.18-dev", 2100, True, False, 2),
        ("2.6.19", 2101, True, False, 2),
        ("2.6.20", 2101, True, True, 2),
        ("2.6.24", 2101, True, True, 1),
        ("3.0.1", 2101, True, True, 2),
        ("3.0.2", 2101, True, True, 1),
    ],
)
def test_a_version(tmp_path: Path, version: str, code: int, nullable: bool, fixed: bool, jobs: int):
    with asked(version, tmp_path) as ask:
        assert ask(f"{JOBS}describe", {"jobId": "7"})["answer"]["code"] == code
        made = ask.make("nullable", Case(fields=(KEY, VECTOR | {"nullable": True}, NAME)))
        assert (made == ACCEPTED) == nullable
        assert ask.make("c", Case()) == ACCEPTED
        ask.put("c/a.parquet", table(2, vec=FIXED)["a.parquet"])
        body = {"collectionName": "c", "files": [["c/a.parquet"]]}
        keyed = [ask(f"{JOBS}create", body, {"Idempotency-Key": "k"}) for _ in range(2)]
        ids = {answer["answer"]["data"]["jobId"] for answer in keyed}
        assert len(ids) == jobs
        last = ask.watch(ids.pop())[-1]["answer"]["data"]
        assert (last["state"] == "Completed") == fixed
        assert ("createTime" in last) == (not version.startswith(("2.4", "2.5")))


def test_an_idempotency_key_is_remembered_for_a_day(tmp_path: Path):
    with asked("2.6.24", tmp_path) as ask:
        ask.make("c", Case())
        ask.put("c/a.parquet", table(2)["a.parquet"])
        body = {"collectionName": "c", "files": [["c/a.parquet"]]}

        def create() -> str:
            answer = ask(f"{JOBS}create", body, {"Idempotency-Key": "k"})
            return answer["answer"]["data"]["jobId"]

        first = create()
        ask.server.clock.advance(24 * 3600 - 1)
        assert create() == first
        ask.server.clock.advance(2)
        assert create() != first


@pytest.mark.parametrize(("version", "said"), [("2.5.27", "not support null"), ("2.6.20", "")])
def test_a_nullable_vector_by_grpc(tmp_path: Path, version: str, said: str):
    with (
        asked(version, tmp_path) as ask,
        closing(MilvusClient(uri=ask.server.grpc_address, dedicated=True)) as client,
    ):
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM, nullable=True)
        if said:
            with pytest.raises(MilvusException, match=said):
                client.create_collection("c", schema=schema)
        else:
            client.create_collection("c", schema=schema)
        assert client.has_collection("c") == (not said)


# --- the clock ------------------------------------------------------------------------------


def test_nothing_happens_while_the_clock_stands_still(tmp_path: Path):
    with asked("2.6.20", tmp_path) as ask:
        ask.make("c", Case())
        files = arrays(3)
        for name, data in files.items():
            ask.put(f"c/{name}", data)
        body = {"collectionName": "c", "files": [[f"c/{name}" for name in files]]}
        job = ask(f"{JOBS}create", body)["answer"]["data"]["jobId"]

        def progress() -> int:
            return ask(f"{JOBS}describe", {"jobId": job})["answer"]["data"]["progress"]

        clock = ask.server.clock
        seen = [progress(), progress()]
        for seconds in (1.0, 1.0, 3.0, 5.0, 3.0, 1.5, 3.0):
            clock.advance(seconds)
            seen.append(progress())
        assert seen == [0, 0, 0, 10, 40, 70, 80, 90, 100]
        [row] = ask(f"{JOBS}list", {"collectionName": "c"})["answer"]["data"]["records"]
        assert row["state"] == "Completed" and clock.advance_to_next() is None


def test_a_job_that_hangs_and_one_that_fails_by_the_clock(tmp_path: Path):
    with asked("2.6.20", tmp_path) as ask:
        server, clock = ask.server, ask.server.clock
        server.faults.hang_job, server.faults.fail_job = {1: 60}, {2: "the disk is full"}
        ask.make("c", Case())
        ask.put("c/a.parquet", table(2)["a.parquet"])
        body = {"collectionName": "c", "files": [["c/a.parquet"]]}
        for _ in range(2):
            ask(f"{JOBS}create", body)
        clock.advance(60)
        hanging, failed = server.jobs
        assert (hanging.state, hanging.progress) == ("Importing", 60)
        assert failed.state == "Failed" and failed.reason.startswith("the disk is full")
        server.release(1)
        clock.advance(20)
        assert hanging.state == "Completed" and hanging.complete_time
        assert server.engine.ledger("default", "c").total(None) == 2
