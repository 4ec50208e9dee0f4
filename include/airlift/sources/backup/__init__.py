"""Folders that milvus-backup wrote: their metadata, binlogs and delta logs."""
