"""A running Milvus into another Milvus or Zilliz Cloud."""

from airlift_airflow.migration_dag import migration_dag

DOC = """
### Milvus → Milvus

Moves collections of a running Milvus (2.2 or newer), Zilliz Cloud or a Milvus Lite file into
another Milvus or Zilliz Cloud, and proves that every row arrived: fields, partitions, the dynamic
field, properties and aliases come along.

**You need** two connections of type `milvus`. Then press *Trigger* and fill in:

| param | for example |
| --- | --- |
| `source_conn_id` | `milvus_source` |
| `collections` | `songs`, `books_*` (one on each line); all without |
| `staging_url` | `s3://milvus-bucket/staging`: the bucket that the target Milvus itself uses |
| `target_conn_id` | `milvus_default` |

Try `dry_run` first: it checks everything, plans, tries a part of the rows, and writes a report of
what it would take, but nothing to the target.

**What to know.** Rows are read in the order of their primary keys, so of rows that share one only
one can be had: they are counted, and refused unless `on_duplicate_id` says otherwise. A collection
that is written to meanwhile is told in the report, or refused with `source_lock`. A collection that
is not loaded is loaded to be read, and released again.

**When something fails**, the task's log says what, where, and what to do. Mend it and *clear* the
failed task, or trigger again with the same `migration_id`: what is done is not done again, and no
row is doubled.
"""

dag = migration_dag(
    dag_id="milvus_to_milvus",
    source="milvus",
    description="A running Milvus into another Milvus or Zilliz Cloud, every row verified",
    doc_md=DOC,
)
