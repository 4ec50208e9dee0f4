"""Faiss index files into Milvus 2.x, 3.x or Zilliz Cloud."""

from airlift_airflow.migration_dag import migration_dag

DOC = """
### Faiss index files → Milvus

Moves a Faiss index, with its ids and the fields beside it, into a running Milvus, and proves that
every row arrived. The index is one file, or several that are shards of one collection.

**You need** a connection of type `milvus` (the target), and, where files lie in a bucket, one of
type `aws`, `google_cloud_platform` or `wasb`. Then press *Trigger* and fill in:

| param | for example |
| --- | --- |
| `index_url` | `/data/songs.index`, `s3://bucket/songs.index` or `s3://bucket/songs/part-*.index` |
| `ids_url` | empty, or `/data/songs_ids.npy` |
| `scalars_url` | empty, or `/data/songs.parquet` (also `.jsonl`, or a folder of `.npy`) |
| `staging_url` | `s3://milvus-bucket/staging`: the bucket that the target Milvus itself uses |
| `target_conn_id` | `milvus_default` |

Try `dry_run` first: it checks everything, plans, tries a part of the rows, and writes a report of
what it would take, but nothing to the target.

**What happens**

1. `check` connects to both ends, reads how the files begin, and tells every reason why it could not
   work.
2. `export_meta` describes the collection; `copy_source` copies files where workers could not see
   them.
3. `plan` looks for ids that repeat or are missing, and cuts the rows into chunks.
4. `convert` reads every vector, checks it, and writes chunk files to staging.
5. `create` makes the collection. Nothing was written to the target before this.
6. `bulk_insert` lets the target import the files; `index` and `load` make them searchable.
7. `verify` counts and compares; `publish` moves the alias and writes the report.
8. `clean_staging` removes the chunk files once all is well.

Flat, IVFFlat, HNSWFlat, IDMap, refined, float16 and binary indexes arrive bit for bit; quantised
ones (PQ, SQ8, …) only with `allow_lossy`.

**When something fails**, the task's log says what, where, and what to do. Mend it and *clear* the
failed task, or trigger again with the same `migration_id`: what is done is not done again, and no
row is doubled.
"""

dag = migration_dag(
    dag_id="faiss_to_milvus",
    source="faiss",
    description="Faiss index files into Milvus, with ids and scalar fields, every row verified",
    doc_md=DOC,
)
