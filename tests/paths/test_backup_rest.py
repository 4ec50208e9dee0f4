"""Backups into the emulator of newer servers, which stands for what can't run here: the target
imports the logs by itself, and takes users with the hashes of their passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlift.errors import AirliftError, Refused
from airlift.staging import Staging
from airlift.targets.access import AccessByRestore
from localservers import S3Server
from tests.emulators.rest_import import RestImportServer, S3Storage, Zilliz
from tests.paths.backups_with_roles import HASH, backup, grant, rbac, small, user
from tests.paths.place import Place
from tests.paths.test_backup_native import _killed
from tests.paths.test_backup_to_milvus import BACKUP, counts, holds
from tests.paths.test_rest_import import own_jobs, place_on
from tests.paths.test_rollback import undo
from tests.real_backups import truth

NATIVE = {"backup_way": "native", "verify": "full", "write_mode": "auto"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestImportServer]:
    with RestImportServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def place(server: RestImportServer, tmp_path: Path) -> Iterator[Place]:
    staging = tmp_path / "server" / "bucket" / "staging area"
    with place_on(server, tmp_path / "backups", str(staging)) as place:
        place.kind = BACKUP
        yield place


def assert_came_natively(place: Place, report: dict[str, Any]) -> None:
    [one] = report["collections"]
    assert (one["way"], one["file_format"], one["bytes"]) == ("rest_backup_import", "own files", 0)
    assert counts(one) == {5673} and one["rows_deleted"] == 460
    verified = one["verification"]
    assert verified["fingerprint_source"] == verified["fingerprint_target"]
    holds(place.client, "articles", truth("mixed", "articles"), "id")


def test_the_target_imports_the_logs_from_a_copy_in_staging(server, place, monkeypatch):
    """Killed when a job was accepted and not written down: it is found again by its folders."""
    [folder] = place.write("mixed")
    where = {"backup_url": str(folder), "copy_source": "always"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Staging, "write_import_record", _killed)
        place.run(**where, **NATIVE)
    report = place.run(**where, **NATIVE)
    assert_came_natively(place, report)
    [one] = report["collections"]
    assert one["jobs_adopted"] == 1 and len(own_jobs(server)) == one["chunks"]
    for request in server.requests:
        if request["path"].endswith("/create"):
            body = request["body"]
            assert body["options"] == {"backup": "true"} and body["partitionName"]
            [folders] = body["files"]
            assert 1 <= len(folders) <= 2 and all(name.endswith("/") for name in folders)


def test_the_target_imports_the_logs_from_its_own_bucket(tmp_path, s3_server: S3Server):
    s3_server.make_bucket("milvus-backups")
    storage = S3Storage(
        s3_server.endpoint_url, "milvus-backups", s3_server.access_key, s3_server.secret_key
    )
    with (
        RestImportServer(tmp_path / "server", storage=storage) as server,
        place_on(server, tmp_path / "backups", "s3://milvus-backups/staging", s3_server) as place,
    ):
        address = backup(tmp_path / "backups", None, small("songs"))
        for path in Path(address).rglob("*"):
            if path.is_file():
                name = f"milvus-backups/backup/one/{path.relative_to(address)}"
                with storage.fs.open_output_stream(name) as file:
                    file.write(path.read_bytes())
        place.kind = BACKUP
        params = NATIVE | {"mapping": {"songs": {"dynamic_field": False}}}
        where = {"backup_url": "s3://milvus-backups/backup/one", "source_conn_id": "store"}
        [one] = place.run(**where, **params)["collections"]
        assert one["way"] == "rest_backup_import" and counts(one) == {3}
        assert [row["id"] for row in place.client.query("songs", "id > 0")] == [1, 2, 3]
        [job] = own_jobs(server)
        assert job.files[0][0].startswith("backup/one/binlogs/insert_log/")


def test_zilliz_cloud_takes_neither_logs_nor_users(tmp_path, s3_server: S3Server):
    s3_server.make_bucket("cloud-backups")
    storage = S3Storage(
        s3_server.endpoint_url, "cloud-backups", s3_server.access_key, s3_server.secret_key
    )
    zilliz = Zilliz(buckets={"cloud-backups": storage}, session_token="")
    with (
        RestImportServer(tmp_path / "server", zilliz=zilliz) as server,
        place_on(server, tmp_path / "backups", "s3://cloud-backups/x", s3_server) as place,
    ):
        place.kind = BACKUP
        address = backup(tmp_path / "backups", rbac([]), small("songs"))
        with pytest.raises(Refused) as refused:
            place.run(backup_url=address, with_rbac=True, copy_source="always", **NATIVE)
        reasons = "\n".join(refused.value.reasons)
        assert "Zilliz Cloud (Milvus 2.6) is not known to import such files" in reasons
        assert "can't be restored on Zilliz Cloud (Milvus 2.6); turn with_rbac off" in reasons


HELD = rbac(
    [
        grant("reader", "Query", "songs", "default"),
        # Milvus keeps a group's grants as Global, also those on one collection.
        grant("reader", "CollectionReadOnly", "songs", "default", "Global"),
        grant("reader", "readers", "songs", "default", "Global"),
        grant("reader", "others", "songs", "default", "Global"),
        grant("there", "Insert", "songs", "default"),
    ],
    users=(user("ann", "reader", "public"), user("bob", "there", "admin"), user("eve", "reader")),
    groups={"readers": ["Query", "Search"], "others": ["Query"]},
)
RESTORED = {"with_rbac": True, "verify": "counts", "write_mode": "insert"}


def written(place: Place) -> str:
    return backup(place.folder, HELD, small("songs"))


def test_users_come_with_the_hashes_of_their_passwords(server, place, monkeypatch):
    server.rbac.roles.add(name="there")
    server.rbac.users.add(user="eve", password="her own")
    server.rbac.privilege_groups.add(group_name="others").privileges.add(name="Insert")
    before = server.rbac.SerializeToString()
    params = {"backup_url": written(place), "mapping": {"songs": {"target": "tunes"}}, **RESTORED}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        # Its answer is lost: the server has made everything all the same.
        restore = AccessByRestore.restore

        def killed(*given: Any) -> None:
            restore(*given)
            raise KeyboardInterrupt

        patch.setattr(AccessByRestore, "restore", killed)
        place.run(**params)
    report = place.run(**params)["access"]
    assert report["users"] == {"ann": ["reader"], "bob": []} and report["done"]
    assert report["roles"] == ["reader"] and report["groups"] == ["readers"]
    users = {one.user: (one.password, [r.name for r in one.roles]) for one in server.rbac.users}
    assert users == {"eve": ("her own", []), "ann": (HASH, ["reader"]), "bob": (HASH, [])}
    granted = [(one.grantor.privilege.name, one.object_name) for one in server.rbac.grants]
    assert granted == [("Query", "tunes"), ("CollectionReadOnly", "tunes"), ("readers", "tunes")]
    left = "\n".join(report["left"])
    for said in (
        "the role 'there' is on the target already",
        "the user 'eve' is on the target already",
        "the user 'bob' does not get the role 'admin'",
        "the user 'bob' does not get the role 'there'",
        "the privilege group 'others' is on the target already with other privileges",
        "reader: others (Global) on 'songs' of the database 'default': the target lacks",
    ):
        assert said in left
    with place.migration(**params) as migration:
        folder = migration.staging.folder
        for path in place.staged():
            assert HASH.encode() not in folder.read_bytes(path), path
    found = undo(place, place.migration_id)
    assert (found.users, found.roles) == (("ann", "bob"), ("reader",))
    assert found.privilege_groups == ("readers",) and not found.left
    assert server.rbac.SerializeToString() == before


def test_what_the_server_refuses_is_told_and_nothing_is_made(server, place):
    held = rbac([grant("reader", "FromTheFuture", "songs", "default")])
    address = backup(place.folder, held, small("songs"))
    with pytest.raises(AirliftError) as error:
        place.run(backup_url=address, **RESTORED)
    assert "privilege [FromTheFuture] does not exist" in str(error.value)
    assert "with_rbac off" in str(error.value)
    assert not server.rbac.roles
    report = place.run(backup_url=address, **{**RESTORED, "with_rbac": False})
    assert report["state"] == "done" and not report["access"]["done"]
    page = (Path(place.staging_url) / place.migration_id / "report.html").read_text()
    assert "were to be restored, but a run ended before all were there" in page
