"""Reading rows back from targets that treat pages differently."""

import numpy as np
import pyarrow as pa

from airlift.connections import MilvusConnection
from airlift.datatypes import DataType
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.rows import MilvusRows
from airlift.params import IndexParams
from airlift.schema import CollectionSchema, Field
from airlift.targets.insert import Insert

ROWS = 20_000  # more than Milvus gives on one page
FIELDS = (
    Field(name="id", type=DataType.INT64, primary_key=True),
    Field(name="vector", type=DataType.FLOAT_VECTOR, dim=2, metric_type="L2"),
)


def test_a_scan_gives_every_row_of_milvus_lite(milvus_lite):
    """Lite's pages are in no order: the next page by key would leave rows out."""
    schema = CollectionSchema(name="scanned", fields=FIELDS)
    target = MilvusDatabase(MilvusConnection(uri=milvus_lite.uri))
    target.create(schema)
    ids = np.random.default_rng(3).permutation(ROWS).astype(np.int64)
    vectors = np.stack([ids, -ids], axis=1).astype(np.float32)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(ids), pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 2)],
        schema=schema.arrow,
    )
    Insert(target).write_chunk(schema, "", [batch], again=False)
    target.create_index("scanned", FIELDS[1], IndexParams(index_type="FLAT"))
    target.load("scanned")
    target.wait_loaded("scanned")
    pages = list(MilvusRows(target).scan("scanned", FIELDS, FIELDS[0]))
    found = pa.Table.from_batches(pages).sort_by("id")
    assert found.equals(pa.Table.from_batches([batch]).sort_by("id"))
    target.drop("scanned")
    target.close()
