"""Decoding a backup, against pyarrow reading and writing the very same payloads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.child import Measured, case
from bench.data import cache, warm

ROWS, DIM, SEGMENTS, LOGS = 1_000_000, 128, 4, 4

Say = Callable[..., None]


def backup(rounds: int, work: Path, say: Say) -> None:
    """1M x 128 with 3 % deleted, to Parquet and to numpy: CPU seconds a GB, and memory."""
    folder = cache() / "backup-1M"
    if not folder.is_dir():
        case("backup_make", folder=str(folder), rows=ROWS, dim=DIM, segments=SEGMENTS, logs=LOGS)
    warm(folder)
    for file_format in ("parquet", "numpy"):
        converted: list[Measured] = []
        plain: list[Measured] = []
        lists: list[Measured] = []
        for _ in range(rounds):
            staging = work / "staging"
            options: dict[str, Any] = {"path": "backup", "source": str(folder)}
            options |= {"staging": str(staging), "uri": str(work / "lite.db")}
            planned = case("plan", **options, file_format=file_format)
            converted.append(case("convert", **options, file_format=file_format))
            shutil.rmtree(staging)
            plain.append(_plain(folder, work / "plain", file_format))
            if file_format == "parquet":
                lists.append(_plain(folder, work / "plain", "lists"))
        one, peer = min(converted, key=_cpu), min(plain, key=_cpu)
        gigabytes = one.told["bytes"] / 1e9
        print(f"Backup {ROWS:,} x {DIM}, {SEGMENTS} segments, to {file_format}")
        say("count rows and deletes, cut (once)", planned.told["wall"], "s")
        say("convert, with checks and fingerprint", one.told["wall"], "s")
        say("read_table and write", peer.told["wall"], "s")
        say("CPU a GB", _cpu(one) / gigabytes, "s")
        say("CPU a GB of read_table and write", _cpu(peer) / gigabytes, "s")
        say("CPU / read_table and write", _cpu(one) / _cpu(peer), "x", "backup ratio")
        if lists:
            fair = min(lists, key=_cpu)
            say("CPU / the same, written as lists", _cpu(one) / _cpu(fair), "x")
        say("fingerprint's share of convert", one.told["fingerprint"], "s")
        say("process: peak memory", one.peak_mb, "MB", "backup peak")
        say("process: peak memory of read_table", peer.peak_mb, "MB")


def _plain(folder: Path, to: Path, file_format: str) -> Measured:
    """What pyarrow takes for the same payloads."""
    to.mkdir()
    found = case("backup_plain", folder=str(folder), to=str(to), file_format=file_format)
    shutil.rmtree(to)
    return found


def _cpu(one: Measured) -> float:
    return float(one.told["cpu"])
