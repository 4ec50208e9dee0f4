"""A stand-in for a Milvus 2.6 server or a Zilliz Cloud cluster, for the REST import way.

No Milvus server from 2.4 on can run on the build machines, so this answers in its place: the
import calls of REST as the public references describe them (see `contract`), and for everything
else Milvus Lite's own gRPC service. It shows that a client keeps to the contract; it does not show
that a real server does.

    from tests.emulators.rest_import import RestImportServer

    with RestImportServer(tmp_path) as server:
        client = MilvusClient(uri=server.grpc_address, token=server.token)
        ...
        bulk_import(url=server.rest_url, api_key=server.token, collection_name="c",
                    files=[["c/1.parquet"]])
"""

from .config import Answer, Faults, Zilliz
from .contract import IDEMPOTENCY_HEADER, MAX_FILE_GROUPS
from .jobs import Group, Job
from .server import RestImportServer
from .storage import LocalStorage, S3Storage, Storage

__all__ = [
    "IDEMPOTENCY_HEADER",
    "MAX_FILE_GROUPS",
    "Answer",
    "Faults",
    "Group",
    "Job",
    "LocalStorage",
    "RestImportServer",
    "S3Storage",
    "Storage",
    "Zilliz",
]
