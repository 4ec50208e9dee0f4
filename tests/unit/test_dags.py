"""The DAG files: they import cleanly and lightly, and their form is the params model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airlift.params import MigrationParams
from airlift.sources.registry import params_class

ROOT = Path(__file__).resolve().parents[2]
TASKS = [
    "check",
    "export_meta",
    "copy_source",
    "plan",
    "convert",
    "create",
    "bulk_insert",
    "index",
    "load",
    "verify",
    "publish",
    "clean_staging",
]


@pytest.fixture(scope="module")
def dags(tmp_path_factory):
    """Those of `dags/`, without what somebody has declared in this checkout."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        empty = str(tmp_path_factory.mktemp("migrations"))
        patch.setenv("AIRFLOW__AIRLIFT__MIGRATIONS_FOLDER", empty)
        bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture(scope="module")
def paths(dags):
    return {name: dag for name, dag in dags.items() if name.endswith("_to_milvus")}


def test_every_dag_is_named_as_its_file(dags):
    """But for those that are made of declared migrations."""
    files = {path.stem for path in (ROOT / "dags").glob("*.py")}
    assert set(dags) == files - {"declared_migrations", "declared_migrations_errors"}


def test_every_path_has_the_same_tasks_in_the_same_order(paths):
    for dag in paths.values():
        assert [task.task_id for task in dag.topological_sort()] == TASKS
        assert dag.doc_md
        assert dag.get_task("clean_staging").is_teardown


def test_airflow_can_store_every_dag(dags):
    """The scheduler keeps them in its database, and checks each param's schema on the way."""
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags.values():
        assert DagSerialization.to_dict(dag)["dag"]["dag_id"] == dag.dag_id


def test_tasks_that_read_and_write_are_limited(paths):
    """By the DAG where nobody says that there are pools."""
    for dag in paths.values():
        for name, most in (("convert", 16), ("bulk_insert", 8)):
            task = dag.get_task(name)
            assert (task.max_active_tis_per_dag, task.pool) == (most, "default_pool")


def test_a_run_that_was_stopped_is_no_success(paths):
    """Airflow takes skipped tasks for good ones; the teardown decides instead."""
    for dag in paths.values():
        assert dag.get_task("clean_staging").on_failure_fail_dagrun


# What must be given; a path's own.
REQUIRED = {
    "backup": {"backup_url": "/b"},
    "milvus": {},
    "milvus1x": {"tables_url": "/t", "meta_url": "/m"},
    "faiss": {"index_url": "/x.index"},
    "elasticsearch": {"indices": ["songs"]},
}


@pytest.mark.parametrize("source", list(REQUIRED))
def test_the_form_has_every_param_of_the_model_with_its_default(dags, source):
    model = params_class(source)
    params = dags[f"{source}_to_milvus"].params
    assert set(params) == set(model.model_fields)
    given = {**REQUIRED[source], "staging_url": "/s"}
    defaults = json.loads(model(**given).model_dump_json())
    for name in set(params) - set(given):
        param = params.get_param(name)
        assert param.value == defaults[name], name
        assert param.schema["section"] in ("Source", "Target", "Mapping", "Moving", "Safety")
        assert param.description, name
    for name in params:
        schema = params.get_param(name).schema
        # The form would let one choose among the examples of a list, and type nothing else.
        assert "array" not in schema["type"] or "examples" not in schema, name
    assert issubclass(model, MigrationParams)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("if_exists", "overwrite"),
        ("chunk_mb", 0),
        ("migration_id", "a/b"),
        ("tables_url", ""),
        ("tables_url", "s3://key:secret@bucket/tables"),
        ("staging_url", "s3://key:secret@bucket/staging"),
        ("mapping", {"songs": {"targt": "x"}}),
        ("collections", "songs"),
    ],
)
def test_airflow_itself_refuses_wrong_params(dags, name, bad):
    from airflow.sdk.definitions.param import ParamValidationError

    with pytest.raises(ParamValidationError):
        dags["milvus1x_to_milvus"].params.get_param(name).resolve(bad)


def test_a_task_that_asks_nothing_of_the_target_imports_no_client_of_it():
    """pymilvus brings pandas along, and takes a second or two in every task."""
    code = (
        "import sys; import airlift.timing, airlift.steps.convert, airlift.steps.export_meta,"
        "airlift.steps.copy_source, airlift_airflow.opening, airlift.sources.milvus1x.source,"
        "airlift.sources.faiss.source, airlift.sources.backup.source;"
        "print(sorted({'pymilvus', 'pandas', 'grpc', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_converting_imports_no_pandas(tmp_path):
    """pyarrow imports it behind one's back, in `Array.to_numpy` and `pa.array` of a numpy array."""
    code = f"""
import sys
import pyarrow as pa
from airlift.bad_rows import find_bad_rows
from airlift.datatypes import DataType
from airlift.fingerprint import FingerprintKey
from airlift.fixed_width import int64_array
from airlift.formats import NumpyFormat
from airlift.schema import CollectionSchema, Field
from airlift.storage import open_storage
import numpy as np
fields = (Field(name="id", type=DataType.INT64, primary_key=True),
          Field(name="v", type=DataType.FLOAT_VECTOR, dim=2))
schema = CollectionSchema(name="c", fields=fields)
flat = pa.Array.from_buffers(pa.float32(), 2, [None, pa.py_buffer(np.float32([1, 2]))])
columns = [int64_array(np.array([1])), pa.FixedSizeListArray.from_arrays(flat, 2)]
batch = pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
assert find_bad_rows(batch, fields) is None
rows = FingerprintKey.draw().fingerprinter("id")
rows.add(batch.take(int64_array(np.array([0]))))
assert rows.fingerprint
writer = NumpyFormat.writer(open_storage({str(tmp_path)!r}), schema, 1)
writer.write(batch)
writer.close()
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


DAG_FILES = [
    *(f"{source}_to_milvus" for source in REQUIRED),
    "declared_migrations",
    "declared_migrations_errors",
]


@pytest.fixture(scope="module")
def heavy_imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By DAG file: what it imports that takes long, in a process of its own."""
    declared = tmp_path_factory.mktemp("migrations")
    for source, params in REQUIRED.items():
        said = {"path": f"{source}_to_milvus", "params": {**params, "staging_url": "/s"}}
        (declared / f"{source}.yaml").write_text(json.dumps(said))
    code = f"""
import importlib, json, os, sys
import airflow.sdk
before = set(sys.modules)
heavy = {{'pymilvus', 'pandas', 'grpc', 'boto3', 'sqlalchemy.dialects', 'faiss'}}
for name in {DAG_FILES}:
    if os.fork() == 0:
        module = importlib.import_module(name)
        assert name != "declared_migrations" or module.migration__milvus, "none was read"
        print(json.dumps([name, sorted(heavy & (set(sys.modules) - before))]), flush=True)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "dags",
        env={**os.environ, "AIRFLOW__AIRLIFT__MIGRATIONS_FOLDER": str(declared)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return dict(json.loads(line) for line in lines)


@pytest.mark.parametrize("name", DAG_FILES)
def test_a_dag_file_imports_no_client_of_a_server(heavy_imports, name):
    """Each of these takes longer than Airflow allows a DAG file to cost; tasks import them."""
    assert heavy_imports[name] == []
