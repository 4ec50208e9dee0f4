"""The report page: its verdict is never better than the numbers, and no name breaks out of it."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.collection_report import CollectionReport
from airlift.params import Verify
from airlift.report import Report
from airlift.report_html import render
from airlift.report_style import Timeline, duration_text, moment_text, size_text
from airlift.time_axis import AXIS
from airlift.timing import StepTime
from airlift.verification import PartitionCounts, Verification

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
    part = PartitionCounts(planned=rows, converted=rows, imported=rows, counted=rows)
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
        ({"verified": {"found_first": 19}}, "19 of 20 sampled vectors"),
        ({"verified": {"partitions": {"": PartitionCounts(planned=1)}}}, "in 0 of 1 partitions"),
    ],
)
def test_any_difference_shows_in_the_headline(changes, says):
    found = page(collection("good"), collection("wrong", **changes))
    assert found.headline == "Source and target differ"
    assert says in found.text
    assert {"href": "#c2"} in found.all("a")


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


def test_rows_set_aside_are_not_called_arrived():
    part = PartitionCounts(planned=1_234_567, set_aside=3, converted=1_234_564)
    part = part.model_copy(update={"imported": 1_234_564, "counted": 1_234_564})
    numbers = dict.fromkeys(("rows_converted", "rows_imported", "rows_counted"), 1_234_564)
    one = collection(rows_set_aside=3, **numbers, verified={"partitions": {"": part}})
    found = page(one)
    assert found.headline == "Every row arrived but 3 that were set aside"
    assert found.text.count("✓ equal") == 5


def test_rows_that_were_there_before_are_part_of_the_sum():
    part = PartitionCounts(planned=10, converted=10, imported=10, before=500, counted=510)
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


def test_no_name_breaks_out_of_the_page():
    good = collection()
    verified = good.verification.model_copy(
        update={"partitions": {HOSTILE: good.verification.partitions[""]}, "problems": (HOSTILE,)}
    )
    names = dict.fromkeys(("source", "target", "alias", "way", "file_format"), HOSTILE)
    update = names | {"notes": [HOSTILE], "fields": {HOSTILE: HOSTILE}, "verification": verified}
    one = good.model_copy(update=update)
    texts = ("migration_id", "written", "path", "source", "target", "staging")
    step = steps()[0].model_copy(update={"step": HOSTILE})
    hostile = {"params": {HOSTILE: HOSTILE, "deep": {"x": [HOSTILE]}}, "steps": [step]}
    for state in ("done", "planned", HOSTILE):
        for many in (1, 5):
            found = page(*[one] * many, state=state, **hostile, **dict.fromkeys(texts, HOSTILE))
            assert not found.all("script") and not found.all("img")
            assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on")]
            assert found.text.count("alert(1)") > 10
            assert "{{ 7*191 }}" in found.text and "1337" not in found.text


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
