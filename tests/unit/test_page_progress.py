"""What the migration page makes of the plan, of the tasks' progress and of their states."""

import json

import pytest

from airlift.progress import ChunkProgress, TaskProgress
from airlift_page.progress import (
    ChunkState,
    PlannedChunk,
    PlannedCollection,
    Progress,
    TaskState,
    totals,
)
from airlift_page.rates import plot, speed
from airlift_page.steps import step_states, tasks_to_clear

ORDER = ("check", "plan", "convert", "create", "bulk_insert", "index", "verify", "clean_staging")
NOW = 1_000_000.0


def planned(name="songs", chunks=4, rows=100):
    found = tuple(PlannedChunk(f"{at:06d}", rows) for at in range(chunks))
    return PlannedCollection(name, name, found)


def chunk(at, done=True, rows=100, ended=NOW, seconds=10.0, collection="songs", **more):
    given = {"read": rows, "rows": rows, "bytes": rows * 8, **more}
    return ChunkProgress(
        collection=collection,
        chunk=f"{at:06d}",
        done=done,
        ended=ended,
        seconds=seconds,
        **given,
    )


def written(step, *chunks, index=0):
    return TaskProgress(step=step, index=index, chunks=chunks)


def task(name, state, index=-1, started=NOW - 60, ended=None):
    return TaskState(name, index, state, started, ended)


def states_of(progress):
    cells = progress.strip()["cells"]
    return [ChunkState(cell[: len(ChunkState)].index(1)).name for cell in cells]


def test_a_collection_without_rows_is_warned_of_from_the_plan_on():
    empty = PlannedCollection("songs", "songs", (), warnings=("no row is moved",))
    for tasks in ([], [task("convert", "success", 0)]):
        (one,) = Progress([empty], [], tasks).collections()
        assert one.warnings == ("no row is moved",)


@pytest.mark.parametrize("aside", [0, 99, 100])
def test_rows_that_were_all_set_aside_are_warned_of(aside):
    read = chunk(0, bad_rows=aside)
    progress = Progress([planned(chunks=1)], [written("convert", read)], [])
    (one,) = progress.collections()
    assert bool(one.warnings) == (aside == 100)
    assert all("all 100 of 100 rows were set aside" in warning for warning in one.warnings)


def test_nothing_is_known_before_the_first_chunk():
    progress = Progress([planned()], [], [])
    (one,) = progress.collections()
    assert (one.planned, one.chunks, one.read, one.imported) == (400, 4, 0, 0)
    assert (one.read_share, one.import_share) == (0.0, 0.0)
    assert states_of(progress) == ["WAITING"] * 4
    assert speed(progress, NOW) is None
    assert set(plot(progress, NOW, NOW + 1)["read"]) == {0.0}


def test_rows_of_a_collection_at_each_step():
    progress = Progress(
        [planned(), planned("bits", 1)],
        [
            written("convert", chunk(0), chunk(1, rows=90, read=100, bad_rows=10)),
            written("convert", chunk(2, done=False, rows=45, read=50, bad_rows=5), index=1),
            written("bulk_insert", chunk(0), chunk(1, done=False, rows=30)),
        ],
        [
            task("convert", "success", 0),
            task("convert", "running", 1),
            task("bulk_insert", "deferred", 0),
        ],
    )
    songs, bits = progress.collections()
    assert (songs.read, songs.converted, songs.bad_rows) == (250, 235, 15)
    assert (songs.imported, songs.chunks_done) == (130, 1)
    assert songs.read_share == pytest.approx(0.625)
    # Of the rows that were set aside the target never hears, and yet its chunk is done.
    assert songs.import_share == pytest.approx(0.325)
    assert (bits.read, bits.read_share) == (0, 0.0)
    assert states_of(progress) == ["DONE", "IMPORTING", "READING", "WAITING", "WAITING"]
    sums = totals([songs, bits])
    assert (sums["planned"], sums["read"], sums["imported"]) == (500, 250, 130)
    assert sums["read_share"] == pytest.approx(0.5)


def test_a_chunk_whose_rows_were_all_set_aside_is_done():
    progress = Progress(
        [planned(chunks=1)],
        [
            written("convert", chunk(0, rows=0, read=100, bad_rows=100)),
            written("bulk_insert", chunk(0, rows=0)),
        ],
        [task("convert", "success", 0), task("bulk_insert", "success", 0)],
    )
    (one,) = progress.collections()
    assert (one.read_share, one.import_share, one.imported) == (1.0, 1.0, 0)


def test_a_collection_without_rows_is_done_with_its_step():
    plan = [planned(chunks=0)]
    assert Progress(plan, [], []).collections()[0].read_share == 0.0
    done = Progress(plan, [], [task("convert", "success")]).collections()[0]
    assert (done.read_share, done.import_share) == (1.0, 0.0)
    assert Progress(plan, [], []).strip()["cells"] == []


@pytest.mark.parametrize(
    ("state", "shown"),
    [("failed", "FAILED"), ("up_for_retry", "FAILED"), ("running", "READING"), ("", "WAITING")],
)
def test_a_chunk_in_work_is_as_its_task(state, shown):
    progress = Progress(
        [planned(chunks=1)],
        [written("convert", chunk(0, done=False, rows=50))],
        [task("convert", state, 0)],
    )
    assert states_of(progress) == [shown]


def test_chunks_of_an_earlier_attempt_are_told_apart():
    progress = Progress(
        [planned(chunks=3)],
        [written("convert", chunk(0, ended=NOW - 100), chunk(1, ended=0.0), chunk(2))],
        [task("convert", "running", 0, started=NOW - 50)],
    )
    assert [cell[-1] for cell in progress.strip()["cells"]] == [1, 1, 0]


def test_rows_that_are_not_indexed_yet():
    plan, rows = [planned(chunks=1)], written("bulk_insert", chunk(0))
    waiting = TaskProgress(step="index", waiting={"songs": 30})
    running = [task("index", "deferred")]
    assert Progress(plan, [rows, waiting], running).collections()[0].indexed == 70
    assert Progress(plan, [rows], running).collections()[0].indexed == 0
    done = [task("index", "success")]
    assert Progress(plan, [rows, waiting], done).collections()[0].indexed == 100


def test_the_plot_spreads_a_chunk_over_the_time_that_it_took():
    progress = Progress(
        [planned(chunks=2)],
        [
            written("convert", chunk(0, ended=NOW + 40, seconds=20.0)),
            written("bulk_insert", chunk(0, ended=NOW + 60, seconds=0.0)),
        ],
        [],
    )
    found = plot(progress, NOW, NOW + 60, bins=6)
    assert found["width"] == 10.0
    assert found["read"] == [0.0, 0.0, 5.0, 5.0, 0.0, 0.0]
    assert found["bytes"] == [0, 0, 40, 40, 0, 0]
    assert found["imported"] == [0.0, 0.0, 0.0, 0.0, 0.0, 10.0]


def test_the_plot_leaves_out_what_was_done_before():
    before = written("convert", chunk(0, ended=NOW - 5), chunk(1, ended=0.0))
    progress = Progress([planned(chunks=2)], [before], [])
    assert sum(plot(progress, NOW, NOW + 60)["read"]) == 0.0


def test_speed_and_time_left_of_the_step_that_is_going_on():
    done = [chunk(at, ended=NOW - 30 + 10 * at) for at in range(3)]
    progress = Progress(
        [planned(chunks=6)],
        [written("convert", *done)],
        [task("convert", "running", 0, started=NOW - 40)],
    )
    found = speed(progress, NOW)
    assert found["step"] == "convert"
    assert found["rows_per_second"] == pytest.approx(300 / 40)
    assert found["seconds_left"] == pytest.approx(300 / (300 / 40))
    assert found["bytes_per_second"] == pytest.approx(8 * 300 / 40)


def test_no_time_left_is_told_before_there_is_a_speed():
    progress = Progress([planned()], [], [task("convert", "running", 0)])
    assert speed(progress, NOW)["seconds_left"] is None


def test_ten_thousand_chunks_are_a_small_answer():
    plan = [planned(f"collection_{at}", chunks=100) for at in range(100)]
    tasks = [
        written("convert", *(chunk(at, collection=one.name) for at in range(100)), index=place)
        for place, one in enumerate(plan)
    ]
    progress = Progress(plan, tasks, [task("convert", "running", at) for at in range(100)])
    strip = progress.strip()
    answer = [strip, plot(progress, NOW - 60, NOW), [vars(one) for one in progress.collections()]]
    assert len(strip["cells"]) <= 300
    assert strip["counts"][ChunkState.READ] == strip["total"] == 10_000
    assert sum(map(sum, strip["cells"])) == 10_000
    assert len(json.dumps(answer)) < 100_000


def test_steps_in_their_order_with_the_states_of_their_tasks():
    tasks = [
        task("convert", "success", 0, NOW - 50, NOW - 40),
        task("convert", "running", 1, NOW - 45),
        task("check", "success", -1, NOW - 60, NOW - 55),
    ]
    steps = step_states(tasks, ORDER)
    assert [step["id"] for step in steps] == list(ORDER)
    convert = steps[2]
    assert (convert["tasks"], convert["states"]) == (2, {"success": 1, "running": 1})
    assert (convert["started"], convert["ended"]) == (NOW - 50, None)
    assert steps[0]["ended"] == NOW - 55


@pytest.mark.parametrize(
    ("states", "cleared"),
    [
        # A mapped task that failed, those after it were not begun.
        (
            [("check", -1, "success"), ("convert", 0, "success"), ("convert", 1, "failed")],
            [["convert", 1]],
        ),
        ([("check", -1, "failed"), ("plan", -1, "upstream_failed")], ["check"]),
        # Marked as failed between two tasks: Airflow skips what was not begun.
        (
            [
                ("check", -1, "success"),
                ("plan", -1, "success"),
                ("convert", -1, "skipped"),
                ("create", -1, "skipped"),
                ("clean_staging", -1, "success"),
            ],
            ["convert"],
        ),
        ([(name, -1, "success") for name in ORDER], []),
    ],
)
def test_what_is_cleared_so_that_a_run_goes_on(states, cleared):
    tasks = [TaskState(name, index, state) for name, index, state in states]
    assert tasks_to_clear(tasks, ORDER) == cleared
