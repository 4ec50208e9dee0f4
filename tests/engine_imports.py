"""Imports what the engine imports when it first needs it: once, for processes that are forked."""

from __future__ import annotations

import elasticsearch  # noqa: F401
import pandas  # noqa: F401
import pymilvus  # noqa: F401

import airlift.run
import airlift.sources.backup.source
import airlift.sources.elasticsearch.source
import airlift.sources.faiss.source
import airlift.sources.milvus.source
import airlift.sources.milvus1x.source  # noqa: F401
