"""How many rows of a collection came how far, from what staging holds of its chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airlift.chunk import Manifest
from airlift.plan import CollectionPlan
from airlift.staging import ImportRecord
from airlift.verification import PartitionCounts, RowCounts


def partition_counts(
    plan: CollectionPlan,
    manifests: Iterable[Manifest | None],
    records: Iterable[ImportRecord | None],
) -> dict[str, PartitionCounts]:
    """The rows of each target partition, before the target is asked; "" is the default one.

    Args:
        manifests, records: of the plan's chunks, in their order.
    """
    names = ("planned", "read", "set_aside", "present", "replaced", "converted", "imported")
    sums = {partition: dict.fromkeys(names, 0) for partition in plan.mapped.partitions.values()}
    for chunk, manifest, record in zip(plan.chunks, manifests, records, strict=True):
        counts = sums[plan.mapped.partitions[chunk.partition]]
        counts["planned"] += chunk.rows
        if manifest:
            counts["read"] += manifest.rows_read
            counts["set_aside"] += manifest.bad_rows
            counts["converted"] += manifest.rows
            present = "present" if plan.leaves_present_rows_out else "replaced"
            counts[present] += manifest.rows_present
        if record and record.done:
            counts["imported"] += record.rows
    return {partition: PartitionCounts(**counts) for partition, counts in sums.items()}


def row_counts(
    plan: CollectionPlan, partitions: Mapping[str, PartitionCounts], counted: int | None
) -> RowCounts:
    """The rows of a whole collection.

    Args:
        partitions: of each of its partitions.
        counted: on the target; None before it was asked.
    """
    names = PartitionCounts.model_fields.keys() - {"counted"}
    return RowCounts(
        source=plan.rows,
        deleted=plan.deleted,
        left_out=plan.left_out,
        counted=counted,
        **{name: sum(getattr(counts, name) for counts in partitions.values()) for name in names},
    )
