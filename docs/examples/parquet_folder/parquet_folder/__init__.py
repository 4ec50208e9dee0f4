"""A folder of Parquet files as a source of Milvus Airlift."""
