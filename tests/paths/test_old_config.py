"""A `migration.yaml` of milvus-migration, converted, and run as it would be declared."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from airlift.declared.reading import read_folder
from airlift.old_config.__main__ import main
from samples.milvus1x_tables import TableSpec
from tests.paths.place import Place
from tests.paths.truth import assert_holds

OLD = """
dumper:
  worker:
    limit: 2
    workMode: milvus1x
    reader: {{bufferSize: 1024}}
    writer: {{bufferSize: 1024}}
loader:
  worker: {{limit: 16}}
meta:
  mode: sqlite
  sqliteFile: {folder}/meta.sqlite
source:
  mode: local
  local:
    tablesDir: {folder}/tables/
target:
  mode: local
  local:
    outputDir: {staging}
  milvus2x:
    endpoint: {endpoint}
    username: root
    password: Milvus
"""


def test_rows_arrive_as_its_config_says(place: Place, tmp_path: Path, capsys: Any) -> None:
    spec = TableSpec("songs", 1_200, dim=16, segments=3, deleted_fraction=0.05, seed=3)
    truth = place.write(spec)
    server = place.connections.servers["milvus_default"]
    config = OLD.format(
        folder=place.folder,
        staging=place.staging_url,
        endpoint=server.uri.removeprefix("http://"),
    )
    (tmp_path / "migration.yaml").write_text(config)
    declared = tmp_path / "declared"
    declared.mkdir()
    assert main([str(tmp_path / "migration.yaml"), str(declared / "old_songs.yaml")]) == 0
    [migration], broken = read_folder(declared)
    assert not broken and migration.source == place.kind.name

    # What the printed command adds leads to this very server.
    [command] = [line for line in capsys.readouterr().err.splitlines() if "connections add" in line]
    words = shlex.split(command)
    given = dict(zip(words[4::2], words[5::2], strict=True))
    assert f"http://{given['--conn-host']}:{given['--conn-port']}" == server.uri
    assert given["--conn-password"] == "<password of target.milvus2x>"
    place.connections.servers = {words[3]: server}

    report = place.run(**migration.declaration.params, verify="full")
    assert report["collections"][0]["rows_counted"] == spec.rows - truth["songs"].deleted
    assert_holds(place.client, "songs", truth["songs"])
