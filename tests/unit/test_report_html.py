"""The report page: its verdict is never better than the numbers, and no name breaks out of it."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.access import Grant, RestoredAccess
from airlift.assessment.assessment import (
    Assessment,
    CollectionAssessment,
    FieldMemory,
    StepEstimate,
)
from airlift.creation import CreatedIndex, Creation
from airlift.datatypes import DataType
from airlift.params import Verify
from airlift.report.collection import CollectionReport
from airlift.report.failures import StepFailure
from airlift.report.rendering import render
from airlift.report.report import Described, Report
from airlift.report.style import Timeline, duration_text, moment_text, size_text
from airlift.report.throughput import Work, throughput
from airlift.report.time_axis import AXIS
from airlift.schema import CollectionSchema, Field
from airlift.timing import StepTime
from airlift.verification import PartitionCounts, SearchCheck, Verification

HOSTILE = (
    "</title></style><script>alert(1)</script><img src=x onerror='a'>\"{{ 7*191 }}{% x %}&amp;"
)
START = datetime(2025, 11, 21, 9, 0, tzinfo=UTC)
VOID = {"meta", "br", "img", "link", "input"}


class Page(HTMLParser):
    """Reads the page: fails on tags that don't match, keeps text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words.append(data)
            if self._open[-1] == "h1":
                self.headline = data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def steps(tasks: int = 3, pause: float = 0) -> list[StepTime]:
    def one(step: str, at: float, seconds: float, index: int = -1) -> StepTime:
        started = (START + timedelta(seconds=at)).isoformat(timespec="milliseconds")
        return StepTime(step=step, index=index, started=started, seconds=seconds)

    return [
        one("check", 0, 1.5),
        one("plan", 2, 8),
        *(one("convert", 10 + index % 2, 60, index) for index in range(tasks)),
        one("verify", 80 + pause, 20),
    ]


def collection(name: str = "images", rows: int = 1_234_567, **changes) -> CollectionReport:
    """A collection of which every row arrived, or a changed one."""
    part = PartitionCounts(planned=rows, read=rows, converted=rows, imported=rows, counted=rows)
    verification = Verification(
        collection=name,
        level=Verify.FULL,
        counted=rows,
        partitions={"": part},
        sampled=1000,
        searched=20,
        found_first=20,
        compared=rows,
        fingerprint_source="00ff00ff00ff00ff",
        fingerprint_target="00ff00ff00ff00ff",
    )
    verification = verification.model_copy(update=changes.pop("verified", {}))
    values = {
        "source": name,
        "target": name,
        "alias": "",
        "fields": {"id": "id", "vector": "embedding"},
        "partitions": [],
        "notes": [],
        "file_format": "numpy",
        "chunks": 2,
        "rows_source": rows + 1111,
        "rows_deleted": 1100,
        "rows_left_out": 11,
        "rows_planned": rows,
        "rows_read": rows,
        "rows_converted": rows,
        "rows_imported": rows,
        "rows_counted": rows,
        "bytes": 1_270_000_000,
        "convert_seconds": 2.0,
        "way": "grpc_bulk_insert",
        "verification": verification,
    }
    return CollectionReport.model_validate(values | changes)


def planned(**changes) -> CollectionReport:
    nothing = dict.fromkeys(
        ("rows_read", "rows_converted", "rows_imported", "bytes", "convert_seconds"), 0
    )
    return collection(**nothing | {"rows_counted": None, "verification": None} | changes)


def report(*collections: CollectionReport, state: str = "done", **changes) -> Report:
    values = {
        "migration_id": "nightly_7",
        "state": state,
        "written": "2025-11-21T09:22:41+00:00",
        "path": "milvus1x",
        "source": "s3://old/tables",
        "target": "Milvus 2.3.5",
        "staging": "s3://bucket/airlift/nightly_7",
        "params": {"verify": "full", "mapping": {"images": {"target": "x"}}, "meta_url": ""},
        "collections": collections,
        "steps": steps(),
        "seconds": 209.5,
    }
    return Report.model_validate(values | changes)


def page(*collections: CollectionReport, state: str = "done", **changes) -> Page:
    return Page(render(report(*collections, state=state, **changes)))


def test_done_says_that_every_row_arrived_and_shows_the_numbers():
    found = page(collection())
    assert found.headline == "Every row arrived"
    for text in (
        "1,234,567 rows counted in 1 collection on the target",
        "Of 1,235,678 rows at the source, 1,100 were deleted there and 11 left out",
        "s3://old/tables",
        "Milvus 2.3.5",
        "s3://bucket/airlift/nightly_7",
        "grpc_bulk_insert",
        "1,000 rows read back by primary key",
        "20 of 20 sampled vectors find themselves first",
        "00ff00ff00ff00ff = target 00ff00ff00ff00ff",
        "617,284 rows/s , 635.0 MB/s",
        "2 fields, 1 renamed",
        "21 November 2025, 09:22 UTC",
        '{"images": {"target": "x"}}',
    ):
        assert text in found.text
    assert found.text.count("✓ equal") == 5
    assert "fewer" not in found.text and "✗" not in found.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"verified": {"problems": ("the field 'vector' differs",)}}, "the field 'vector' differs"),
        ({"rows_counted": 1_234_560}, "✗ 7 fewer"),
        ({"rows_imported": 1_234_569}, "✗ 2 more"),
        ({"rows_left_out": 0}, "✗ 11 fewer"),
        ({"verified": {"fingerprint_target": "11ff"}}, "00ff00ff00ff00ff ≠ target 11ff"),
        ({"verified": {"partitions": {"": PartitionCounts(planned=1)}}}, "in 0 of 1 partitions"),
    ],
)
def test_any_difference_shows_in_the_headline(changes, says):
    found = page(collection("good"), collection("wrong", **changes))
    assert found.headline == "Source and target differ"
    assert says in found.text
    assert {"href": "#c2"} in found.all("a")


def test_vectors_that_an_index_overlooks_are_its_recall_and_no_difference():
    found = page(collection("good"), collection("other", verified={"found_first": 19}))
    assert found.headline == "Every row arrived"
    assert "19 of 20 sampled vectors find themselves first" in found.text
    assert "recall of the index" in found.text and "✗" not in found.text


@pytest.mark.parametrize(
    ("buckets", "says"),
    [
        (None, "compared source"),
        (0, "0 of 1,024"),
        (3, "they differ in 3 of 1,024 buckets of keys"),
    ],
)
def test_the_buckets_that_differ_are_counted(buckets, says):
    wrong = {"fingerprint_target": "11ff", "buckets_differing": buckets, "problems": ("differ",)}
    assert says in page(collection(verified=wrong)).text


@pytest.mark.parametrize(
    ("collections", "state", "headline"),
    [
        ([], "done", "There was nothing to move"),
        ([collection(), collection(verification=None)], "done", "Not verified: 1 of 2 collections"),
        ([collection()], "failed", "Stopped before it was done"),
        ([planned()], "planned", "Dry run: nothing was written to the target"),
    ],
)
def test_headlines(collections, state, headline):
    assert page(*collections, state=state).headline == headline


EMPTY = "collection 'images': no row is moved: the source has none: the query finds none"


def empty(name: str = "images", **changes) -> CollectionReport:
    part = {"partitions": {"": PartitionCounts()}, "counted": 0, "compared": 0}
    nothing = {"rows_source": 0, "rows_deleted": 0, "rows_left_out": 0, "rows_read": 0, "bytes": 0}
    return collection(
        name, rows=0, warnings=[EMPTY.replace("images", name)], verified=part, **nothing | changes
    )


def test_a_run_that_moves_no_row_is_no_plain_success():
    found = page(empty(), warnings=["no row is moved, of any collection"])
    assert found.headline == "No row was moved"
    assert [attrs for attrs in found.all("div") if attrs.get("class") == "verdict warn"]
    for text in ("Warnings no row is moved, of any collection", EMPTY, "! no row moved"):
        assert text in found.text, text
    assert "Every row arrived" not in found.text and "✓ arrived" not in found.text


def test_an_empty_collection_beside_others_is_warned_of():
    found = page(collection("full"), empty(HOSTILE))
    assert found.headline == "Every row arrived"
    assert "the query finds none" in found.text and "<script>" not in found.html
    assert found.text.count("no row moved") == 1
    assert [attrs for attrs in found.all("div") if attrs.get("class") == "box warnings"]


@pytest.mark.parametrize("state", ["planned", "failed"])
def test_a_warning_shows_before_it_is_done(state):
    one = planned(rows=0, warnings=[EMPTY])
    found = page(one, state=state, warnings=["no row is moved, of any collection"])
    assert EMPTY in found.text and "no row is moved, of any collection" in found.text
    assert found.headline != "No row was moved"


def test_nobody_is_warned_where_rows_were_moved():
    found = page(collection())
    assert "Warnings" not in found.text
    assert not [attrs for attrs in found.all("div") if attrs.get("class") == "box warnings"]


def test_rows_set_aside_are_not_called_arrived():
    part = PartitionCounts(planned=1_234_567, read=1_234_567, set_aside=3, converted=1_234_564)
    part = part.model_copy(update={"imported": 1_234_564, "counted": 1_234_564})
    numbers = dict.fromkeys(("rows_converted", "rows_imported", "rows_counted"), 1_234_564)
    one = collection(rows_set_aside=3, **numbers, verified={"partitions": {"": part}})
    found = page(one)
    assert found.headline == "Every row arrived but 3 that were set aside"
    assert found.text.count("✓ equal") == 5


def test_rows_that_were_there_before_are_part_of_the_sum():
    part = PartitionCounts(planned=10, read=10, converted=10, imported=10, before=500, counted=510)
    found = page(collection(rows=10, rows_counted=510, verified={"partitions": {"p": part}}))
    assert found.headline == "Every row arrived"
    assert "500 rows were there before" in found.text


def test_planned_tells_what_would_be_made():
    one = planned(notes=["the metric is carried as another"], partitions=["p1", "p2"], alias="live")
    found = page(one, state="planned", params={"if_exists": "replace"})
    for text in (
        "1,234,567 rows in 1 collection would be moved in 2 chunks.",
        "the metric is carried as another",
        "p1, p2",
        "alias live",
        "replaced: dropped with all their rows",
    ):
        assert text in found.text
    for text in ("counted", "converted", "rows/s", "0 B"):
        assert text not in found.text


def test_planned_size_shows_when_it_is_known():
    one = planned().model_copy(update={"bytes": 1_270_000_000})
    assert "in 2 chunks, about 1.3 GB." in page(one, state="planned").text


def created(name: str = "images") -> Creation:
    """What is made of a collection with a key, a text, and a vector."""
    fields = (
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="title", type=DataType.VARCHAR, default="none"),
        Field(name="embedding", type=DataType.FLOAT_VECTOR, dim=1536, metric_type="L2"),
    )
    return Creation(
        database="music",
        collection=CollectionSchema(
            name=name, fields=fields, shards=2, aliases=("live",), properties={"ttl": "9"}
        ),
        indexes=(
            CreatedIndex(field="embedding", index_type="HNSW", metric_type="L2", params={"M": 16}),
        ),
    )


def assessment(*refusals: str) -> Assessment:
    memory = FieldMemory(field="embedding", index_type="HNSW", formula="links", bytes=10**9)
    one = CollectionAssessment(
        source="images",
        target="music.images",
        way="insert",
        file_format="parquet",
        existing="append",
        rows=1_234_567,
        chunks=2,
        files=2,
        file_bytes=7_600_000_000,
        exact_bytes=False,
        sample_bytes=6_000_000,
        row_bytes=6_160,
        memory=(memory,),
        scalar_bytes=20_000_000,
        memory_bytes=1_170_000_000,
        storage_bytes=8_770_000_000,
    )
    return Assessment(
        refusals=refusals,
        new_databases=("music",),
        collections=(one,),
        batches=2,
        copied_bytes=1_000_000_000,
        steps=(StepEstimate(step="convert", seconds=60, low=40, high=90, origin="measured"),),
        untried=("whether every row is fit",),
    )


def search(key: int = 7) -> SearchCheck:
    return SearchCheck(field="v", key=str(key), rank=1, distance=0.5, effort=10, found=True)


def failure(step: str = "convert", *reasons: str) -> StepFailure:
    return StepFailure(step=step, index=3, at=START.isoformat(), reasons=reasons or ("no disk",))


def test_what_is_made_shows_with_types_and_indexes():
    types = {"id": "INT64", "vector": "FLOAT16_VECTOR"}
    names = {"": "", "b pop": "b_pop"}
    found = page(collection(created=created(), types=types, partition_names=names))
    for text in (
        "database music",
        "2 shards",
        "alias live",
        "b pop → b_pop",
        "FLOAT_VECTOR(1,536)",
        "embedding renamed another type FLOAT_VECTOR",
        "HNSW · L2 · M 16",
        "primary key",
        "length told by the rows, default none",
    ):
        assert text in found.text, text


def test_an_assessment_says_what_it_would_take():
    found = page(
        planned(created=created(), files=2),
        state="planned",
        assessment=assessment(),
        params={"dry_run": True},
    )
    assert found.headline == "Dry run: nothing was written to the target"
    for text in (
        "in staging 8.6 GB",  # files, samples, and what is copied
        "memory to load it 1.2 GB",
        "storage on the target 8.8 GB",
        "to move it (40 s to 1 min 30 s) 1 min 00 s",
        "rows are appended",
        "would be made: music",
        "1.0 GB of source files would be copied",
        "convert 1 min 00 s 40 s 1 min 30 s measured",
        "whether every row is fit",
        "Would be made on the target",
    ):
        assert text in found.text, text


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_failure_never_looks_like_success(dry_run):
    reasons = ("the collection 'x' exists", "no vector field is left")
    found = page(
        planned(rows_converted=1_000_000, rows_read=1_000_000, rows_imported=0),
        state="failed",
        failures=[failure("plan", *reasons)],
        params={"dry_run": dry_run},
        assessment=assessment(*reasons) if dry_run else None,
    )
    assert "✓ Every row arrived" not in found.text and "Dry run: nothing" not in found.text
    assert [attrs for attrs in found.all("div") if attrs.get("class") == "verdict bad"]
    assert all(reason in found.text for reason in reasons)
    if dry_run:
        assert found.headline == "Can't be done as asked, for 2 reasons"
        assert "do the dry run again" in found.text
    else:
        assert found.headline == "Failed in the step plan"
        assert "234,567 to go" in found.text
        assert "1,000,000 converted, 0 imported, none verified" in found.text
        assert "trigger again with migration_id nightly_7" in found.text


def test_a_mismatch_is_told_as_one_though_the_step_failed():
    wrong = collection(rows_counted=1_234_566, verified={"problems": ("1 row is missing",)})
    found = page(wrong, state="failed", failures=[failure("verify", "source and target differ")])
    assert found.headline == "Source and target differ"
    assert "✗ 1 fewer" in found.text


def test_before_there_is_a_plan_the_source_is_told():
    one = Described(name="songs", rows=5, deleted=1, fields={"id": "INT64"})
    found = page(state="failed", failures=[failure("plan")], described=[one], target="")
    assert "What the source holds" in found.text and "id INT64" in found.text
    assert "not reached" in found.text


def test_set_aside_rows_are_told_with_reasons():
    found = page(collection(rows_set_aside=3, bad_rows={"field 'v' holds NaN": 2, "too long": 1}))
    assert "2 rows: field 'v' holds NaN" in found.text and "1 row: too long" in found.text


def test_versions_are_told():
    versions = {"source": "Elasticsearch 8.19.1", "software": {"pymilvus": "3.0.2"}}
    found = page(collection(), versions=versions)
    assert "Elasticsearch 8.19.1" in found.text and "pymilvus 3.0.2" in found.text


def test_fingerprints_are_told_where_rows_were_not_read_back():
    counts = {"fingerprint_source": "", "fingerprint_target": "", "compared": 0}
    found = page(collection(fingerprint="abcdef0123456789", verified=counts))
    assert "fingerprint of the converted rows abcdef0123456789" in found.text


def test_searches_and_throughput_are_drawn():
    searches = [search(n) for n in range(20)]
    works = [Work("convert", n, 1, 1_000, 10**6) for n in range(30)]
    works += [Work("import", 40 + n, 2, 1_000, 10**6) for n in range(30)]
    found = page(collection(verified={"searches": searches}), throughput=throughput(works))
    assert len(found.all("circle")) == 20
    assert len(found.all("path")) == 4
    assert "primary key 7, at rank 1, the first at 0.5, 10 results asked for" in found.text
    assert "1,000 at most" in found.text and "1 at most" in found.text


def test_ten_thousand_chunks_and_many_searches_stay_small():
    works = [Work("convert", n * 0.5, 1, 1_000, 10**6) for n in range(10_000)]
    many = [
        collection(
            f"c{n}", chunks=10_000, created=created(), verified={"searches": [search()] * 200}
        )
        for n in range(60)
    ]
    found = page(*many, throughput=throughput(works))
    assert len(found.html) < 4_000_000


def test_no_name_breaks_out_of_the_page():
    good = collection()
    verified = good.verification.model_copy(
        update={
            "partitions": {HOSTILE: good.verification.partitions[""]},
            "problems": (HOSTILE,),
            "searches": (
                SearchCheck(
                    field=HOSTILE, key=HOSTILE, rank=1, distance=0.0, effort=10, found=True
                ),
            ),
        }
    )
    names = dict.fromkeys(("source", "target", "alias", "way", "file_format"), HOSTILE)
    made = created(HOSTILE).model_copy(update={"database": HOSTILE, "cutover_alias": HOSTILE})
    update = names | {
        "notes": [HOSTILE],
        "fields": {HOSTILE: HOSTILE},
        "types": {HOSTILE: HOSTILE},
        "partition_names": {HOSTILE: "other"},
        "created": made,
        "bad_rows": {HOSTILE: 1},
        "fingerprint": HOSTILE,
        "verification": verified,
    }
    one = good.model_copy(update=update)
    texts = ("migration_id", "written", "path", "source", "target", "staging")
    step = steps()[0].model_copy(update={"step": HOSTILE})
    told = assessment(HOSTILE)
    hostile = {
        "params": {HOSTILE: HOSTILE, "deep": {"x": [HOSTILE]}, "dry_run": True},
        "steps": [step],
        "access": access(HOSTILE),
        "failures": [failure(HOSTILE, HOSTILE)],
        "described": [Described(name=HOSTILE, rows=1, deleted=0, fields={HOSTILE: HOSTILE})],
        "versions": {"source": HOSTILE, "target": HOSTILE, "software": {HOSTILE: HOSTILE}},
        "assessment": told.model_copy(update={"untried": (HOSTILE,), "new_databases": (HOSTILE,)}),
    }
    for state in ("done", "planned", "failed", HOSTILE):
        for many in (1, 5):
            found = page(*[one] * many, state=state, **hostile, **dict.fromkeys(texts, HOSTILE))
            assert not found.all("script") and not found.all("img")
            assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on")]
            assert found.text.count("alert(1)") > 10
            assert "{{ 7*191 }}" in found.text and "1337" not in found.text


def access(name: str) -> RestoredAccess:
    grant = Grant(
        role=name, object_type="Collection", object_name=name, database=name, privilege="Query"
    )
    return RestoredAccess(
        users={name: (name,)},
        roles=(name,),
        grants=(grant,),
        groups=(name,),
        left=(name,),
        done=True,
    )


def test_users_and_roles_have_a_section_where_they_were_restored():
    found = page(collection(), access=access("reader"))
    assert "1 role with 1 grant, 1 privilege group and 1 user were restored" in found.text
    assert "reader: Query on 'reader' of the database 'reader'" in found.text
    assert "Not restored, or not as it was" in found.text
    assert "would be restored" in page(planned(), state="planned", access=access("r")).text
    assert "Users and roles" not in page(collection()).text


def test_nothing_is_fetched_and_ids_are_unique():
    found = page(*[collection(f"c{n}") for n in range(9)])
    for tag in ("script", "link", "img", "iframe", "object"):
        assert not found.all(tag)
    assert "default-src 'none'" in found.html
    assert not [a for _, attrs in found.tags for a in attrs if a == "src"]
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs["href"][1:] in ids for attrs in found.all("a"))
    assert all("scope" in attrs for attrs in found.all("th"))


def test_an_overview_comes_first_when_there_are_many():
    assert "Together" not in page(*[collection(f"c{n}") for n in range(3)]).text
    assert "Together" in page(*[collection(f"c{n}") for n in range(4)]).text


def test_two_hundred_collections_and_two_thousand_tasks():
    found = page(*[collection(f"c{n}") for n in range(200)], steps=steps(2000))
    assert len(found.all("article")) == 200
    assert "2,000" in found.text
    assert len(found.all("rect")) == 4  # a bar for each step, however many tasks
    assert len(found.html) < 2_000_000


def test_a_long_break_is_drawn_short():
    plain, broken = Timeline(steps()), Timeline(steps(pause=7200))
    assert not plain.breaks and len(broken.breaks) == 1
    assert broken.elapsed == plain.elapsed + 7200
    assert broken.breaks_seconds == pytest.approx(7200, abs=60)
    width = broken.lines[2].bars[0][1] - broken.lines[2].bars[0][0]
    assert width > 0.5 * AXIS
    assert "dashed" in page(collection(), steps=steps(pause=7200)).text


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5)), max_size=30))
def test_bars_stay_on_the_axis_and_in_order(times):
    made = [
        StepTime(step="s", started=(START + timedelta(seconds=at)).isoformat(), seconds=seconds)
        for at, seconds in times
    ]
    bars = [bar for line in Timeline(made).lines for bar in line.bars]
    ends = [end for bar in bars for end in bar]
    assert ends == sorted(ends)
    assert all(-0.1 <= end <= AXIS + 0.1 for end in ends)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (size_text(0), "0 B"),
        (size_text(999), "999 B"),
        (size_text(1000), "1.0 kB"),
        (size_text(999_960), "1.0 MB"),
        (size_text(5.5e15), "5,500.0 TB"),
        (duration_text(0), "0 s"),
        (duration_text(0.04), "0.04 s"),
        (duration_text(0.999), "1.0 s"),
        (duration_text(59.7), "1 min 00 s"),
        (duration_text(3599.6), "1 h 00 min"),
        (duration_text(7500), "2 h 05 min"),
        (moment_text("2025-01-02T03:04:05+02:00"), "2 January 2025, 01:04 UTC"),
        (moment_text("soon"), "soon"),
    ],
)
def test_numbers_for_people(text, says):
    assert text == says
