"""Chunk files as JSON, against the same rows as Parquet: writing them, and a real import."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.child import Measured, case
from localservers import Milvus

FORMATS = ("parquet", "json")

Say = Callable[..., None]


def json_files(folder: Path, rounds: int, work: Path, say: Say) -> None:
    """1M x 128: CPU and bytes of `convert`, and the seconds of the step `bulk_insert`.

    Args:
        folder: of the source, Milvus 1.x tables.
    """
    converted: dict[str, Measured] = {}
    for name in FORMATS:
        runs = []
        for _ in range(rounds):
            staging = work / "staging"
            options = {"source": str(folder), "staging": str(staging), "file_format": name}
            options["uri"] = str(work / "lite.db")
            case("plan", **options)
            runs.append(case("convert", **options))
            shutil.rmtree(staging)
        converted[name] = min(runs, key=lambda one: float(one.told["cpu"]))
    imported: dict[str, Any] = {}
    with Milvus(work / "milvus") as server:
        for name in FORMATS:
            staging = server.data_dir / f"staging-{name}"
            options = {"source": str(folder), "staging": str(staging), "file_format": name}
            options |= {"uri": server.uri, "if_exists": "replace", "index": "none"}
            done = case("end_to_end", **options, load=False, verify="counts")
            imported[name] = done.told["steps"]["bulk_insert"]
    print("1M x 128 as JSON and as Parquet")
    for name, one in converted.items():
        say(f"{name}: convert", one.told["wall"], "s")
        say(f"{name}: CPU per 1M rows", one.told["cpu"], "s")
        say(f"{name}: files", one.told["bytes"] / 1e6, "MB")
        say(f"{name}: process: peak memory", one.peak_mb, "MB")
        say(f"{name}: bulk_insert into Milvus 2.3.5", imported[name], "s")
    parquet, json = (converted[name].told for name in FORMATS)
    say("CPU of convert, JSON / Parquet", json["cpu"] / parquet["cpu"], "x")
    say("bytes, JSON / Parquet", json["bytes"] / parquet["bytes"], "x")
    say("bulk_insert, JSON / Parquet", imported["json"] / imported["parquet"], "x")
