"""Whole migrations into the emulator as the versions behave that were recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from samples.milvus1x_tables import TableSpec
from tests.emulators.recorded import VERSIONS
from tests.emulators.rest_import import RestImportServer
from tests.paths.test_rest_import import only, own_jobs, place_on
from tests.paths.truth import assert_holds

SONGS = TableSpec("songs", 400, dim=16, segments=2, deleted_fraction=0.1, partitions={"rock": 50})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file_format", ["numpy", "parquet"])
def test_rows_arrive(tmp_path: Path, version: str, file_format: str):
    bucket = tmp_path / "server" / "bucket" / "staging"
    with (
        RestImportServer(tmp_path / "server", version) as server,
        place_on(server, tmp_path / "source", str(bucket)) as place,
    ):
        truth = place.write(SONGS)
        report = place.run(file_format=file_format, verify="full")
        assert report["target"].startswith(f"Milvus {version}")
        assert only(report)["way"] == "rest_import"
        live = sum(len(part.ids) for part in truth["songs"].partitions.values())
        assert only(report)["rows_counted"] == only(report)["rows_imported"] == live
        assert_holds(place.client, "songs", truth["songs"])
        assert len(own_jobs(server)) == only(report)["chunks"]
