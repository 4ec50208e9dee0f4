"""A backup in a bucket of another cloud, staged in that too, into a real target."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlift.storage import open_storage
from localservers import MilvusLite
from tests.paths.place import Place, lite_place
from tests.paths.test_backup_to_milvus import BACKUP, counts, holds
from tests.real_backups import truth
from tests.servers.bucket_services import SERVICES

BUCKET = "backup-path"


@pytest.mark.parametrize("name", ["google", "azure"])
def test_a_whole_collection_arrives_as_it_was(
    name: str, request: pytest.FixtureRequest, milvus_lite: MilvusLite, tmp_path: Path
) -> None:
    service = SERVICES[name]
    server = request.getfixturevalue(service.fixture)
    server.make_bucket(BUCKET)
    with lite_place(milvus_lite, tmp_path / "backups", BACKUP) as there:
        [folder] = there.write("mixed")
        connection = service.connection(server)
        url = service.url.format(BUCKET)
        backup = open_storage(f"{url}/backup/mixed", connection)
        for path in folder.rglob("*"):
            if path.is_file():
                backup.write_bytes(str(path.relative_to(folder)), path.read_bytes())
        place = Place(folder, f"{url}/staging", there.client, there.connections, BACKUP)
        place.connections.buckets["store"] = connection
        place.defaults |= {"source_conn_id": "store", "staging_conn_id": "store"}
        report = place.run(backup_url=url, verify="full", keep_staging=True)
        [one] = report["collections"]
        assert (one["rows_source"], one["rows_deleted"]) == (6133, 460)
        assert counts(one) == {5673}
        verified = one["verification"]
        assert verified["fingerprint_source"] == verified["fingerprint_target"]
        holds(place.client, "articles", truth("mixed", "articles"), "id")
        staged = place.staged()
        assert "report.json" in staged
        kept = server.objects(BUCKET)
        assert {f"staging/{place.migration_id}/{path}" for path in staged} <= set(kept)
        secrets = service.secrets(server)
        for path in staged:
            said = open_storage(f"{url}/staging/{place.migration_id}", connection).read_bytes(path)
            assert not any(secret.encode() in said for secret in secrets), path
