"""The collections of a database: make, look at, index, load, alias and drop them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus import loading
from airlift.milvus.client import ServerVersion, close, connect, explaining, server_version
from airlift.milvus.descriptions import MARK
from airlift.milvus.errors import RateLimited
from airlift.milvus.new_collection import field_arguments, function_of
from airlift.params import IndexParams
from airlift.schema import CollectionSchema, Field

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")

_RATE_LIMIT_SECONDS = 300.0


class MilvusDatabase:
    """One database of a server.

    Args:
        connection: where it is.
        database: its name; empty for the connection's.
    """

    def __init__(self, connection: MilvusConnection, database: str = "") -> None:
        self.connection = connection
        self.database = database or connection.database
        self._client: MilvusClient | None = None
        self._refreshing: set[str] = set()

    @property
    def client(self) -> MilvusClient:
        """The client, connected when first asked for."""
        if self._client is None:
            self._client = connect(self.connection, self.database)
        return self._client

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._client is not None:
            close(self._client)
            self._client = None

    def explaining(self, action: str) -> AbstractContextManager[None]:
        """Turns what pymilvus raises into an AirliftError that says what was being done."""
        return explaining(action)

    def repeating(self, action: str, method: Callable[[], T]) -> T:
        """Calls what pymilvus does not repeat by itself, again while a rate limit refuses it."""
        attempts = Retrying(
            retry=retry_if_exception_type(RateLimited),
            wait=wait_exponential_jitter(multiplier=0.1, max=10),
            stop=stop_after_delay(_RATE_LIMIT_SECONDS),
            reraise=True,
        )
        result: T = attempts(self.call, action, method)
        return result

    def call(self, action: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls a client's method; its failure says what was being done."""
        with self.explaining(action):
            return method(*args, **kwargs)

    def version(self) -> ServerVersion:
        """What the server says it is."""
        return server_version(self.client, self.connection)

    def exists(self, name: str) -> bool:
        """Whether a collection (or an alias) of that name exists."""
        found: bool = self.call(f"look for {name!r}", self.client.has_collection, name)
        return found

    def describe(self, name: str) -> dict[str, Any]:
        """The server's own description of a collection."""
        described: dict[str, Any] = self.call(
            f"describe {name!r}", self.client.describe_collection, name
        )
        return described

    def stored_rows(self, name: str) -> int:
        """About how many rows are stored, loaded or not; deleted ones are among them."""
        action = f"look at the statistics of {name!r}"
        return int(self.call(action, self.client.get_collection_stats, name)["row_count"])

    def collection_id(self, name: str) -> str:
        """The id of a collection; one that is dropped and made anew gets another.

        Empty where the server numbers none (Milvus Lite says 0).
        """
        return str(self.describe(name).get("collection_id") or "")

    def mark(self, name: str) -> str:
        """What a migration has marked a collection with when it made it; "" without."""
        properties = self.describe(name).get("properties") or {}
        return str(properties.get(MARK, ""))

    def create(self, schema: CollectionSchema, mark: str = "") -> None:
        """Makes a collection and its partitions; partitions that are there already stay.

        Args:
            mark: what a new collection is told from any other by; see `mark`.
        """
        if not self.exists(schema.name):
            made = self.client.create_schema(
                auto_id=schema.primary_key.auto_id,
                enable_dynamic_field=bool(schema.dynamic_field),
                description=schema.description,
            )
            for field in schema.fields:
                if field.is_dynamic:
                    continue  # the server makes it by itself
                made.add_field(**field_arguments(field))
            for function in schema.functions:
                made.add_function(function_of(function))
            self.call(
                f"make the collection {schema.name!r}",
                self.client.create_collection,
                schema.name,
                schema=made,
                num_shards=schema.shards,
                consistency_level=schema.consistency_level,
                num_partitions=schema.num_partitions or None,
                properties=schema.properties | ({MARK: mark} if mark else {}) or None,
            )
        held = set(self.partitions(schema.name))
        for partition in schema.partitions:
            if partition not in held:
                action = f"make the partition {partition!r} of {schema.name!r}"
                self.call(action, self.client.create_partition, schema.name, partition)

    def partitions(self, name: str) -> list[str]:
        """Names of the partitions, `_default` among them."""
        held: list[str] = self.call(
            f"list the partitions of {name!r}", self.client.list_partitions, name
        )
        return held

    def collections(self) -> list[str]:
        """Names of the collections."""
        held: list[str] = self.call("list the collections", self.client.list_collections)
        return held

    def aliases(self, name: str) -> list[str]:
        """The aliases of a collection."""
        if self.version().kind == "lite":  # which does not describe them
            told = self.call(f"list the aliases of {name!r}", self.client.list_aliases, name)
            return list(told["aliases"])
        # 2.3.5's list_aliases looks in the default database only, and 2.2 has none.
        return list(self.describe(name).get("aliases") or ())

    def indexes(self, name: str) -> list[dict[str, Any]]:
        """What the server tells of each index; a JSON field may have several."""
        names = self.call(f"list the indexes of {name!r}", self.client.list_indexes, name)
        action = f"look at the indexes of {name!r}"
        told = [self.call(action, self.client.describe_index, name, index) for index in names]
        return [dict(one) for one in told if one]

    def drop(self, name: str) -> None:
        """Drops a collection and its rows."""
        self.call(f"drop {name!r}", self.client.drop_collection, name)

    def databases(self) -> list[str]:
        """Names of the databases."""
        held: list[str] = self.call("list the databases", self.client.list_databases)
        return held

    def create_database(self, name: str) -> None:
        """Makes a database."""
        self.call(f"make the database {name!r}", self.client.create_database, name)

    def create_index(self, name: str, field: Field, index: IndexParams) -> None:
        """Begins to build an index on a field; one that is there already stays."""
        if self.call(f"look at indexes of {name!r}", self.client.list_indexes, name, field.name):
            return
        params = self.client.prepare_index_params()
        metric = {"metric_type": field.metric} if field.is_vector else {}
        params.add_index(field.name, index_type=index.index_type, params=index.params, **metric)
        action = f"index the field {field.name!r} of {name!r}"
        self.call(action, self.client.create_index, name, params, sync=False)

    def index_state(self, name: str, field: Field) -> tuple[str, int, int]:
        """State, rows indexed and rows to index of a field's index."""
        action = f"look at the index of {name!r}"
        # Versions name it differently where nobody has.
        names = self.call(action, self.client.list_indexes, name, field.name)
        if not names:
            raise AirliftError(
                f"{name!r} has no index on the field {field.name!r} any more; clear the task index"
            )
        state = self.call(action, self.client.describe_index, name, names[0])
        if state.get("state") == "Failed":
            raise AirliftError(
                f"the index of {name!r}, field {field.name!r}, failed: "
                f"{state.get('index_state_fail_reason') or state}; mend that and clear the task"
            )
        return state["state"], int(state["indexed_rows"]), int(state["pending_index_rows"])

    def drop_index(self, name: str, field: str) -> None:
        """Drops a field's index, if there is one."""
        for index in self.call(f"look at {name!r}", self.client.list_indexes, name, field):
            self.call(f"drop the index of {name!r}", self.client.drop_index, name, index)

    def load(self, name: str, refresh: bool = False) -> None:
        """Starts loading a collection.

        Args:
            refresh: take up what was imported since it was loaded. Milvus does so by itself, but
                only after some time (2.3.5: 10 s or more).
        """
        # Milvus Lite sees new rows at once, and never tells that a refresh is done.
        again = refresh and self.version().kind != "lite" and self.is_loaded(name)
        if again:
            self._refreshing.add(name)
        # pymilvus' own waiting gives up after its timeout; `wait_loaded` does not.
        action = f"load {name!r}"
        self.call(action, self.client.load_collection, name, _async=True, _refresh=again)

    def is_loaded(self, name: str) -> bool:
        """Whether a collection is loaded."""
        return loading.patiently(lambda: self._loaded_percent(name)) == 100

    def unloaded_partitions(self, name: str, partitions: Iterable[str]) -> list[str]:
        """Those of a collection's partitions that are not loaded."""
        return [
            partition
            for partition in partitions
            if loading.patiently(partial(self._loaded_percent, name, partition)) < 100
        ]

    def load_partitions(self, name: str, partitions: list[str]) -> None:
        """Loads partitions beside those that are loaded, and waits until they are."""
        action = f"load the partitions {partitions} of {name!r}"
        self.call(action, self.client.load_partitions, name, partitions, _async=True)
        for partition in partitions:
            loading.wait_loaded(name, partial(self._loaded_percent, name, partition))

    def release_partitions(self, name: str, partitions: list[str]) -> None:
        """Unloads partitions; the others stay."""
        action = f"release the partitions {partitions} of {name!r}"
        self.call(action, self.client.release_partitions, name, partitions)

    def wait_loaded(self, name: str) -> None:
        """Waits until a collection is loaded, and what was imported since is; see `loading`."""
        loading.wait_loaded(name, lambda: self._loaded_percent(name))
        if name in self._refreshing:
            loading.wait_loaded(name, lambda: self._refreshed_percent(name))
            self._refreshing.discard(name)

    def _loaded_percent(self, name: str, partition: str = "") -> int:
        """How far a collection is loaded (a part of its partitions is enough), or a partition."""
        action = f"look at the load state of {name!r}"
        state = self.call(action, self.client.get_load_state, name, partition)
        if str(getattr(state["state"], "name", state["state"])) == "Loaded":
            return 100
        # There may be a moment between the last percent and the state.
        return min(int(state.get("progress", 0)), 99)

    def _refreshed_percent(self, name: str) -> int:
        percent: int = self.call(
            f"look at the load state of {name!r}",
            self.client._get_connection().get_loading_progress,
            name,
            is_refresh=True,
            context=self.client._generate_call_context(),
        )
        return percent

    def release(self, name: str) -> None:
        """Unloads a collection."""
        self.call(f"release {name!r}", self.client.release_collection, name)

    def alias_target(self, alias: str) -> str | None:
        """The collection that an alias points to; None when there is no such alias."""
        found = self.found_by(alias)
        return found if found != alias else None

    def found_by(self, name: str) -> str | None:
        """The collection that a name or an alias finds; None when it finds none."""
        if not self.exists(name):
            return None
        # describe_collection follows aliases and tells the collection's own name.
        described: str = self.describe(name)["collection_name"]
        return described

    def point_alias(self, alias: str, name: str) -> None:
        """Lets an alias point to a collection, making or moving it."""
        current = self.alias_target(alias)
        if current == name:
            return
        method = self.client.alter_alias if current else self.client.create_alias
        self.call(f"point the alias {alias!r} to {name!r}", method, name, alias)
