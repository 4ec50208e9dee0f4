"""What a server keeps of a collection's definition, and Milvus Lite does not.

Milvus Lite forgets the number of shards, the consistency level, descriptions, the number of
partitions of a partition key, the length of an array's texts, clustering keys and mmap settings; a
server describes a collection as it was made (milvus ``proxy/task.go``, ``describeCollectionTask``).
From 2.6 on it also says a ``timezone`` (recorded: ``fixtures/rest_import``, 2.6.20).
"""

from __future__ import annotations

from typing import Any

from pymilvus.grpc_gen import milvus_pb2, schema_pb2

DEFAULT_KEYED_PARTITIONS = 16


class Definitions:
    """The requests that collections were made by, by their identity in the engine."""

    def __init__(self) -> None:
        self._requests: dict[int, tuple[Any, Any]] = {}

    def keep(self, identity: int, request: milvus_pb2.CreateCollectionRequest) -> None:
        schema = schema_pb2.CollectionSchema()
        schema.ParseFromString(request.schema)
        self._requests[identity] = (request, schema)

    def forget(self, identity: int) -> None:
        self._requests.pop(identity, None)

    def complete(
        self, identity: int, response: milvus_pb2.DescribeCollectionResponse, version: str
    ) -> None:
        """Adds to what Milvus Lite describes what a server would."""
        if identity not in self._requests:
            return
        request, schema = self._requests[identity]
        response.shards_num = request.shards_num or 1
        response.consistency_level = request.consistency_level
        response.schema.description = schema.description
        given = {field.name: field for field in schema.fields}
        for field in response.schema.fields:
            asked = given.get(field.name)
            if asked is None:
                continue
            field.description = asked.description
            field.is_clustering_key = asked.is_clustering_key
            held = {pair.key for pair in field.type_params}
            field.type_params.extend(p for p in asked.type_params if p.key not in held)
            if asked.is_partition_key:
                response.num_partitions = request.num_partitions or DEFAULT_KEYED_PARTITIONS
        described = {function.name: function for function in response.schema.functions}
        for function in schema.functions:
            if function.name in described:
                described[function.name].description = function.description
        number = tuple(int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit())
        if number >= (2, 6) and all(pair.key != "timezone" for pair in response.properties):
            response.properties.add(key="timezone", value="UTC")

    def is_keyed(self, identity: int) -> bool:
        """Whether a collection has a partition key: a server has no ``_default`` partition then."""
        _, schema = self._requests.get(identity, (None, None))
        return schema is not None and any(field.is_partition_key for field in schema.fields)
