"""The target imports the logs of a backup by itself: the same rows as when we decode them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airlift.copying import copy_file
from airlift.errors import AirliftError, Refused
from airlift.sources.unchanged import FileChanged
from airlift.staging import Staging
from airlift.steps.import_chunks import BatchImport
from airlift.storage import Storage
from tests.paths.place import Place
from tests.paths.test_backup_to_milvus import counts, from_bucket, holds, in_bucket, lite, place
from tests.real_backups import truth

__all__ = ["in_bucket", "lite", "place"]  # fixtures

CODES = {
    "collections": ["default.codes"],
    "backup_way": "native",
    "mapping": {"default.codes": {"database": "default", "dynamic_field": False}},
    "verify": "full",
    "index": "autoindex",
    "wait_for_index": False,
}


def assert_came_natively(place: Place, report: dict[str, Any]) -> None:
    [one] = report["collections"]
    assert (one["way"], one["file_format"], one["bytes"]) == ("grpc_backup_import", "own files", 0)
    assert counts(one) == {1861}
    verified = one["verification"]
    assert verified["fingerprint_source"] == verified["fingerprint_target"]
    holds(place.client, "codes", truth("types", "default.codes"), "code")


def test_from_the_bucket_that_the_target_stores_in(in_bucket):
    [folder] = in_bucket.write("types")
    where = from_bucket(in_bucket, folder) | {"source_conn_id": "store"}
    assert_came_natively(in_bucket, in_bucket.run(**where, **CODES))


def test_from_a_copy_in_staging_and_again(place, monkeypatch):
    """Killed when the jobs were accepted and not written down: they are found again, by a run with
    the same id only, and only in the collection that they were for."""
    [folder] = place.write("types")
    where = {"backup_url": str(folder), "copy_source": "always"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Staging, "write_import_record", _killed)
        place.run(**where, **CODES)
    report = place.run(**where, **CODES)
    assert_came_natively(place, report)
    assert report["collections"][0]["jobs_adopted"] == 1
    # Another collection of that name does not take the old one's jobs for its own.
    place.client.drop_collection("codes")
    assert_came_natively(place, place.run(**where, **CODES, migration_id="anew"))


def test_what_a_killed_copy_left_is_not_imported(place, monkeypatch):
    """Milvus reads all files of a folder of logs, also one that was not written to its end."""
    [folder] = place.write("types")
    where = {"backup_url": str(folder), "copy_source": "always"}

    def copy_until_killed(source: Storage, target: Storage, relative: str, size: int) -> None:
        if "delta_log" in relative:
            target.open_output(relative)
            raise KeyboardInterrupt
        copy_file(source, target, relative, size)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("airlift.steps.copy_source.copy_file", copy_until_killed)
        place.run(**where, **CODES)
    assert_came_natively(place, place.run(**where, **CODES))


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"mapping": {"default.codes": {"exclude": ["label"]}}}, "mapping has .'exclude'."),
        ({"mapping": {}}, "has no dynamic field; turn it off|store that the target reads"),
        ({"copy_source": "never"}, "not in the store that the target reads"),
        ({"write_mode": "insert"}, "write_mode is insert"),
        ({"on_duplicate_id": "keep_one"}, "on_duplicate_id leaves rows out"),
    ],
)
def test_what_would_not_give_the_same_rows_is_refused(in_bucket, params, said):
    [folder] = in_bucket.write("types")
    with pytest.raises(Refused, match=said):
        in_bucket.run(**{"backup_url": str(folder), **CODES, **params})


def test_a_target_without_such_an_import(lite):
    [folder] = lite.write("types")
    with pytest.raises(Refused, match="Milvus Lite .* is not known to import such files"):
        lite.run(backup_url=str(folder), **CODES)


@pytest.mark.parametrize(("moment", "log"), [("before", "insert_log"), ("after", "delta_log")])
def test_logs_that_change_around_the_import(place, monkeypatch, moment, log):
    """The server reads them once more than we: what it read may not be what was checked here."""
    [folder] = place.write("types")
    meta = orjson.loads((folder / "meta" / "full_meta.json").read_bytes())
    [codes] = [one for one in meta["collection_backups"] if one["collection_name"] == "codes"]
    logs = folder.glob(f"binlogs/{log}/{codes['collection_id']}/**/*")
    path = sorted(path for path in logs if path.is_file())[-1]
    submit, jobs = BatchImport.submit, []

    def submit_then_change(batch: BatchImport) -> list[str]:
        jobs.extend(submit(batch))
        path.touch()
        return jobs

    with monkeypatch.context() as patch:
        if moment == "before":
            patch.setattr(BatchImport, "submit", lambda batch: (path.touch(), submit(batch))[1])
        else:
            patch.setattr(BatchImport, "submit", submit_then_change)
        with pytest.raises(FileChanged, match=f"/{path.name} was changed since") as error:
            place.run(backup_url=str(folder), **CODES)
    has_read = "has read files of the source that were changed meanwhile: drop the collection"
    assert (has_read in str(error.value)) == (moment == "after") == bool(jobs)
    if moment == "before":  # no job has taken the file as it is now or was then
        assert_came_natively(place, place.run(backup_url=str(folder), **CODES))
        return
    with pytest.raises(AirliftError, match="use a new migration_id"):
        place.run(backup_url=str(folder), **CODES)
    place.client.drop_collection("codes")
    assert_came_natively(place, place.run(backup_url=str(folder), **CODES, migration_id="still"))
