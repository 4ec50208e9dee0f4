"""Elasticsearch and OpenSearch into Milvus 2.x, 3.x or Zilliz Cloud."""

from airlift_airflow.migration_dag import migration_dag

DOC = """
### Elasticsearch or OpenSearch → Milvus

Moves indices with their vectors into a running Milvus, and proves that every document arrived.
Documents may be written meanwhile: those of the moment when the migration began are moved.

**You need** a connection of type `elasticsearch` (the source) and one of type `milvus` (the
target); one of type `aws`, `google_cloud_platform` or `wasb` where staging lies in a bucket.
Then press *Trigger* and fill in:

| param | for example |
| --- | --- |
| `indices` | `songs`, an alias, a data stream, or a pattern such as `songs-*` |
| `source_conn_id` | `elasticsearch_default` |
| `staging_url` | `s3://milvus-bucket/staging`: the bucket that the target Milvus itself uses |
| `target_conn_id` | `milvus_default` |

Try `dry_run` first: it checks everything, plans, tries a part of the rows, and writes a report of
what it would take, but nothing to the target.

**What happens**

1. `check` connects to both ends and tells every reason why it could not work.
2. `export_meta` opens a point in time for each index, reads the mappings, and counts which fields
   are missing or have several values. `copy_source` has nothing to do.
3. `plan` cuts each index into ranges (without `_seq_no`: slices) with exactly known numbers of
   documents.
4. `convert` reads every document, checks it, and writes chunk files to staging.
5. `create` makes the collections. Nothing was written to the target before this.
6. `bulk_insert` lets the target import the files; `index` and `load` make them searchable.
7. `verify` counts and compares; `publish` moves the alias and writes the report.
8. `clean_staging` closes the points in time, and removes the chunk files once all is well. After a
   failure one of an index without `_seq_no` stays open for `keep_alive_minutes`, to be resumed.

**When something fails**, the task's log says what, where, and what to do. Mend it and *clear* the
failed task, or trigger again with the same `migration_id`: what is done is not done again, and no
row is doubled.
"""

dag = migration_dag(
    dag_id="elasticsearch_to_milvus",
    source="elasticsearch",
    description="Elasticsearch and OpenSearch indices into Milvus, every document verified",
    doc_md=DOC,
)
