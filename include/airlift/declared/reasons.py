"""What a pydantic model has against a document, in words for who wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from airlift.declared.yaml_lines import Document, Place

Reasons = dict[Place, list[str]]
"""Place in the document -> what is wrong there."""

_CREDENTIAL = re.compile(
    r"pas{1,2}(wor[dt]|wd|phrase)|secret|token|credential|(api|access|private|account)_?key|^(ak|sk)$",
    re.I,
)


def reasons_against(model: type[BaseModel], document: Document, at: Place = ()) -> Reasons:
    """Every reason why the part of a document is not what a model expects.

    Args:
        at: where the part stands. It must be a mapping.
    """
    part = document.found(at)
    found: Reasons = {}
    try:
        # As JSON and strictly, as Airflow checks a run's params: "7" is no number here.
        model.model_validate_json(orjson.dumps(part), strict=True)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            place = _real_place(one, part)
            text = _text(one, place, model, Document(part))
            found.setdefault((*at, *place), []).append(text)
    found = _without_other_branches(found)
    needed = (name for name, field in model.model_fields.items() if field.is_required())
    for name in needed:
        if part.get(name) == "":  # the form insists on a text, the model does not
            found[(*at, name)] = ["it is needed, and empty"]
    return found


def nearest(name: str, known: Mapping[str, str]) -> str:
    """Asks whether the one that is near was meant, or tells all.

    Args:
        known: what is compared with the name -> how it is shown.
    """
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {known[close[0]]}?"
    return f"known are {', '.join(sorted(known.values()))}"


def _text(error: Any, place: Place, model: type[BaseModel], part: Document) -> str:
    kind = error["type"]
    if kind == "missing":
        return "it is needed, and missing"
    if kind == "extra_forbidden":
        name = str(place[-1])
        if _CREDENTIAL.search(name):
            return (
                "looks like a credential: those belong in an Airflow connection "
                "(`airflow connections add`), never in this file"
            )
        known = {key: key for key in _keys_at(model, place[:-1])}
        return f"there is no such key; {nearest(name, known)}"
    said = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    found = part.found(place)
    return said if kind == "value_error" and isinstance(found, dict) else said + _shown(found)


def _shown(value: Any) -> str:
    """What was found, unless it may hold a secret."""
    if isinstance(value, dict | list):
        return f"; found a {'mapping' if isinstance(value, dict) else 'list'}"
    if isinstance(value, str) and not re.fullmatch(r"[\w .*/,-]{0,40}", value):
        return ""
    return f"; found {orjson.dumps(value).decode()}" if value is not None else "; found nothing"


def _real_place(error: Any, part: Any) -> Place:
    """The place of an error without the names of a union's branches, which pydantic puts in."""
    place: list[str | int] = []
    for n, step in enumerate(error["loc"]):
        if isinstance(part, dict if isinstance(step, str) else list) and step in _keys(part):
            part = part[step]
        elif error["type"] != "missing" or n + 1 < len(error["loc"]):
            continue
        place.append(step)
    return tuple(place)


def _keys(part: Any) -> Any:
    return part if isinstance(part, dict) else range(len(part))


def _without_other_branches(found: Reasons) -> Reasons:
    """Without what is said of a mapping because it is no text, where more is said of its keys."""
    deeper = {place[:n] for place in found for n in range(len(place))}
    return {place: texts for place, texts in found.items() if place not in deeper}


def _keys_at(model: type[BaseModel], place: Place) -> set[str]:
    """The keys that a model knows at a place, by its JSON schema."""
    whole = model.model_json_schema()
    schemas = [whole]
    for step in place:
        schemas = [
            below
            for schema in _branches(schemas, whole)
            if (below := _below(schema, step)) is not None
        ]
    return {key for schema in _branches(schemas, whole) for key in schema.get("properties", {})}


def _branches(schemas: list[Any], whole: Any) -> list[Any]:
    found = []
    for schema in schemas:
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        found += _branches(schema["anyOf"], whole) if "anyOf" in schema else [schema]
    return found


def _below(schema: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return schema.get("items")
    other = schema.get("additionalProperties")
    return schema.get("properties", {}).get(step, other if isinstance(other, dict) else None)
