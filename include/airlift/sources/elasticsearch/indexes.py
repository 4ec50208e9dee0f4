"""How a vector field is searched, as an index of Milvus.

Elasticsearch: `index_options` of `dense_vector`. OpenSearch: `method` of `knn_vector`, and settings
of the whole index where a field has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlift.datatypes import DataType

Index = dict[str, Any]

_LINKS = 16
_EF_CONSTRUCTION = 100
_LISTS = 4
_QUANTISED = ("int8_", "int4_", "bbq_")


def index_of(definition: Mapping[str, Any], vector: DataType) -> tuple[Index | None, str]:
    """The index of a vector field.

    Args:
        definition: the field, as the mapping has it.
        vector: the type of the vectors.

    Returns:
        It in Milvus' words, None where there is none or Milvus has no counterpart; and in the last
        case its name.
    """
    options = definition.get("index_options") or {}
    if definition.get("index") is False:
        return None, ""
    if definition.get("type") == "knn_vector":
        return _of_method(definition, vector)
    if not options and "similarity" not in definition and definition.get("index") is not True:
        return None, ""
    name = str(options.get("type") or "hnsw")
    plain = name
    for prefix in _QUANTISED:
        plain = plain.removeprefix(prefix)
    if plain == "flat":
        return _flat(vector), ""
    if plain != "hnsw" or vector is DataType.BINARY_VECTOR:
        return None, f"{name} of {vector}"
    return _hnsw(options.get("m"), options.get("ef_construction")), ""


def quantisation(definition: Mapping[str, Any]) -> str:
    """What an index keeps in place of the vectors' numbers; "" where it keeps these."""
    name = str((definition.get("index_options") or {}).get("type") or "")
    if name.startswith(_QUANTISED):
        return name
    parameters = (definition.get("method") or {}).get("parameters") or {}
    encoder = str((parameters.get("encoder") or {}).get("name") or "flat")
    return "" if encoder == "flat" else encoder


def _of_method(definition: Mapping[str, Any], vector: DataType) -> tuple[Index | None, str]:
    if definition.get("model_id"):
        return None, f"of the model {definition['model_id']}"
    method = definition.get("method") or {}
    parameters, name = method.get("parameters") or {}, str(method.get("name") or "hnsw")
    if name == "ivf":
        nlist = int(parameters.get("nlist") or _LISTS)
        is_binary = vector is DataType.BINARY_VECTOR
        index_type = "BIN_IVF_FLAT" if is_binary else "IVF_FLAT"
        return {"index_type": index_type, "params": {"nlist": nlist}}, ""
    if name == "flat":
        return _flat(vector), ""
    if name != "hnsw" or vector is DataType.BINARY_VECTOR:
        return None, f"{name} of {vector}"
    return _hnsw(parameters.get("m"), parameters.get("ef_construction")), ""


def _hnsw(links: Any, ef_construction: Any) -> Index:
    params = {"M": int(links or _LINKS), "efConstruction": int(ef_construction or _EF_CONSTRUCTION)}
    return {"index_type": "HNSW", "params": params}


def _flat(vector: DataType) -> Index:
    name = "BIN_FLAT" if vector is DataType.BINARY_VECTOR else "FLAT"
    return {"index_type": name, "params": {}}
