"""A Milvus server: connecting, what it can do, its collections and rows. Light: see `rows`."""
