"""Turns the old tool's configuration into a declared migration, by what it moves from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from airlift.errors import Refused
from airlift.old_config import connecting
from airlift.old_config.asking import OldConfig
from airlift.old_config.connecting import NewConnection

_LEVELS = {one.lower(): one for one in ("Strong", "Session", "Bounded", "Eventually")}

NO_STAGING = "s3://the-bucket-of-the-target/staging"


@dataclass
class Converted:
    """What becomes of an old configuration.

    Attributes:
        path: the DAG of the path.
        params: of the path.
        connections: what to add to Airflow.
    """

    path: str
    params: dict[str, Any]
    connections: list[NewConnection] = field(default_factory=list)


def convert(config: OldConfig, name: str) -> Converted:
    """Converts a configuration.

    Args:
        name: of the migration; begins the ids of its connections.

    Raises:
        Refused: something that is needed is missing, or can't be had here.
    """
    mode = config.text("dumper.worker.workMode", needed=True).lower()
    if mode not in _MODES:
        known = ", ".join(_MODES)
        raise Refused([f"{config.name}: there is no workMode {mode}; known are {known}"])
    converted = _MODES[mode](config, name)
    _target(config, name, converted)
    return converted


def _milvus1x(config: OldConfig, name: str) -> Converted:
    made = Converted("milvus1x_to_milvus", {})
    made.params["tables_url"] = _file(config, name, made, "tablesDir")
    meta = "source.local.meta" if config.text("source.local.meta.mode") else "meta"
    mode = config.text(f"{meta}.mode").lower() or "remote"
    keys = {"mock": "mockFile", "local": "localFile", "sqlite": "sqliteFile"}
    if mode in keys:
        file = config.text(f"{meta}.{keys[mode]}", needed=True)
        made.params["meta_url"] = _local(config, file)
    elif mode == "mysql":
        url = config.text(f"{meta}.mysqlUrl") or config.text(f"{meta}.mysql.url", needed=True)
        made.params["meta_conn_id"] = f"{name}_meta"
        made.connections.append(connecting.mysql(config, url, f"{name}_meta"))
    else:
        key = config.text("meta.remoteMetaFile") or config.text("source.remote.metaFile", True)
        made.params["meta_url"] = _in_bucket(config, "source", key)
    return made


def _faiss(config: OldConfig, name: str) -> Converted:
    made = Converted("faiss_to_milvus", {})
    url = made.params["index_url"] = _file(config, name, made, "faissFile")
    key = "target.create.collection"
    shards = config.number(f"{key}.shardsNum") or config.number(f"{key}.shardsNums")
    mapped = {
        "target": config.text(f"{key}.name"),
        "shards": shards,
        "metric_type": config.text(f"{key}.metricType").upper(),
    }
    _map(made, PurePosixPath(url).stem, mapped)
    return made


def _elasticsearch(config: OldConfig, name: str) -> Converted:
    index = config.text("meta.index")
    if not index:
        raise Refused(
            [
                f"{config.name}: meta.index is needed, and missing; a file of its own "
                "(meta.mockFile) is not read: write index and fields into meta"
            ]
        )
    made = Converted("elasticsearch_to_milvus", {"indices": [index]})
    made.params["source_conn_id"] = f"{name}_source"
    made.connections.append(connecting.elasticsearch(config, f"{name}_source"))
    rows = config.number("dumper.worker.reader.bufferSize")
    if rows:
        made.params["page_rows"] = min(rows, 10_000)
    fields = [_lower(one) for one in config.items("meta.fields")]
    for one in fields:
        if one.get("pk") and one["name"] != "_id":
            made.params["primary_key"] = one["name"]
    if fields:
        config.note("meta.fields: types and dims are read from the index, as they are there")
    mapped = {"fields": list(filter(None, map(_es_field, fields)))}
    _map(made, index, {"include": _names(fields, made), **mapped, **_of_collection(config)})
    return made


def _names(fields: list[dict[str, Any]], made: Converted) -> list[str]:
    """The fields to move; the primary key is always one of them."""
    names = [str(one["name"]) for one in fields]
    key = made.params.get("primary_key", "_id")
    return names if not names or key in names else [key, *names]


def _es_field(field: dict[str, Any]) -> dict[str, Any] | None:
    """What is changed of a field: a text's length, or the type of a key that is a number."""
    changed: dict[str, Any] = {}
    if int(field.get("maxlen") or 0) > 0:
        changed["max_length"] = int(field["maxlen"])
    if field["name"] == "_id" and field.get("type") == "long":
        changed["type"] = "INT64"
    return {"source": field["name"], **changed} if changed else None


def _milvus2x(config: OldConfig, name: str) -> Converted:
    collection = config.text("meta.collection", needed=True)
    made = Converted("milvus_to_milvus", {"collections": [collection]})
    made.params["source_conn_id"] = f"{name}_source"
    made.connections.append(connecting.milvus(config, "source", f"{name}_source"))
    fields = [_lower(one) for one in config.items("meta.fields")]
    names = [str(one["name"]) for one in fields]
    _map(made, collection, {"include": names, **_of_collection(config)})
    return made


_MODES: dict[str, Callable[[OldConfig, str], Converted]] = {
    "milvus1x": _milvus1x,
    "faiss": _faiss,
    "elasticsearch": _elasticsearch,
    "milvus2x": _milvus2x,
}


def _lower(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not any(key.lower() == "name" for key in given):
        raise Refused(["meta.fields was expected to be a list of fields with a name each"])
    return {key.lower(): value for key, value in given.items()}


def _of_collection(config: OldConfig) -> dict[str, Any]:
    """What `meta.milvus` says of the collection on the target."""
    level = config.text("meta.milvus.consistencyLevel")
    if level and level.lower() not in _LEVELS:
        config.note(
            f"meta.milvus.consistencyLevel {level} is of a search, not of a collection: left out"
        )
    return {
        "target": config.text("meta.milvus.collection"),
        "dynamic_field": False if config.flag("meta.milvus.closeDynamicField") else None,
        "shards": config.number("meta.milvus.shardNum"),
        "consistency_level": _LEVELS.get(level.lower()),
        "auto_id": config.flag("meta.milvus.autoId"),
    }


def _map(made: Converted, collection: str, mapped: dict[str, Any]) -> None:
    given = {key: value for key, value in mapped.items() if value or value is False}
    if given.get("auto_id") is False:
        del given["auto_id"]
    if given:
        made.params["mapping"] = {collection: given}


def _target(config: OldConfig, name: str, made: Converted) -> None:
    mode = config.text("target.mode").lower()
    if mode == "remote":
        folder = config.text("target.remote.outputDir")
        made.params["staging_url"] = _in_bucket(config, "target", folder)
        made.params["staging_conn_id"] = f"{name}_staging"
        made.connections.append(connecting.bucket(config, "target", f"{name}_staging"))
    elif mode == "local":
        made.params["staging_url"] = _local(config, config.text("target.local.outputDir", True))
        config.note("staging_url: a bulk insert needs a folder that the target itself can read")
    else:
        made.params["staging_url"] = NO_STAGING
        config.note("staging_url: the old tool used none; name a folder in the target's bucket")
    made.params["target_conn_id"] = f"{name}_target"
    made.connections.append(connecting.milvus(config, "target", f"{name}_target"))


def _file(config: OldConfig, name: str, made: Converted, key: str) -> str:
    """A file or folder of the source; notes the connection of its bucket."""
    if config.text("source.mode").lower() != "remote":
        return _local(config, config.text(f"source.local.{key}", needed=True))
    made.params["source_conn_id"] = f"{name}_source"
    made.connections.append(connecting.bucket(config, "source", f"{name}_source"))
    return _in_bucket(config, "source", config.text(f"source.remote.{key}", needed=True))


def _in_bucket(config: OldConfig, side: str, path: str) -> str:
    bucket = config.text(f"{side}.remote.bucket", needed=True)
    return f"s3://{bucket}/{path.strip('/')}".rstrip("/")


def _local(config: OldConfig, path: str) -> str:
    if not path.startswith("/"):
        config.note(f"{path} is relative: write it as every worker sees it, from /")
    return path.rstrip("/") or path
