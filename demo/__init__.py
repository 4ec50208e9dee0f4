"""`make demo`: Airflow, a real Milvus and a migration on this machine."""
