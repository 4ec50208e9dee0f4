"""Ways for rows to get into Milvus; see `ways`."""
