"""Milvus 0.9-1.x files into Milvus 2.x, 3.x or Zilliz Cloud."""

from airlift_airflow.migration_dag import migration_dag

DOC = """
### Milvus 1.x files → Milvus

Moves collections of Milvus 0.9 to 1.x, read from its files, into a running Milvus, and proves that
every row arrived. Stop Milvus 1.x first, or at least all writes to it.

**You need** a connection of type `milvus` (the target), and, where files lie in a bucket, one of
type `aws`, `google_cloud_platform` or `wasb`. Then press *Trigger* and fill in:

| param | for example |
| --- | --- |
| `tables_url` | `/var/lib/milvus/db/tables` or `s3://old-milvus/db/tables` |
| `meta_url` | `/var/lib/milvus/db/meta.sqlite`, or a `meta.json`; or `meta_conn_id` for MySQL |
| `staging_url` | `s3://milvus-bucket/staging`: the bucket that the target Milvus itself uses |
| `target_conn_id` | `milvus_default` |

Try `dry_run` first: it checks everything, plans, tries a part of the rows, and writes a report of
what it would take, but nothing to the target.

**What happens**

1. `check` connects to both ends and tells every reason why it could not work.
2. `export_meta` reads the collections; `copy_source` copies files where workers could not see them.
3. `plan` cuts the collections into chunks and looks for repeated ids.
4. `convert` reads every row that is not deleted, checks it, and writes chunk files to staging.
5. `create` makes the collections. Nothing was written to the target before this.
6. `bulk_insert` lets the target import the files; `index` and `load` make them searchable.
7. `verify` counts and compares; `publish` moves the alias and writes the report.
8. `clean_staging` removes the chunk files once all is well.

**When something fails**, the task's log says what, where, and what to do. Mend it and *clear* the
failed task, or trigger again with the same `migration_id`: what is done is not done again, and no
row is doubled.
"""

dag = migration_dag(
    dag_id="milvus1x_to_milvus",
    source="milvus1x",
    description="Milvus 0.9-1.x files into Milvus, deleted rows left out, every row verified",
    doc_md=DOC,
)
