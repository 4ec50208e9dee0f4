"""The target imports the logs of a backup by itself: the same rows as when we decode them."""

from __future__ import annotations

from typing import Any

import pytest

from airlift.copying import copy_file
from airlift.errors import Refused
from airlift.staging import Staging
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
