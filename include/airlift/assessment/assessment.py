"""What a migration would take: `assessment.json`, and a part of the report of a dry run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, computed_field


class Probe(BaseModel):
    """What was measured when a part of a collection was converted to try it.

    Attributes:
        chunk: which was read, from its beginning.
        rows: how many of its rows; `whole` tells whether all.
        seconds: for reading, checking, converting and writing them.
        file_bytes: bytes of the files a row; None where they were not needed to know.
        value_bytes: bytes of a value on average, by field.
    """

    model_config = ConfigDict(frozen=True)

    chunk: str
    rows: int
    whole: bool
    seconds: float
    file_bytes: float | None
    value_bytes: dict[str, float]


class FieldMemory(BaseModel):
    """Memory for one vector field and its index; `formula` says how it is reckoned."""

    model_config = ConfigDict(frozen=True)

    field: str
    index_type: str
    formula: str
    bytes: int
    local_disk_bytes: int = 0


class CollectionAssessment(BaseModel):
    """What one collection would take.

    Attributes:
        existing: what becomes of a collection that is there already: `append`, `replace`, `fail`,
            or `resume` where this migration has made it; "" where there is none.
        exact_bytes: whether `file_bytes` is exact, not estimated from a part of the rows.
        chunks, files, file_bytes: of the chunk files in staging.
        sample_bytes: of the rows that are kept aside there for the comparison.
        row_bytes: bytes of a row on average.
        memory: for each vector field; `scalar_bytes` for all other fields.
        memory_bytes: to load it on the target; `storage_bytes` in the target's object storage.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    way: str
    file_format: str
    existing: str
    rows: int
    chunks: int
    files: int
    file_bytes: int
    exact_bytes: bool
    sample_bytes: int
    row_bytes: float
    memory: tuple[FieldMemory, ...]
    scalar_bytes: int
    memory_bytes: int
    storage_bytes: int
    probe: Probe | None = None


class StepEstimate(BaseModel):
    """How long a step would take, by one task at a time; from `low` to `high` seconds."""

    model_config = ConfigDict(frozen=True)

    step: str
    seconds: float
    low: float
    high: float
    origin: str


class Assessment(BaseModel):
    """`assessment.json`.

    Attributes:
        refusals: every reason why it can't be done as asked; empty when it can.
        new_databases: those that would be made.
        batches: tasks that convert and import.
        copied_bytes: of source files that are copied into staging first.
        steps: those that take long.
        untried: what only a real run can tell.
    """

    model_config = ConfigDict(frozen=True)

    refusals: tuple[str, ...] = ()
    new_databases: tuple[str, ...] = ()
    collections: tuple[CollectionAssessment, ...] = ()
    batches: int = 0
    copied_bytes: int = 0
    steps: tuple[StepEstimate, ...] = ()
    untried: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def staging_bytes(self) -> int:
        """Bytes that staging needs at the most, all files together."""
        files = sum(one.file_bytes + one.sample_bytes for one in self.collections)
        return files + self.copied_bytes

    @computed_field  # type: ignore[prop-decorator]
    @property
    def memory_bytes(self) -> int:
        """Bytes of memory to load all collections."""
        return sum(one.memory_bytes for one in self.collections)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def storage_bytes(self) -> int:
        """Bytes in the target's object storage."""
        return sum(one.storage_bytes for one in self.collections)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds(self) -> tuple[float, float, float]:
        """How long all steps take: about, at least, at most."""
        return (
            sum(one.seconds for one in self.steps),
            sum(one.low for one in self.steps),
            sum(one.high for one in self.steps),
        )
