"""The recordings of real servers, and what of an answer is compared.

Left out are ids, times and sizes of files, the order of Go's maps, and the wording of parsers.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "rest_import"
VERSIONS = ("2.5.27", "2.6.20")

Answer = dict[str, Any]

# What is replaced in texts: ids, and what the parsers of Go's libraries say in their own words.
_PLACEHOLDERS = (
    (re.compile(r"\bid:\d+"), "id:<id>"),
    (re.compile(r"collection \d{15,}"), "collection <id>"),
    (re.compile(r"\[collection=\d{15,}\]"), "[collection=<id>]"),
    (re.compile(r'"Syntax error (?!no sources).*?"(?=, file:)', re.DOTALL), "<json>"),
    (re.compile(r'(Mismatch type \S+ \S+ with value array) ".*?"', re.DOTALL), r"\1 <json>"),
    (re.compile(r"(decode JSON, error: )(?!The specified).*?(?=: importing data)"), r"\1<json>"),
    (re.compile(r"(', err = )(?!negative|invalid index).*?(?=: importing data)"), r"\1<json>"),
    (re.compile(r"(err=parquet: )(?!could not re).*?(?=: importing data)"), r"\1<parquet>"),
    (re.compile(r"(json format request, error: )(?!json: cannot).*"), r"\1<json>"),
    # Go reads the files of a group in no order.
    (re.compile(r"(key=in/nowhere/)\w+\.npy"), r"\1<any>.npy"),
)
_FILES = re.compile(r"(?<=files: \[)[^\]]*")


@cache
def recordings(version: str) -> dict[str, Any]:
    """All of a version, by name."""
    with gzip.open(FOLDER / f"{version}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return dict(json.loads(line) for line in lines)


def plain_text(text: str) -> str:
    for pattern, placeholder in _PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return _FILES.sub(lambda found: " ".join(sorted(found[0].split())), text)


def plain(value: Any, key: str = "") -> Any:
    """An answer without what may differ from server to server."""
    if isinstance(value, dict):
        return {name: plain(item, name) for name, item in value.items() if name != "fileSize"}
    if isinstance(value, list):
        items = [plain(item) for item in value]
        return sorted(items, key=json.dumps) if key in ("details", "records") else items
    if key in ("jobId", "collectionID"):
        return f"<{type(value).__name__}>"
    if key in ("createTime", "completeTime"):
        return value and re.sub(r"\d", "0", value)
    return plain_text(value) if isinstance(value, str) else value


# --- the states of a job ---------------------------------------------------------------------

PROGRESSES = {
    "Pending": (0,),
    "Importing": (10, 40, 70, 80, 90),
    "Completed": (100,),
    "Failed": (0,),
}


def stage(answer: Answer) -> tuple[str, int, str, int]:
    """State and progress of a job, and of its first group."""
    data = answer["data"]
    group = data["details"][0] if data["details"] else {"state": "", "progress": 0}
    return data["state"], data["progress"], group["state"], group["progress"]


# Stages that last less than the seconds between two questions at times, so that they were not
# always seen.
SHORT = {
    ("Importing", 40, "", 0),
    ("Importing", 40, "Pending", 0),
    ("Importing", 70, "InProgress", 100),
    ("Importing", 80, "Completed", 100),
}


def is_between(answer: Answer) -> bool:
    """Whether a job is on its way between two stages, of which the emulator knows nothing."""
    state, progress, group, share = stage(answer)
    return progress not in PROGRESSES[state] or (group == "InProgress" and 0 < share < 100)


def stage_seconds(version: str) -> dict[tuple[str, int, str, int], tuple[float, float]]:
    """The earliest and the latest second at which a recorded job was first seen in a stage."""
    seconds: dict[tuple[str, int, str, int], list[float]] = {}
    for recording in recordings(version).values():
        watched = recording.get("describe") if isinstance(recording, dict) else None
        for seen in watched or ():
            if "at" in seen:
                seconds.setdefault(stage(seen["answer"]), []).append(seen["at"])
    return {name: (min(values), max(values)) for name, values in seconds.items()}
