"""A path's pydantic model as Airflow Params: the trigger form and the check of REST bodies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

# Keywords of a field's JSON schema that Param has a place of its own for.
_OWN_PLACE = {"default", "description"}


def airflow_params(
    model: type[BaseModel], values: Mapping[str, Any] | None = None
) -> dict[str, Param]:
    """One Param for each field of the model, in the sections that the model names.

    The trigger form shows sections in the order of their first field.

    Args:
        values: what the form shows, and a run without params takes, instead of the model's default.
    """
    given = {name: {"default": value} for name, value in (values or {}).items()}
    return {name: Param(**{**form, **given.get(name, {})}) for name, form in _forms(model).items()}


@cache
def _forms(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The arguments of each Param."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    fields = {name: _resolved(value, definitions) for name, value in schema["properties"].items()}
    ordered = sorted(fields, key=lambda name: _SECTIONS.index(fields[name]["section"]))
    return {name: _form(name, fields[name], name in required) for name in ordered}


_SECTIONS = ["Source", "Target", "Mapping", "Moving", "Safety"]


def _form(name: str, field: dict[str, Any], required: bool) -> dict[str, Any]:
    schema = {key: value for key, value in field.items() if key not in _OWN_PLACE}
    # The form shows the param's own name: it is what REST bodies and the README call it.
    schema["title"] = name
    # As plain text: the form draws Markdown's code so large that it hides the lines around it.
    description = field.get("description", "").replace("`", "")
    if schema.get("type") == "array":
        schema.pop("examples", None)  # the form would let one choose among them, and nothing else
    if required:
        return {"description": description, "minLength": 1, **schema}
    default = field.get("default")
    return {"default": default, "description": description, **_may_be_empty(schema)}


def _may_be_empty(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a param that has a default, so that the form does not insist on it.

    To the form everything is required that may not be null; null then means the default.
    """
    schema = dict(schema)
    # Several types in a list make a field that takes text or JSON; with anyOf it takes only text.
    kinds = [one["type"] for one in schema.pop("anyOf", [schema]) if one["type"] != "null"]
    if len(kinds) > 1:
        schema.pop("examples", None)
    schema["type"] = [*kinds, "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
        schema["values_display"] = {"null": "(default)"}
    return schema


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
