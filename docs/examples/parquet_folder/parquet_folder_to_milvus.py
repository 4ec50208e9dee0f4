"""Folders of Parquet files into Milvus."""

from airlift_airflow.migration_dag import migration_dag

DOC = "Each folder of Parquet files becomes a collection; `primary_key` names the column of keys."
TITLE = "Parquet files into Milvus or Zilliz Cloud, every row verified"

dag = migration_dag("parquet_folder_to_milvus", "parquet_folder", TITLE, DOC)
