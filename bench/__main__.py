"""`python -m bench`: runs the benchmarks and prints their ratios. This process stays small."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.backup import backup
from bench.child import Measured, case, measure
from bench.data import FAISS, ROWS, cache, faiss_index, source, warm
from bench.json_files import json_files
from bench.milvus_reading import milvus_job, milvus_reading
from bench.records import records
from bench.search import elasticsearch

# What must be reached, where more is better.
AT_LEAST = {"search one worker": 3, "search two workers": 5, "milvus one worker": 4}
TARGETS = {
    "local ratio": 2.5,
    "local CPU": 0.8,
    "local peak": 300,
    "S3 ratio": 1.5,
    "S3 peak": 400,
    "end to end": 25,
    "faiss ratio": 1.0,
    "faiss peak ratio": 0.5,
    "faiss peak": 300,
    "search peak": 300,
    "milvus peak": 400,
    "milvus job": 12,
    "backup ratio": 1.5,
    "backup peak": 500,
    "fingerprint ratio": 2.5,
}


def _say(label: str, value: float, unit: str, target: str = "") -> None:
    least, limit = AT_LEAST.get(target), TARGETS.get(target)
    verdict = ""
    if limit is not None:
        verdict = f"   target {limit:g}: {'ok' if value <= limit else 'MISSED'}"
    if least is not None:
        verdict = f"   at least {least:g}: {'ok' if value >= least else 'MISSED'}"
    print(f"  {label:<46}{value:>9.2f} {unit:<8}{verdict}", flush=True)


def _make(size: str) -> Path:
    """The source, made in a process of its own: numpy would make this one large."""
    measure([sys.executable, "-c", f"from bench.data import source; source({size!r})"])
    folder = source(size)
    warm(folder)
    return folder


def _best(found: list[Measured]) -> Measured:
    """The least disturbed of several runs on a machine that others use too."""
    return min(found, key=lambda one: one.told.get("wall", one.wall))


def _planned(folder: Path, staging: str, work: Path, **more: Any) -> dict[str, Any]:
    """Plans into a staging folder; returns the options of the case."""
    # Converting asks nothing of the target: planning does, and a Milvus Lite answers as well.
    options = {"source": str(folder), "staging": staging, "uri": str(work / "lite.db"), **more}
    case("plan", **options)
    return options


def local(sizes: list[str], rounds: int, work: Path) -> None:
    """To numpy on the local disk, against `cp -r` of what comes out."""
    for size in sizes:
        folder = _make(size)
        converted: list[Measured] = []
        copied: list[Measured] = []
        for _ in range(rounds):
            staging = work / "staging"
            options = _planned(folder, str(staging), work)
            converted.append(case("convert", **options))
            made = staging / "bench" / "songs"
            shutil.rmtree(work / "copy", ignore_errors=True)
            copied.append(measure(["cp", "-r", str(made), str(work / "copy")]))
            shutil.rmtree(work / "copy")
            shutil.rmtree(staging)
        one, copy = _best(converted), _best(copied)
        millions = ROWS[size] / 1e6
        print(f"{size} x 128, local disk ({one.told['bytes'] / 1e6:.0f} MB of numpy files)")
        _say("convert", one.told["wall"], "s")
        _say("cp -r of the same bytes", copy.wall, "s")
        _say("convert / cp -r", one.told["wall"] / copy.wall, "x", "local ratio")
        _say("CPU per 1M rows", one.told["cpu"] / millions, "s", "local CPU")
        _say("  of it in the kernel (page cache)", one.told["system"] / millions, "s")
        _say("CPU per 1M rows of cp -r", copy.cpu / millions, "s")
        _say("fingerprint's share of convert", one.told["fingerprint"] / millions, "s")
        _say("process: CPU with imports", one.cpu, "s")
        _say("process: peak memory", one.peak_mb, "MB", "local peak")


def bucket(sizes: list[str], rounds: int, work: Path) -> None:
    """To a bucket, against a plain upload of the same bytes."""
    from localservers import S3Server

    with S3Server(work / "s3", bucket="bench") as server:
        s3 = {
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "region": server.region,
            "endpoint_url": server.endpoint_url,
        }
        buckets = work / "s3" / "buckets" / "bench"
        for size in sizes:
            folder = _make(size)
            local_options = _planned(folder, str(work / "staging"), work)
            files = case("convert", **local_options).told["files"]
            converted, uploaded = [], []
            for _ in range(rounds):
                options = _planned(folder, "s3://bench/staging", work, s3=s3)
                converted.append(case("convert", **options))
                shutil.rmtree(buckets / "staging")
                staged = str(work / "staging" / "bench")
                uploaded.append(case("upload", folder=staged, s3=s3, bucket="bench", files=files))
                shutil.rmtree(buckets / "plain")
            shutil.rmtree(work / "staging")
            one, plain = _best(converted), _best(uploaded)
            print(f"{size} x 128, S3 (versitygw on this machine)")
            _say("convert", one.told["wall"], "s")
            _say("plain upload of the same bytes", plain.told["wall"], "s")
            ratio = statistics.median(
                a.told["wall"] / b.told["wall"] for a, b in zip(converted, uploaded, strict=True)
            )
            _say("convert / upload, best", one.told["wall"] / plain.told["wall"], "x", "S3 ratio")
            _say("convert / upload, median", ratio, "x")
            _say("CPU per 1M rows", one.told["cpu"] / (ROWS[size] / 1e6), "s")
            _say("CPU per 1M rows of the upload", plain.told["cpu"] / (ROWS[size] / 1e6), "s")
            _say("process: peak memory", max(c.peak_mb for c in converted), "MB", "S3 peak")


def end_to_end(work: Path, index: bool) -> None:
    """From the source folder to loaded, indexed and verified on a real Milvus 2.3.5."""
    from localservers import Milvus

    folder = _make("1M")
    with Milvus(work / "milvus") as server:
        options: dict[str, Any] = {"source": str(folder), "uri": server.uri, "verify": "sample"}
        staging = str(server.data_dir / "staging")
        one = case("end_to_end", **options, staging=staging, wait_for_index=index)
        waits = "waiting for the index" if index else "the index is built in the background"
        print(f"1M x 128, end to end on Milvus 2.3.5 ({waits})")
        for step, seconds in one.told["steps"].items():
            _say(step, seconds, "s")
        _say("all steps", one.told["wall"], "s", "" if index else "end to end")
        _say("process: CPU with imports", one.cpu, "s")
        _say("process: peak memory", one.peak_mb, "MB")


def faiss(rounds: int, work: Path) -> None:
    """Index files to numpy, against what Faiss and numpy do by themselves in the same run."""
    for name, (_, rows) in FAISS.items():
        code = f"from bench.data import faiss_index; faiss_index({name!r})"
        measure([sys.executable, "-c", code])
        folder = faiss_index(name)
        warm(folder)
        index = str(folder / "songs.index")
        converted: list[Measured] = []
        dumped: list[Measured] = []
        for _ in range(rounds):
            staging = work / "staging"
            options = _planned(folder, str(staging), work, path="faiss", source=index)
            converted.append(case("convert", **options))
            shutil.rmtree(staging)
            dump = work / "dump"
            dump.mkdir()
            dumped.append(case("faiss_dump", index=index, folder=str(dump)))
            shutil.rmtree(dump)
        one, plain = _best(converted), _best(dumped)
        print(f"Faiss {name} x 128, local disk ({one.told['bytes'] / 1e6:.0f} MB of numpy files)")
        _say("convert, with checks and fingerprint", one.told["wall"], "s")
        _say("read_index, reconstruct_n, numpy.save", plain.told["wall"], "s")
        _say("convert / Faiss and numpy", one.told["wall"] / plain.told["wall"], "x", "faiss ratio")
        _say("CPU per 1M rows", one.told["cpu"] / (rows / 1e6), "s")
        _say("CPU per 1M rows of Faiss and numpy", plain.told["cpu"] / (rows / 1e6), "s")
        _say("process: peak memory", one.peak_mb, "MB", "faiss peak")
        _say("process: peak memory of Faiss and numpy", plain.peak_mb, "MB")
        _say("peak / Faiss and numpy", one.peak_mb / plain.peak_mb, "x", "faiss peak ratio")


def fingerprint() -> None:
    """The fingerprint of rows in memory, against sums of their words."""
    for dim, rows in ((128, 500_000), (768, 100_000)):
        told = case("fingerprint_rows", rows=rows, dim=dim).told
        print(f"Fingerprint of rows of an id and {dim} floats")
        _say("CPU per 1M rows", told["fingerprint"] / rows * 1e6, "s")
        _say("CPU per 1M rows of 64-bit word sums", told["word sums"] / rows * 1e6, "s")
        ratio = told["fingerprint"] / told["word sums"]
        _say("fingerprint / word sums", ratio, "x", "fingerprint ratio")


def _machine() -> str:
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = names[0].split(":", 1)[1].strip() if names else "unknown processor"
    return f"{os.cpu_count()} cores, {model}, {memory:.0f} GiB; load {os.getloadavg()[0]:.1f}"


def _milvus(chosen: argparse.Namespace, work: Path) -> None:
    end_to_end(work, index=False)
    if chosen.index:
        end_to_end(work / "indexed", index=True)


# A new path's case is a function and a line here.
CASES: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "local": lambda chosen, work: local(chosen.sizes, chosen.rounds, work),
    "s3": lambda chosen, work: bucket(chosen.sizes, chosen.rounds, work),
    "milvus": _milvus,
    "faiss": lambda chosen, work: faiss(chosen.rounds, work),
    "elasticsearch": lambda chosen, work: elasticsearch(chosen.rounds, work, _say),
    "backup": lambda chosen, work: backup(chosen.rounds, work, _say),
    "milvus-reading": lambda chosen, work: milvus_reading(chosen.rounds, work, _say),
    "fingerprint": lambda _chosen, _work: fingerprint(),
    "json": lambda chosen, work: json_files(_make("1M"), chosen.rounds, work, _say),
    "records": lambda _, work: records(work, _say),
    "milvus-job": lambda _, work: milvus_job(work, _say),
}


def main() -> None:
    """Runs what the arguments choose."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}; all of them by default")
    parser.add_argument("--sizes", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the best counts")
    parser.add_argument(
        "--index", action="store_true", help="milvus: wait for the index too (minutes on 2 cores)"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    cases = chosen.cases or CASES
    print(_machine())
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix="run-") as folder:
        work = Path(folder)
        for name in cases:
            CASES[name](chosen, work)


if __name__ == "__main__":
    main()
