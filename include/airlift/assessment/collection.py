"""What one collection would take in staging and on the target."""

from __future__ import annotations

from airlift.assessment.assessment import CollectionAssessment, FieldMemory, Probe
from airlift.assessment.sizing import FORMULAS, UNKNOWN, Vectors, memory_bytes, storage_bytes
from airlift.creation import creation_of
from airlift.formats import FORMATS
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.schema import Field
from airlift.steps.conversion import sample_share
from airlift.target_changes import Created

_UNKNOWN_BYTES = 64
"""Of a value whose length is not known, as `CollectionSchema.row_bytes` has it."""


def assess_collection(
    migration: Migration, plan: CollectionPlan, probe: Probe | None
) -> CollectionAssessment:
    """Reckons what a collection would take.

    Args:
        probe: what was measured; None where nothing was.
    """
    schema, rows = plan.mapped.target, plan.planned_rows
    widths = {field.name: _width(field, probe) for field in schema.fields}
    row_bytes = sum(widths[field.name] for field in schema.written)
    memory = _memory(migration, plan, widths)
    vectors = {one.field for one in memory}
    scalars = rows * sum(width for name, width in widths.items() if name not in vectors)
    loaded = memory_bytes(sum(one.bytes for one in memory), scalars)
    file_format = FORMATS[plan.file_format]
    sizes = [file_format.size(schema, chunk.rows) for chunk in plan.chunks]
    measured = probe.file_bytes if probe and probe.file_bytes else row_bytes
    exact = all(size is not None for size in sizes)
    return CollectionAssessment(
        source=plan.mapped.source,
        target=plan.name,
        way=plan.way,
        file_format=plan.file_format,
        existing=_existing(migration, plan),
        rows=rows,
        chunks=len(plan.chunks),
        files=len(plan.chunks) * len(file_format.files(schema)),
        file_bytes=sum(size or 0 for size in sizes) if exact else round(rows * measured),
        exact_bytes=exact,
        sample_bytes=round(_sample_rows(plan) * row_bytes),
        row_bytes=row_bytes,
        memory=memory,
        scalar_bytes=round(scalars),
        memory_bytes=round(loaded),
        storage_bytes=round(storage_bytes(rows * row_bytes, loaded)),
        probe=probe,
    )


def _width(field: Field, probe: Probe | None) -> float:
    """Bytes of a value, on average."""
    if field.width is not None:
        return field.width
    return (probe.value_bytes if probe else {}).get(field.name, _UNKNOWN_BYTES)


def _memory(
    migration: Migration, plan: CollectionPlan, widths: dict[str, float]
) -> tuple[FieldMemory, ...]:
    """The memory of each vector field; what a function makes is left out: nobody knows its size."""
    indexes = {one.field: one for one in creation_of(migration, plan).indexes}
    found = []
    for field in plan.mapped.target.vectors:
        if field.is_function_output:
            continue
        index = indexes.get(field.name)
        kind = index.index_type if index else ""
        formula = FORMULAS.get(kind, UNKNOWN)
        vectors = Vectors(plan.planned_rows, widths[field.name], index.params if index else {})
        found.append(
            FieldMemory(
                field=field.name,
                index_type=kind,
                formula=formula.text,
                bytes=round(formula.memory(vectors)),
                local_disk_bytes=round(formula.local_disk(vectors)),
            )
        )
    return tuple(found)


def _existing(migration: Migration, plan: CollectionPlan) -> str:
    """What becomes of a collection that is there already; "" where there is none."""
    if not migration.database_exists(plan.mapped.database):
        return ""
    if not migration.target(plan.mapped).exists(plan.target_name):
        return ""
    created = migration.staging.read("created.json", Created)
    made = created.find(plan.name) if created else None
    if made and made.made:
        return "resume"
    return "append" if plan.appends else migration.params.if_exists.value


def _sample_rows(plan: CollectionPlan) -> int:
    """Rows that are kept aside to be compared."""
    if not plan.chunks:
        return 0
    share = sample_share([chunk.rows for chunk in plan.chunks])
    return sum(min(share, chunk.rows) for chunk in plan.chunks)
