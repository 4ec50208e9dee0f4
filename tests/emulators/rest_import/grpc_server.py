"""Milvus Lite's gRPC servicer under another name: it answers a server's version, checks the token,
and counts the copies of a primary key as a server does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from milvus_lite.adapter.grpc.errors import success_status_kwargs, to_status_kwargs
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.exceptions import MilvusLiteError
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from .access import AccessCalls
from .collection_calls import check_fields
from .contract import RestError
from .engine import Engine
from .schema import of_message
from .versions import Behaviour

MAX_MESSAGE = 256 * 1024 * 1024


def _succeeded(response: Any) -> bool:
    status = getattr(response, "status", response)
    return status.code == 0 and status.error_code == 0


def _keys(ids: Any) -> list[Any]:
    return list(ids.int_id.data) or list(ids.str_id.data)


class Servicer(AccessCalls, MilvusServicer):
    """`version` is GetVersion's answer, `build_tags` Connect's."""

    def __init__(self, engine: Engine, version: str, build_tags: str, behaviour: Behaviour) -> None:
        AccessCalls.__init__(self)
        MilvusServicer.__init__(self, engine.db)
        self.engine, self.version, self.build_tags = engine, version, build_tags
        self.behaviour = behaviour

    def Connect(self, request, context):
        info = common_pb2.ServerInfo(
            build_tags=self.build_tags,
            build_time="Mon Jan  5 08:00:00 UTC 2026",
            git_commit="emulator",
            go_version="go version go1.24.11 linux/amd64",
            deploy_mode="STANDALONE",
        )
        return milvus_pb2.ConnectResponse(
            status=common_pb2.Status(**success_status_kwargs()), server_info=info, identifier=1
        )

    def GetVersion(self, request, context):
        return milvus_pb2.GetVersionResponse(
            status=common_pb2.Status(**success_status_kwargs()), version=self.version
        )

    def CreateCollection(self, request, context):
        """Refuses fields that servers of this version don't have."""
        schema = schema_pb2.CollectionSchema()
        schema.ParseFromString(request.schema)
        fields = tuple(of_message(field) for field in schema.fields)
        try:
            check_fields(fields, self.behaviour)
        except RestError as err:
            return common_pb2.Status(code=err.code, error_code=1, reason=err.message)
        with self.engine.lock:
            response = super().CreateCollection(request, context)
            if _succeeded(response):
                database = self._database_name(request, context)
                arrays = [field for field in fields if field.type == "Array"]
                self.engine.declare(database, request.collection_name, arrays)
                identity = self.engine.identity(database, request.collection_name)
                self.engine.definitions.keep(identity, request)
            return response

    def DescribeCollection(self, request, context):
        """A collection that is dropped and made anew has another id, which Lite leaves out."""
        response = super().DescribeCollection(request, context)
        if _succeeded(response):
            database = self._database_name(request, context)
            identity = self.engine.identity(database, response.collection_name)
            response.collectionID = identity
            self.engine.definitions.complete(identity, response, self.version)
        return response

    def ShowPartitions(self, request, context):
        response = super().ShowPartitions(request, context)
        if _succeeded(response) and "_default" in response.partition_names:
            database = self._database_name(request, context)
            identity = self.engine.identity(database, request.collection_name)
            if self.engine.definitions.is_keyed(identity):
                at = list(response.partition_names).index("_default")
                del response.partition_names[at], response.inMemory_percentages[at]
        return response

    def GetLoadingProgress(self, request, context):
        """Lite leaves out how far a refresh is, which a server tells; its rows show at once."""
        response = super().GetLoadingProgress(request, context)
        response.refresh_progress = response.progress
        return response

    def _written(self, method: Callable, request: Any, context: Any, how: str) -> Any:
        """Runs a writing call under the write lock, then tells the ledger."""
        database = self._database_name(request, context)
        with self.engine.lock:
            try:
                ledger = self.engine.ledger(database, request.collection_name)
            except MilvusLiteError:
                return method(request, context)
            response = method(request, context)
            if _succeeded(response):
                keys = _keys(response.IDs)
                if how == "remove":
                    ledger.remove(keys, request.partition_name or None)
                else:
                    getattr(ledger, how)(keys, request.partition_name or "_default")
            return response

    def Insert(self, request, context):
        return self._written(super().Insert, request, context, "add")

    def Upsert(self, request, context):
        return self._written(super().Upsert, request, context, "replace")

    def Delete(self, request, context):
        return self._written(super().Delete, request, context, "remove")

    def DropCollection(self, request, context):
        database = self._database_name(request, context)
        with self.engine.lock:
            response = super().DropCollection(request, context)
            if _succeeded(response):
                self.engine.forget(database, request.collection_name)
            return response

    def TruncateCollection(self, request, context):
        database = self._database_name(request, context)
        with self.engine.lock:
            response = super().TruncateCollection(request, context)
            if _succeeded(response):
                self.engine.forget(database, request.collection_name)
            return response

    def RenameCollection(self, request, context):
        database = self._database_name(request, context)
        with self.engine.lock:
            response = super().RenameCollection(request, context)
            if _succeeded(response):
                self.engine.renamed(database, request.oldName, request.newName)
            return response

    def DropPartition(self, request, context):
        database = self._database_name(request, context)
        with self.engine.lock:
            response = super().DropPartition(request, context)
            if _succeeded(response):
                self.engine.ledger(database, request.collection_name).drop_partition(
                    request.partition_name
                )
            return response

    def Query(self, request, context):
        if "count(*)" not in request.output_fields:
            return super().Query(request, context)
        try:
            count = self.engine.count(
                self._database_name(request, context),
                request.collection_name,
                request.expr or None,
                list(request.partition_names) or None,
            )
        except MilvusLiteError as err:
            return milvus_pb2.QueryResults(status=common_pb2.Status(**to_status_kwargs(err)))
        out = milvus_pb2.QueryResults(
            status=common_pb2.Status(**success_status_kwargs()),
            collection_name=request.collection_name,
            output_fields=["count(*)"],
        )
        field = out.fields_data.add(field_name="count(*)", type=5)
        field.scalars.long_data.data.append(count)
        return out

    def GetCollectionStatistics(self, request, context):
        return self._with_copies(
            super().GetCollectionStatistics(request, context), request, context, None
        )

    def GetPartitionStatistics(self, request, context):
        response = super().GetPartitionStatistics(request, context)
        return self._with_copies(response, request, context, [request.partition_name])

    def _with_copies(
        self, response: Any, request: Any, context: Any, partitions: list[str] | None
    ) -> Any:
        if _succeeded(response):
            ledger = self.engine.ledger(
                self._database_name(request, context), request.collection_name
            )
            for pair in response.stats:
                if pair.key == "row_count":
                    pair.value = str(ledger.total(partitions))
        return response


class TokenCheck(grpc.ServerInterceptor):
    """Refuses calls whose ``authorization`` is not the base64 of the token."""

    def __init__(self, token: str) -> None:
        self._wanted = base64.b64encode(token.encode()).decode()
        self._refuse = grpc.unary_unary_rpc_method_handler(
            lambda _, context: context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "auth check failure, please check username and password are correct",
            )
        )

    def intercept_service(self, continuation, details):
        sent = dict(details.invocation_metadata).get("authorization")
        return continuation(details) if sent == self._wanted else self._refuse


def start_grpc(servicer: Servicer, port: int, token: str | None) -> tuple[grpc.Server, int]:
    """Starts on 127.0.0.1; port 0 takes a free one."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=10, thread_name_prefix="emulator-grpc"),
        interceptors=[TokenCheck(token)] if token else [],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
        ],
    )
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port
