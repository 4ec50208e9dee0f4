"""A stand-in for a Milvus server from 2.5 on or a Zilliz Cloud cluster, for import jobs by REST.

No Milvus server from 2.4 on can run on the build machines, so this answers in its place: the
import calls of REST, and for everything else Milvus Lite's own gRPC service. Its import calls are
compared with what real servers of 2.5.27 and 2.6.20 answered (``tests/fixtures/rest_import``); what
was not recorded is as the public references describe it (see `contract` and `versions`). It shows
that a client keeps to the contract; it does not show that a server of another version does.

    from tests.emulators.rest_import import RestImportServer

    with RestImportServer(tmp_path) as server:
        client = MilvusClient(uri=server.grpc_address, token=server.token)
        ...
        bulk_import(url=server.rest_url, api_key=server.token, collection_name="c",
                    files=[["c/1.parquet"]])
"""

from .clock import Clock, SimulatedClock
from .config import Answer, Faults, Zilliz
from .contract import IDEMPOTENCY_HEADER, MAX_FILE_GROUPS
from .jobs import Group, Job
from .server import RestImportServer
from .storage import LocalStorage, S3Storage, Storage

__all__ = [
    "IDEMPOTENCY_HEADER",
    "MAX_FILE_GROUPS",
    "Answer",
    "Clock",
    "Faults",
    "Group",
    "Job",
    "LocalStorage",
    "RestImportServer",
    "S3Storage",
    "SimulatedClock",
    "Storage",
    "Zilliz",
]
