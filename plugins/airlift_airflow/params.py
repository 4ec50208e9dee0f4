"""A path's pydantic model as Airflow Params: the trigger form and the check of REST bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

if TYPE_CHECKING:
    from airlift.params import MigrationParams

# Keywords of a field's JSON schema that Param has a place of its own for.
_OWN_PLACE = {"default", "description"}


def airflow_params(model: type[MigrationParams]) -> dict[str, Param]:
    """One Param for each field of the model, in the sections that the model names.

    The trigger form shows sections in the order of their first field.
    """
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    fields = {name: _resolved(value, definitions) for name, value in schema["properties"].items()}
    ordered = sorted(fields, key=lambda name: _SECTIONS.index(fields[name]["section"]))
    return {name: _param(name, fields[name], name in required) for name in ordered}


_SECTIONS = ["Source", "Target", "Mapping", "Moving", "Safety"]


def _param(name: str, field: dict[str, Any], required: bool) -> Param:
    schema = {key: value for key, value in field.items() if key not in _OWN_PLACE}
    # The form shows the param's own name: it is what REST bodies and the README call it.
    schema["title"] = name
    schema["description_md"] = field.get("description", "")
    if required:
        return Param(**schema, minLength=1)
    return Param(field.get("default"), **schema)


def _resolved(value: Any, definitions: dict[str, Any]) -> Any:
    """A JSON schema with its references replaced: Airflow checks each param by itself."""
    if isinstance(value, list):
        return [_resolved(one, definitions) for one in value]
    if not isinstance(value, dict):
        return value
    value = dict(value)
    reference = value.pop("$ref", None)
    if reference:
        value = {**definitions[reference.rsplit("/", 1)[-1]], **value}
    return {key: _resolved(one, definitions) for key, one in value.items()}
