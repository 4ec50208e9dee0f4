"""Folders of milvus-backup into Milvus 2.x, 3.x or Zilliz Cloud."""

from airlift_airflow.migration_dag import migration_dag

DOC = """
### milvus-backup → Milvus

Moves collections out of a folder that milvus-backup wrote into a running Milvus, without the server
that they come from, and proves that every row arrived: fields, partitions, the dynamic field,
properties and aliases come along, deleted rows don't.

**You need** a connection of type `milvus` (the target), and, where the backup lies in a bucket, one
of type `aws`, `google_cloud_platform` or `wasb`. Then press *Trigger* and fill in:

| param | for example |
| --- | --- |
| `backup_url` | `s3://bucket/backup/my_backup` or `/data/my_backup`; or `backup_yaml_url` |
| `source_conn_id` | empty for a disk, or `my_bucket` |
| `collections` | `songs`, `books_*` (one on each line); all without |
| `staging_url` | `s3://milvus-bucket/staging`: the bucket that the target Milvus itself uses |
| `target_conn_id` | `milvus_default` |

Try `dry_run` first: it checks everything, plans, tries a part of the rows, and writes a report of
what it would take, but nothing to the target.

**What to know.** Every log file must be there, as long as the metadata says. Deletes are applied as
Milvus does it; the report has the counts of the backup's own metadata beside those of the rows that
were decoded, imported and counted. What is not understood is refused by name before anything is
written.

**When something fails**, the task's log says what, where, and what to do. Mend it and *clear* the
failed task, or trigger again with the same `migration_id`: what is done is not done again, and no
row is doubled.
"""

dag = migration_dag(
    dag_id="backup_to_milvus",
    source="backup",
    description="A folder of milvus-backup into Milvus, deletes applied, every row verified",
    doc_md=DOC,
)
