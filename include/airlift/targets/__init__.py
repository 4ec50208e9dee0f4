"""Everything that knows Milvus. The package itself is light; `ways`, `rows`, `columns` are not."""
