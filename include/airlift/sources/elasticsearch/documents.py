"""The keys of documents: one field may stand in several spellings, and none may overwrite another.

To Elasticsearch `{"a.b": 1}`, `{"a": {"b": 1}}` and `{"a": [{"b": 1}]}` hold the same value of the
same field `a.b`, and a document that holds several of these has several values. A list of values
and several values are the same thing too. Where a mapping says `subobjects: false` (OpenSearch:
`disable_objects`), a dotted name is a plain key: there `time` and `time.max` can both have values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

Names = tuple[str, ...]
"""The parts of a field's full name, without dots."""

Constants = Mapping[str, Mapping[str, Any]]
"""Index -> full name of a field -> the value that all documents of the index have."""


def says_nothing(value: Any) -> bool:
    """Whether a field with that value is, to Elasticsearch, a field without a value."""
    return value is None or value == []


def merged(first: Any, second: Any) -> Any:
    """Both of two values of one field: objects key by key, others as a list. Changes neither."""
    if says_nothing(first):
        return second
    if says_nothing(second):
        return first
    if isinstance(first, dict) and isinstance(second, dict):
        both = dict(first)
        for key, value in second.items():
            both[key] = merged(both[key], value) if key in both else value
        return both
    return [*_listed(first), *_listed(second)]


def find(source: Any, names: Names) -> Any:
    """What a document holds for a field, in whatever spelling; several values as a list.

    Args:
        source: a document, or a value inside it.
        names: of the field, seen from there.

    Returns:
        The value as it stands in the document; None where there is none.
    """
    values = _values(source, names)
    if len(values) > 1:
        values = [item for value in values for item in _listed(value) if item is not None]
        return values[0] if len(values) == 1 else values or None
    return values[0] if values else None


def _values(source: Any, names: Names) -> list[Any]:
    if isinstance(source, list):
        return [value for item in source for value in _values(item, names)]
    if not isinstance(source, dict):
        return []
    values: list[Any] = []
    for length in range(1, len(names) + 1):
        key = ".".join(names[:length])
        if key not in source:
            continue
        values += [source[key]] if length == len(names) else _values(source[key], names[length:])
    return values


def without(value: Any, fields: Sequence[Names]) -> Any:
    """The value less those fields, in whatever spelling they stand in it."""
    if not fields:
        return value
    if isinstance(value, list):
        return [without(item, fields) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        parts = tuple(key.split("."))
        below = [names[len(parts) :] for names in fields if names[: len(parts)] == parts]
        if () not in below:
            kept[key] = without(inner, below)
    return kept


class Documents:
    """Brings the documents of a collection into the form that its columns are read from.

    Args:
        known: top-level fields that have a column or are left out on purpose. Where the document
            itself has no subobjects, their names may have dots.
        flat: full names of objects that have no subobjects; "" is the document itself.
        whole: those of `known` whose values may be objects.
        constants: values that stand in the mappings of the indices, not in documents.
    """

    def __init__(
        self,
        known: Iterable[str],
        flat: Collection[str] = (),
        whole: Collection[str] = (),
        constants: Constants | None = None,
    ) -> None:
        self._known = frozenset(known)
        self._flat = frozenset(flat)
        self._whole = frozenset(whole)
        self._constants = {
            index: [
                (tuple(name.split(".")), self._nested(name, value)) for name, value in of.items()
            ]
            for index, of in (constants or {}).items()
            if of
        }
        self._leads_on = {
            name[:at] for name in self._known for at, sign in enumerate(name) if sign == "."
        }

    def normal(self, source: dict[str, Any], index: str = "") -> dict[str, Any]:
        """A document in that form: the document itself where nothing has to be changed.

        Args:
            source: its `_source`.
            index: that it is of.
        """
        if "" in self._flat:
            source = self._flattened(source)
        elif not self._known.issuperset(source):
            source = self._expanded(source)
        for names, constant in self._constants.get(index, ()):
            if says_nothing(find(source, names)):
                source = merged(source, constant)
        return source

    def _expanded(self, source: dict[str, Any]) -> dict[str, Any]:
        """With `{"a.b": 1}` written as `{"a": {"b": 1}}` where `a` is a known field."""
        dotted = [key for key in source if "." in key and key not in self._known]
        if not dotted:
            return source
        expanded = dict(source)
        for key in dotted:
            names = key.split(".")
            if names[0] in self._known and all(names):
                [(first, value)] = self._nested(key, expanded.pop(key)).items()
                expanded[first] = merged(expanded.get(first), value)
        return expanded

    def _nested(self, name: str, value: Any) -> dict[str, Any]:
        """An object that holds the value at that full name; dotted from an object that is flat."""
        names = name.split(".")
        cut = len(names) - 1
        for length in range(len(names)):
            if ".".join(names[:length]) in self._flat:
                cut = length
                break
        nested = {".".join(names[cut:]): value}
        for part in reversed(names[:cut]):
            nested = {part: nested}
        return nested

    def _flattened(self, source: dict[str, Any]) -> dict[str, Any]:
        """With `{"a": {"b": 1}}` written as `{"a.b": 1}` where a known field begins with `a.`."""
        flattened: dict[str, Any] = {}
        for key, value in source.items():
            self._flatten(flattened, key, value)
        return flattened

    def _flatten(self, into: dict[str, Any], name: str, value: Any) -> None:
        if name in self._leads_on and name not in self._whole:
            rest = []
            for item in _listed(value):
                if isinstance(item, dict):
                    for key, inner in item.items():
                        self._flatten(into, f"{name}.{key}", inner)
                else:
                    rest.append(item)
            if len(rest) < len(_listed(value)):
                if not rest:
                    return
                value = rest
        into[name] = merged(into[name], value) if name in into else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
