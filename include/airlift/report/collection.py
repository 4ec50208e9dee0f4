"""The part of the report that is about one collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from airlift.chunk import Manifest
from airlift.creation import Creation, creation_of
from airlift.empty_collections import all_set_aside, is_all_set_aside
from airlift.errors import AirliftError
from airlift.fingerprint import Fingerprint
from airlift.formats import FORMATS
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.report.throughput import Work, began
from airlift.row_counts import partition_counts, row_counts
from airlift.staging import ImportRecord
from airlift.verification import RowCounts, Verification, rows_before

_REASONS = 10
_BAD_ROWS_FILES = 50
"""How many reasons are told, and how many files are read for them; the counts are of all rows."""


class CollectionReport(BaseModel):
    """One collection, from source to target; numbers as of `PartitionCounts`.

    Attributes:
        fields, types: of the fields that are written, the name on the target and the type at the
            source, by their name there.
        partition_names: source partition -> target partition, "" for the default one.
        created: what is made, or was made, on the target; None where the target could not be asked.
        files: data files of the chunks.
        rows_read: rows that the source gave.
        warnings: that no row is moved, and why.
        bad_rows: why rows were set aside -> rows, of the most frequent reasons.
        fingerprint: of all rows that were converted.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    alias: str
    fields: dict[str, str]
    types: dict[str, str] = {}
    partitions: list[str]
    partition_names: dict[str, str] = {}
    created: Creation | None = None
    notes: list[str]
    warnings: list[str] = []
    way: str
    file_format: str
    chunks: int
    files: int = 0
    rows_source: int
    rows_deleted: int
    rows_left_out: int
    rows_planned: int
    rows_read: int = 0
    rows_set_aside: int = 0
    bad_rows: dict[str, int] = {}
    rows_present: int = 0
    rows_replaced: int = 0
    rows_converted: int = 0
    rows_imported: int = 0
    rows_counted: int | None = None
    bytes: int = 0
    convert_seconds: float = 0.0
    fingerprint_seconds: float = 0.0
    fingerprint: str = ""
    jobs_adopted: int = 0
    verification: Verification | None = None

    @property
    def rows_before(self) -> int:
        """Rows that the target's collection held before this migration."""
        return rows_before(self.verification.partitions) if self.verification else 0

    @property
    def row_counts(self) -> RowCounts:
        """The numbers of rows, as the verdict takes them."""
        return RowCounts(
            source=self.rows_source,
            deleted=self.rows_deleted,
            left_out=self.rows_left_out,
            planned=self.rows_planned,
            read=self.rows_read,
            set_aside=self.rows_set_aside,
            present=self.rows_present,
            replaced=self.rows_replaced,
            converted=self.rows_converted,
            imported=self.rows_imported,
            before=self.rows_before,
            counted=self.rows_counted,
        )


def report_collection(
    migration: Migration,
    plan: CollectionPlan,
    verification: Verification | None,
    target_notes: Iterable[str] = (),
) -> tuple[CollectionReport, list[Work]]:
    """Puts together what staging holds of a collection, and when its chunks were moved.

    Args:
        target_notes: settings and indexes of the target that are not as planned.
    """
    manifests = list(migration.staging.manifests(plan.chunk_refs))
    imports = list(migration.staging.current_imports(plan.chunk_refs))
    written = [manifest for manifest in manifests if manifest]
    counts = row_counts(plan, partition_counts(plan, manifests, imports), None)
    records = {chunk.id: one for chunk, one in zip(plan.chunks, imports, strict=True) if one}
    report = CollectionReport(
        source=plan.mapped.source,
        target=plan.name,
        alias=plan.mapped.alias,
        fields=plan.mapped.fields,
        types={name: kind.value for name, kind in plan.mapped.types.items()},
        partitions=list(plan.mapped.target.partitions),
        partition_names=plan.mapped.partitions,
        created=_created(migration, plan, written),
        notes=[*plan.notes, *_cut_notes(plan, written), *target_notes],
        warnings=_warnings(plan, counts.set_aside),
        way=plan.way,
        file_format=plan.file_format,
        chunks=len(plan.chunks),
        files=len(plan.chunks) * len(FORMATS[plan.file_format].files(plan.mapped.target)),
        rows_source=plan.rows,
        rows_deleted=plan.deleted,
        rows_left_out=plan.left_out,
        rows_planned=counts.planned,
        rows_read=counts.read,
        rows_set_aside=counts.set_aside,
        bad_rows=_bad_rows(migration, plan) if counts.set_aside else {},
        rows_present=counts.present,
        rows_replaced=counts.replaced,
        rows_converted=counts.converted,
        rows_imported=counts.imported,
        rows_counted=verification.counted if verification else None,
        bytes=sum(one.bytes for one in (written or plan.chunks)),
        convert_seconds=sum(one.seconds for one in written),
        fingerprint_seconds=sum(one.fingerprint_seconds for one in written),
        fingerprint=str(converted_fingerprint(written) or "") if written else "",
        jobs_adopted=sum(record.adopted for record in records.values() if record.done),
        verification=verification,
    )
    return report, list(_works(written, records))


def _cut_notes(plan: CollectionPlan, written: list[Manifest]) -> list[str]:
    """How many texts were cut to what their fields hold."""
    counts = sum((Counter(one.texts_cut) for one in written), Counter[str]())
    return [
        f"collection {plan.mapped.source!r}, field {name!r}: {count:,} texts were longer than the "
        "field holds, and were cut to whole characters (on_long_text truncate)"
        for name, count in counts.items()
    ]


def _warnings(plan: CollectionPlan, aside: int) -> list[str]:
    if not is_all_set_aside(plan.planned_rows, aside):
        return list(plan.warnings)
    return [*plan.warnings, all_set_aside(plan.mapped.source, plan.planned_rows, aside)]


def _works(written: list[Manifest], records: dict[str, ImportRecord]) -> Iterator[Work]:
    """What took time for each chunk, as far as it is done: its conversion and its import."""
    for one in written:
        if one.started:
            yield Work("convert", began(one.started), one.seconds, one.rows, one.bytes)
        record = records.get(one.chunk)
        if record and record.done and record.started:
            yield Work("import", began(record.started), record.seconds, record.rows, one.bytes)


def _created(
    migration: Migration, plan: CollectionPlan, written: list[Manifest]
) -> Creation | None:
    is_read = len(written) == len(plan.chunks)
    longest = [(one.max_bytes, one.max_items) for one in written] if is_read else None
    try:
        return creation_of(migration, plan, longest)
    except AirliftError:  # the target is what has failed
        return None


def converted_fingerprint(manifests: Iterable[Manifest | None]) -> Fingerprint | None:
    """The fingerprint of all converted rows; None where that of a chunk can't be read."""
    total = Fingerprint()
    for manifest in manifests:
        own = Fingerprint.parse(manifest.fingerprint) if manifest else Fingerprint()
        if own is None:
            return None
        total = total.combined(own)
    return total


def _bad_rows(migration: Migration, plan: CollectionPlan) -> dict[str, int]:
    """The most frequent reasons why rows were set aside."""
    folder, counts = migration.staging.folder, dict[str, int]()
    for name in list(folder.list(f"{plan.name}/bad_rows"))[:_BAD_ROWS_FILES]:
        with folder.open_input(name) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(columns=["reason"]):
                for reason in batch.column(0).to_pylist():
                    counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:_REASONS])
