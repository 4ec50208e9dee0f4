"""Fields and functions of a new collection, as pymilvus wants them."""

from __future__ import annotations

from typing import Any

from airlift.milvus.scalar_slots import SCALAR_SLOTS
from airlift.schema import Field, Function


def field_arguments(field: Field) -> dict[str, Any]:
    """What pymilvus' add_field takes."""
    from pymilvus import DataType as MilvusType

    arguments: dict[str, Any] = {
        "field_name": field.name,
        "datatype": MilvusType[field.type.value],
        "description": field.description,
    }
    if field.dim:
        arguments["dim"] = field.dim
    if field.max_length:
        arguments["max_length"] = field.max_length
    if field.element_type:
        arguments["element_type"] = MilvusType[field.element_type.value]
        arguments["max_capacity"] = field.max_capacity
    if field.primary_key:
        arguments |= {"is_primary": True, "auto_id": field.auto_id}
    if field.nullable:
        arguments["nullable"] = True
    if field.default is not None:
        arguments["default_value"] = _default_message(field)
    if field.partition_key:
        arguments["is_partition_key"] = True
    if field.clustering_key:
        arguments["is_clustering_key"] = True
    return arguments | field.params


def function_of(function: Function) -> Any:
    """A function as pymilvus has it."""
    from pymilvus import Function as MilvusFunction
    from pymilvus import FunctionType

    return MilvusFunction(
        name=function.name,
        function_type=FunctionType[function.type],
        input_field_names=list(function.inputs),
        output_field_names=list(function.outputs),
        description=function.description,
        params=function.params,
    )


def _default_message(field: Field) -> Any:
    """A default value as the server wants it; pymilvus would send every integer as an INT64."""
    from pymilvus.grpc_gen import schema_pb2

    return schema_pb2.ValueField(**{SCALAR_SLOTS[field.type]: field.default})
