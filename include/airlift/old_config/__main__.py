"""Turns a `migration.yaml` of milvus-migration into a declared migration.

    python -m airlift.old_config migration.yaml include/migrations/songs.yaml

Writes the file ("-" for the standard output), and tells what to add to Airflow and what was left
out. Secrets are neither written nor shown.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import yaml

from airlift.declared.reading import NotDeclared, read_text
from airlift.errors import AirliftError, Refused
from airlift.old_config.asking import OldConfig
from airlift.old_config.converting import Converted, convert

FOLDER = Path("include/migrations")


def main(arguments: list[str]) -> int:
    """Converts the file that the arguments name; 0 when it was done."""
    parser = argparse.ArgumentParser(prog="python -m airlift.old_config", description=__doc__)
    parser.add_argument("file", type=Path, help="a migration.yaml of milvus-migration")
    parser.add_argument("out", nargs="?", help=f"the file to write, or -; in {FOLDER} if not given")
    given = parser.parse_args(arguments)
    try:
        _convert(given.file, given.out or str(FOLDER / f"{given.file.stem}.yaml"))
    except (AirliftError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _convert(file: Path, out: str) -> None:
    name = re.sub(r"\W+", "_", file.stem if out == "-" else Path(out).stem).strip("_")
    config = OldConfig(file.read_bytes(), file.name)
    converted = convert(config, name)
    text = _text(converted, file.name)
    try:
        read_text(text.encode(), name)
    except NotDeclared as error:
        reasons = [f"{file.name} makes what can't be used: {one}" for one in error.reasons]
        raise Refused(reasons) from None
    if out == "-":
        print(text, end="")
    else:
        with Path(out).open("x") as opened:
            opened.write(text)
    for line in _told(config, converted, out):
        print(line, file=sys.stderr)


def _text(converted: Converted, name: str) -> str:
    said = {"path": converted.path, "description": f"From {name} of milvus-migration"}
    body = yaml.safe_dump(
        {**said, "params": converted.params}, sort_keys=False, allow_unicode=True, width=100
    )
    return f"# yaml-language-server: $schema=./schema.json\n{body}"


def _told(config: OldConfig, converted: Converted, out: str) -> list[str]:
    told = [] if out == "-" else [f"wrote {out}"]
    told += ["", "Add these connections to Airflow, with what stands in <…> filled in:"]
    told += [f"  {one.command}" for one in converted.connections]
    for title, lines in (
        ("Look at this:", config.notes),
        ("Left out, as it has no counterpart:", config.left_out()),
    ):
        if lines:
            told += ["", title, *(f"  {line}" for line in lines)]
    return told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
