"""Maps a collection's fields: choose, rename, retype, fill, move between field and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airlift.datatypes import TYPES, DataType
from airlift.json_values import SCALARS, literal
from airlift.mapping_params import CollectionMapping, FieldMapping
from airlift.names import collisions, is_valid, sanitized
from airlift.retyping import RETYPES, TEXT_BYTES
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field, Function

_KEY_TYPES = (DataType.INT64, DataType.VARCHAR)


@dataclass
class MappedFields:
    """What becomes of a collection's fields.

    Attributes:
        fields: of the target, in order.
        sources: source (a field, or `$meta.<key>`) -> target field that it is written to.
        into_dynamic: source -> the field as which it goes into the dynamic field.
        constants: target field -> its value in every row.
        defaults: target field or key -> what stands for a null.
        functions: of the target.
    """

    fields: list[Field] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    into_dynamic: dict[str, Field] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    functions: tuple[Function, ...] = ()


def target_name(what: str, source: str, given: str, reasons: list[str], notes: list[str]) -> str:
    """The target's name: the given one, which must be valid, or the source's, made valid."""
    if given:
        if not is_valid(given):
            reasons.append(
                f"{what}: the target name {given!r} is refused by Milvus; use letters, digits and "
                "_, not a digit first, at most 255 characters"
            )
        return given
    name = sanitized(source)
    if name != source:
        notes.append(f"{what} is named {name!r} on the target: Milvus refuses the original name")
    return name


def with_dynamic_last(fields: list[Field], needed: bool) -> list[Field]:
    """The fields with the dynamic field at the end, where it is among them or needed."""
    others = [one for one in fields if not one.is_dynamic]
    if needed or len(others) < len(fields):
        others.append(Field(name=DYNAMIC_FIELD, type=DataType.JSON))
    return others


class FieldMapper:
    """Maps the fields of one collection; appends to `reasons` and `notes`.

    Args:
        allow_lossy: whether values may be rounded.
    """

    def __init__(
        self,
        schema: CollectionSchema,
        mapping: CollectionMapping,
        allow_lossy: bool,
        reasons: list[str],
        notes: list[str],
    ) -> None:
        self._schema = schema
        self._mapping = mapping
        self._allow_lossy = allow_lossy
        self._reasons = reasons
        self._notes = notes
        self._what = f"collection {schema.name!r}"
        self._made = MappedFields()
        self._named: list[tuple[str, str]] = []

    def mapped(self) -> MappedFields:
        """Applies the mapping."""
        self._refuse_unknown_names()
        edits = {edit.source: edit for edit in self._mapping.fields}
        for one in self._schema.fields:
            left_out = not self._mapping.takes(one.name)
            if left_out and one.primary_key:
                self._refuse(f"the primary key {one.name!r} can't be left out; see auto_id")
            elif left_out and one.name in edits:
                self._refuse("mapping edits the field and leaves it out; do one of both", one.name)
            elif not left_out:
                self._map_field(one, edits.get(one.name, FieldMapping(source=one.name)))
        for edit in self._mapping.fields:
            if edit.source_key:
                self._promote(edit)
            elif not edit.source:
                self._add_constant(edit)
        made = self._made
        made.fields = with_dynamic_last(made.fields, bool(made.into_dynamic))
        made.functions = tuple(
            mapped for one in self._schema.functions if (mapped := self._function(one))
        )
        self._refuse_together()
        return made

    def _refuse(self, reason: str, name: str = "") -> None:
        what = f"{self._what}, field {name!r}" if name else self._what
        self._reasons.append(f"{what}: {reason}")

    def _refuse_unknown_names(self) -> None:
        known = [one.name for one in self._schema.fields]
        edited = [edit.source for edit in self._mapping.fields if edit.source]
        keys = [edit.source for edit in self._mapping.fields if edit.source_key]
        for name in (*self._mapping.include, *self._mapping.exclude, *edited):
            if name not in known and name not in keys:
                self._refuse(f"mapping names the field {name!r}; it has {known}")
        if DYNAMIC_FIELD in edited:
            self._refuse(f"the dynamic field has no edits; name a key of it: {DYNAMIC_FIELD}.<key>")
        if keys and DYNAMIC_FIELD not in known:
            self._refuse(f"mapping names {keys}, but its rows have no dynamic values")

    def _refuse_together(self) -> None:
        """What is wrong with fields that are all right one by one."""
        for target, sources in collisions(self._named):
            self._refuse(
                f"the fields {sources} would all become {target!r}; give them other targets in "
                "mapping fields, or targets such as $meta.<name>: keys of the dynamic field keep "
                "any name"
            )
        keys = [one.name for one in self._made.fields if one.partition_key]
        if len(keys) > 1:
            self._refuse(
                f"a collection has one partition key at most, these would be: {keys}; say "
                "partition_key false for the others"
            )

    def _map_field(self, one: Field, edit: FieldMapping) -> None:
        """One field of the source."""
        if one.is_dynamic:
            self._made.fields.append(one)
            self._made.sources[one.name] = one.name
            return
        if one.is_function_output:
            self._map_output(one, edit)
            return
        if one.primary_key and self._mapping.keep_key_as:
            self._keep_key(one)
        update: dict[str, object] = self._retyped(one, edit)
        if edit.description is not None:
            update["description"] = edit.description
        if edit.nullable is not None:
            update["nullable"] = edit.nullable and not one.primary_key
        if one.primary_key:
            update["auto_id"] = self._mapping.auto_id or one.auto_id
            if update.get("type", one.type) not in _KEY_TYPES:
                self._refuse("a primary key must be INT64 or VARCHAR", one.name)
        if one.is_vector and self._mapping.metric_type and not one.is_function_output:
            update["metric_type"] = self._metric(one)
        self._add(one.name, one.model_copy(update=update), edit)

    def _map_output(self, one: Field, edit: FieldMapping) -> None:
        """A field that a function makes: it can get another name, and nothing else."""
        if edit.model_fields_set - {"source", "target", "description"}:
            self._refuse("a function makes it, so it can only be renamed", one.name)
        self._add(one.name, one, FieldMapping(source=one.name, target=edit.target))

    def _function(self, one: Function) -> Function | None:
        """A function with the target's names; None when what it makes is left out."""
        names = dict(self._named)
        outputs = [names[name] for name in one.outputs if name in names]
        if not outputs:
            self._notes.append(
                f"{self._what}: the function {one.name!r} is left out, as what it makes is"
            )
            return None
        own = {name for name in one.inputs if names.get(name) == self._made.sources.get(name, "")}
        if lost := sorted({*one.inputs} - own | ({*one.outputs} - names.keys())):
            self._refuse(
                f"the function {one.name!r} needs the fields {lost}, which mapping leaves out; "
                f"leave out {list(one.outputs)} too, which it makes"
            )
        inputs = tuple(names.get(name, name) for name in one.inputs)
        return one.model_copy(update={"inputs": inputs, "outputs": tuple(outputs)})

    def _keep_key(self, one: Field) -> None:
        """The old keys, as values of a field of their own beside new ones."""
        name = self._mapping.keep_key_as
        update = {"primary_key": False, "auto_id": False, "partition_key": False}
        self._add(
            one.name, one.model_copy(update=update), FieldMapping(source=one.name, target=name)
        )

    def _metric(self, one: Field) -> str | None:
        metric, allowed = self._mapping.metric_type, TYPES[one.type].metric_types
        if metric not in allowed:
            told = ", ".join(allowed)
            self._refuse(f"metric {metric!r} is unknown; use one of {told}", one.name)
        return metric

    def _retyped(self, one: Field, edit: FieldMapping) -> dict[str, object]:
        """The changes of a field's type and limits."""
        update: dict[str, object] = {}
        kind = edit.type or one.type
        if kind is not one.type:
            self._check_retype(one, kind)
            if one.default is not None and edit.default is None:
                self._notes.append(
                    f"{self._what}, field {one.name!r}: with another type its default value "
                    f"{one.default!r} is left out; default in mapping gives it one"
                )
            update = {"type": kind, "default": None, "max_length": 0, "params": {}}
            update |= {"element_type": None, "max_capacity": 0}
            update |= {"index": None, "unlike_index": ""}
            if kind is DataType.VARCHAR:
                update["max_length"] = edit.max_length or TEXT_BYTES.get(one.type, 0)
        if edit.max_length:
            if kind is not DataType.VARCHAR and not one.holds_text:
                self._refuse(f"max_length is for VARCHAR, the field is {kind}", one.name)
            update["max_length"] = edit.max_length
        if edit.max_capacity:
            if kind is not DataType.ARRAY:
                self._refuse(f"max_capacity is for ARRAY, the field is {kind}", one.name)
            update["max_capacity"] = edit.max_capacity
        if edit.element_type and edit.element_type is not one.element_type:
            self._refuse(
                f"its items are {one.element_type or 'none: it is no ARRAY'}, they can't become "
                f"{edit.element_type}",
                one.name,
            )
        return update

    def _check_retype(self, one: Field, kind: DataType) -> None:
        retype = RETYPES.get((one.type, kind))
        if retype is None:
            can = sorted(after for before, after in RETYPES if before is one.type)
            told = f"; it can become {', '.join(can)}" if can else ""
            self._refuse(f"{one.type} can't become {kind}{told}", one.name)
        elif retype.lossy and not self._allow_lossy:
            self._refuse(
                f"as {kind} the values of {one.type} are rounded; allow it with allow_lossy",
                one.name,
            )
        elif retype.lossy:
            self._notes.append(
                f"{self._what}, field {one.name!r}: the values of {one.type} are rounded to {kind}"
            )

    def _promote(self, edit: FieldMapping) -> None:
        """A key of the dynamic field that becomes a field."""
        assert edit.type  # noqa: S101 - the params make sure of it
        item = edit.element_type if edit.type is DataType.ARRAY else edit.type
        if item not in SCALARS or (edit.element_type and item is DataType.JSON):
            self._refuse(
                f"{edit.source} can't become {edit.type} of {edit.element_type or 'nothing'}; it "
                f"can become {', '.join(sorted(SCALARS))}, or an ARRAY with an element_type"
            )
            return
        one = self._new_field(edit, edit.source_key, bool(edit.nullable))
        self._add(edit.source, one, edit)

    def _add_constant(self, edit: FieldMapping) -> None:
        """A field with the same value in every row."""
        if edit.type not in SCALARS or edit.target_key:
            self._refuse(
                f"the constant {edit.target!r} must be a field of one of the types "
                f"{', '.join(sorted(SCALARS))}, not {edit.type}"
            )
            return
        one = self._new_field(edit, edit.target, nullable=False)
        value = self._literal(one, edit.value, edit.target)
        self._add("", one, edit)
        self._made.constants[edit.target] = value

    @staticmethod
    def _new_field(edit: FieldMapping, name: str, nullable: bool) -> Field:
        return Field(
            name=name,
            type=edit.type or DataType.JSON,
            element_type=edit.element_type,
            max_length=edit.max_length or 0,
            max_capacity=edit.max_capacity or 0,
            nullable=nullable,
            description=edit.description or "",
        )

    def _literal(self, one: Field, value: Any, name: str) -> Any:
        try:
            return literal(one, value)
        except ValueError as error:
            self._refuse(str(error), name)
            return None

    def _add(self, source: str, one: Field, edit: FieldMapping) -> None:
        """Names a field of the target, gives it its options, and notes where its values go."""
        what = source or edit.target
        one = self._with_options(what, one, edit)
        if edit.target_key:
            if one.primary_key or one.is_vector or one.partition_key:
                self._refuse(f"it can't go into the dynamic field as {edit.target}", what)
            one = one.model_copy(update={"name": edit.target_key})
            self._made.into_dynamic[source] = one
        else:
            told = f"{self._what}, field {what!r}"
            name = target_name(told, one.name, edit.target, self._reasons, self._notes)
            one = one.model_copy(update={"name": name})
            self._made.fields.append(one)
            if source and not one.auto_id and not one.is_function_output:
                self._made.sources[source] = name
        self._named.append((what, one.name))
        if one.default is not None and edit.default is not None:
            self._made.defaults[one.name] = one.default

    def _with_options(self, what: str, one: Field, edit: FieldMapping) -> Field:
        """The field with its default value, and as the partition key."""
        update: dict[str, object] = {}
        if edit.default is not None:
            if one.primary_key or one.type not in SCALARS - {DataType.JSON}:
                kind = "a primary key" if one.primary_key else one.type
                self._refuse(f"default is for scalar fields, it is {kind}", what)
            elif edit.nullable:
                self._refuse(
                    "give default or nullable, not both: with both, Milvus makes every null the "
                    "default",
                    what,
                )
            else:
                update = {"default": self._literal(one, edit.default, what), "nullable": False}
        if one.partition_key if edit.partition_key is None else edit.partition_key:
            if one.primary_key or one.type not in _KEY_TYPES:
                kind = "the primary key" if one.primary_key else one.type
                self._refuse(f"a partition key is an INT64 or VARCHAR field, it is {kind}", what)
            if edit.nullable:
                self._refuse("a partition key can't be nullable", what)
            update |= {"partition_key": True, "nullable": False}
        elif one.partition_key:
            update["partition_key"] = False
        return one.model_copy(update=update)
