"""The few REST calls about collections that the recordings make beside those of import jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from milvus_lite.exceptions import CollectionNotFoundError, MilvusLiteError

from . import contract as C
from .engine import Engine
from .schema import TYPES, Field, of_request
from .versions import Behaviour

Body = dict[str, Any]
Headers = Mapping[str, str]

_FIRST_FIELD = 100


def check_fields(fields: tuple[Field, ...], behaviour: Behaviour) -> None:
    """Refuses fields that a server of that version does not have."""
    for field in fields:
        known = TYPES if behaviour.int8_vectors else TYPES - {"Int8Vector"}
        if field.type not in known:
            raise behaviour.refuse("data_type", type=field.type)
        if field.is_vector and field.nullable and not behaviour.nullable_vectors:
            raise behaviour.refuse("nullable_vector", type=field.type, field=field.name)


class CollectionCalls:
    """Answers them; a class of import calls has it as a base."""

    engine: Engine | None
    behaviour: Behaviour
    collection_calls: ClassVar[dict[str, str]] = {
        "collections/create": "create_collection",
        "collections/drop": "drop_collection",
        "collections/has": "has_collection",
        "collections/list": "list_collections",
        "collections/describe": "describe_collection",
        "collections/flush": "flush_collection",
        "collections/get_stats": "get_collection_stats",
        "aliases/create": "create_alias",
        "partitions/create": "create_partition",
    }

    def find_database(self, body: Body, headers: Headers) -> str:
        database = body.get("dbName") or headers.get("DB-Name") or "default"
        if not self.engine.db.has_database(database):
            raise C.RestError(C.DATABASE_NOT_FOUND, f"database not found[database={database}]")
        return database

    def find_collection(self, database: str, name: str) -> Any:
        try:
            return self.engine.collection(database, name)
        except CollectionNotFoundError:
            raise C.RestError(
                C.COLLECTION_NOT_FOUND,
                f"collection not found[database={database}][collection={name}]",
            ) from None
        except MilvusLiteError as err:
            raise C.RestError(C.INVALID_PARAMETER, str(err)) from None

    def create_collection(self, body: Body, headers: Headers) -> Any:
        database, name = self.find_database(body, headers), body["collectionName"]
        schema = of_request(body["schema"])
        check_fields(schema.fields, self.behaviour)
        with self.engine.lock:
            self.engine.db.create_collection(name, schema.to_lite(), database_name=database)
            self.engine.declare(database, name, schema.fields)
        return C.ok({})

    def drop_collection(self, body: Body, headers: Headers) -> Any:
        database, name = self.find_database(body, headers), body["collectionName"]
        with self.engine.lock:
            if self.engine.db.has_collection(name, database_name=database):
                self.engine.identity(database, name)
                self.engine.db.drop_collection(name, database_name=database)
                self.engine.forget(database, name)
        return C.ok({})

    def has_collection(self, body: Body, headers: Headers) -> Any:
        database = self.find_database(body, headers)
        name = body["collectionName"]
        return C.ok({"has": self.engine.db.has_collection(name, database_name=database)})

    def list_collections(self, body: Body, headers: Headers) -> Any:
        database = self.find_database(body, headers)
        return C.ok(self.engine.db.list_collections(database_name=database))

    def describe_collection(self, body: Body, headers: Headers) -> Any:
        database = self.find_database(body, headers)
        collection = self.find_collection(database, body["collectionName"])
        schema = self.engine.schema(database, collection.name)
        fields = [_described(number, f) for number, f in enumerate(schema.fields, _FIRST_FIELD)]
        data = {
            "aliases": [],
            "autoId": any(field.auto_id for field in schema.fields),
            "collectionID": self.engine.identity(database, collection.name),
            "collectionName": body["collectionName"],
            "consistencyLevel": "Bounded",
            "description": "",
            "enableDynamicField": schema.dynamic,
            "fields": fields,
            "functions": [],
            "indexes": [],
            "load": "LoadStateNotLoad",
            "partitionsNum": len(collection.list_partitions()),
            "properties": [{"key": k, "value": v} for k, v in self.behaviour.properties.items()],
            "shardsNum": 1,
        }
        return C.ok(data) | {"message": f"index not found[collection={collection.name}];"}

    def flush_collection(self, body: Body, headers: Headers) -> Any:
        self.find_collection(self.find_database(body, headers), body["collectionName"])
        return C.ok({})

    def get_collection_stats(self, body: Body, headers: Headers) -> Any:
        database = self.find_database(body, headers)
        collection = self.find_collection(database, body["collectionName"])
        rows = self.engine.ledger(database, collection.name).total(None)
        return C.ok({"rowCount": rows})

    def create_alias(self, body: Body, headers: Headers) -> Any:
        database = self.find_database(body, headers)
        name, alias = body["collectionName"], body["aliasName"]
        self.find_collection(database, name)
        self.engine.db.create_alias(name, alias, database_name=database)
        return C.ok({})

    def create_partition(self, body: Body, headers: Headers) -> Any:
        collection = self.find_collection(self.find_database(body, headers), body["collectionName"])
        collection.create_partition(body["partitionName"])
        return C.ok({})


def _described(number: int, field: Field) -> dict[str, Any]:
    described: dict[str, Any] = {
        "autoId": field.auto_id,
        "clusteringKey": False,
        "description": "",
        "id": number,
        "name": field.name,
        "nullable": field.nullable,
        "partitionKey": field.partition_key,
        "primaryKey": field.primary,
        "type": field.type,
    }
    params = {
        name: value
        for name in ("dim", "max_length", "max_capacity")
        if (value := getattr(field, name)) is not None
    }
    if params:
        described["params"] = [{"key": k, "value": str(v)} for k, v in params.items()]
    return described
