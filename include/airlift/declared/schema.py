"""The JSON schema of declared migrations, for editors: made from the models that check them.

    python -m airlift.declared.schema > include/migrations/schema.json

Sources that are installed from elsewhere are in it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from airlift.declared.declaration import PATH_SUFFIX, Declaration
from airlift.sources.registry import params_class, sources

# Of the trigger form, or names that say nothing more than the key does.
_LEFT_OUT = {"section", "title"}


def declaration_schema(names: Iterable[str]) -> dict[str, Any]:
    """The schema of a file.

    Args:
        names: of sources, as the entry-point group `airlift.sources` names them.
    """
    models: dict[str, type[BaseModel]] = {
        name + PATH_SUFFIX: params_class(name) for name in sorted(names)
    }
    every: list[type[BaseModel]] = [Declaration, *models.values()]
    made, whole = models_json_schema([(model, "validation") for model in every])
    definitions = whole["$defs"]
    for model in every:
        _insist(model, definitions[_name(made[model, "validation"])])
    schema: dict[str, Any] = definitions.pop(_name(made[Declaration, "validation"]))
    schema["properties"]["path"]["enum"] = list(models)
    schema["allOf"] = [
        {
            "if": {"properties": {"path": {"const": path}}, "required": ["path"]},
            "then": {"properties": {"params": made[model, "validation"]}},
        }
        for path, model in models.items()
    ]
    told = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A declared migration of Milvus Airlift",
        "$comment": "made by: python -m airlift.declared.schema",
    }
    return {**told, **_tidy(schema), "$defs": {k: _tidy(v) for k, v in definitions.items()}}


def schema_text(names: Iterable[str]) -> str:
    """What stands in `schema.json`."""
    return json.dumps(declaration_schema(names), indent=1, ensure_ascii=False) + "\n"


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def _insist(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """What must be given may not be empty, as in the trigger form."""
    for name, field in model.model_fields.items():
        if field.is_required() and schema["properties"][name].get("type") == "string":
            schema["properties"][name]["minLength"] = 1


def _tidy(schema: Any, names: bool = False) -> Any:
    """Without what editors don't need; `names`: the keys are names of properties."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in ("default", "examples", "enum") else _tidy(value, key == "properties")
        for key, value in schema.items()
        if names or key not in _LEFT_OUT
    }


if __name__ == "__main__":
    print(schema_text(sources()), end="")
