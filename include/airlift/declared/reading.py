"""Reads the files of a folder of declared migrations: those that are right, and what is wrong."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from airlift.declared.declaration import (
    DAG_PREFIX,
    PATH_SUFFIX,
    TIMES_OF_AIRFLOW,
    AfterAssets,
    Declaration,
)
from airlift.declared.reasons import Reasons, nearest, reasons_against
from airlift.declared.yaml_lines import MAX_BYTES, Document, Place, YamlError, read_yaml
from airlift.errors import AirliftError
from airlift.sources.registry import params_class, sources

if TYPE_CHECKING:
    from airlift.params import MigrationParams

log = logging.getLogger("airlift")

ENDINGS = (".yaml", ".yml")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_SECRET_IN_URL = re.compile(r"://[^/\s]*@|://[^/\s:]+:[^/\s\d]")


class BrokenDeclarations(AirliftError):
    """Files that declare no migration; the message has every reason, with file, line and key."""

    def __init__(self, folder: Path, broken: dict[str, list[str]]) -> None:
        files = f"{len(broken)} file{'s' * (len(broken) > 1)}"
        lines = [f"{name}, {reason}" for name, reasons in broken.items() for reason in reasons]
        super().__init__(
            f"{files} in {folder} can't be used; the others are. "
            "Mend this:\n" + "\n".join(f"  {line}" for line in lines)
        )


@dataclass(frozen=True)
class DeclaredMigration:
    """A file that is right.

    Attributes:
        name: of the file, without its ending.
        file: its name.
        declaration: what it says.
        assets_line: where the assets stand that it waits for; 1 where there are none.
    """

    name: str
    file: str
    declaration: Declaration
    assets_line: int

    @property
    def dag_id(self) -> str:
        """Of its DAG, which is also the name of the asset that it publishes."""
        return DAG_PREFIX + self.name

    @property
    def source(self) -> str:
        """The source system, as the entry-point group `airlift.sources` names it."""
        return self.declaration.path.removesuffix(PATH_SUFFIX)

    @property
    def awaits(self) -> tuple[str, ...]:
        """The names of assets whose publishing starts it."""
        schedule = self.declaration.schedule
        return schedule.assets if isinstance(schedule, AfterAssets) else ()


def declaration_files(folder: Path) -> list[Path]:
    """The files of a folder that declare migrations, by name; what begins with a dot is none."""
    files = (file for file in folder.iterdir() if file.suffix in ENDINGS and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def read_folder(
    folder: Path, wanted: Callable[[str], bool] = lambda dag_id: True
) -> tuple[list[DeclaredMigration], dict[str, list[str]]]:
    """Reads the files of a folder.

    Args:
        wanted: given the id of a DAG, whether its file is to be read.

    Returns:
        The migrations that are declared rightly, and by file name what is wrong with the others.
    """
    files = declaration_files(folder)
    names = [file.stem for file in files]
    good: list[DeclaredMigration] = []
    broken: dict[str, list[str]] = {}
    for file in files:
        if wanted(DAG_PREFIX + file.stem):
            try:
                good.append(_read(file, names))
            except NotDeclared as error:
                broken[file.name] = error.reasons
            except Exception as error:
                # Whatever a file makes a library raise, the other files keep their DAGs.
                log.exception("%s can't be read", file)
                broken[file.name] = [
                    f"line 1: it can't be read: {type(error).__name__}; the log of the DAG "
                    "processor has more"
                ]
    while circle := _circle(good):
        told = " -> ".join(one.dag_id for one in (*circle, circle[0]))
        for one in circle:
            reason = f"they start each other without end: {told}"
            broken[one.file] = [f"line {one.assets_line}, schedule.assets: {reason}"]
        good = [one for one in good if one not in circle]
    return good, broken


def _circle(migrations: list[DeclaredMigration]) -> list[DeclaredMigration]:
    """Migrations each of which is started by the one before it, and the first by the last."""
    by_id = {one.dag_id: one for one in migrations}
    awaited = {one.dag_id: [asset for asset in one.awaits if asset in by_id] for one in migrations}
    try:
        TopologicalSorter(awaited).prepare()
    except CycleError as error:
        return [by_id[dag_id] for dag_id in error.args[1][:-1]]
    return []


class NotDeclared(AirliftError):
    """A file declares no migration; `reasons` begin with the line."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = list(reasons)
        super().__init__("\n".join(self.reasons))


def _read(file: Path, names: list[str]) -> DeclaredMigration:
    if not _NAME.fullmatch(file.stem):
        raise NotDeclared(["line 1: a file's name may have letters, digits, _ and - before .yaml"])
    if names.count(file.stem) > 1:
        raise NotDeclared([f"line 1: there are two files named {file.stem}, .yaml and .yml"])
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotDeclared([f"line 1: it can't be read: {error.strerror}"]) from None
    document = _document(text)
    declaration = _declaration(document, file.stem, names)
    line = document.line(("schedule", "assets"))
    return DeclaredMigration(file.stem, file.name, declaration, line)


def read_text(text: bytes, name: str) -> Declaration:
    """Reads what a file says that is alone in its folder.

    Args:
        name: of the migration.

    Raises:
        NotDeclared: with every reason.
    """
    return _declaration(_document(text), name, [name])


def _document(text: bytes) -> Document:
    try:
        document = read_yaml(text)
    except YamlError as error:
        raise NotDeclared([f"line {error.line}: {error}"]) from None
    if not isinstance(document.data, dict):
        raise NotDeclared(["line 1: expected keys such as path and params, found none"])
    return document


def _declaration(document: Document, name: str, names: list[str]) -> Declaration:
    if reasons := _reasons(document, name, names):
        lines = sorted((document.line(place), place, texts) for place, texts in reasons.items())
        raise NotDeclared(
            f"line {line}, {_key(place)}: {' or '.join(texts)}" for line, place, texts in lines
        )
    return Declaration.model_validate_json(orjson.dumps(document.data), strict=True)


def _reasons(document: Document, name: str, names: list[str]) -> Reasons:
    reasons = reasons_against(Declaration, document)
    if not {("path",), ("params",)} & set(reasons):
        model = _params_model(document, reasons)
        if model:
            reasons |= reasons_against(model, document, ("params",))
    if not any(place[:1] == ("schedule",) for place in reasons):
        _check_schedule(document, name, names, reasons)
    for place in _secret_urls(document.data):
        reasons[place] = ["put the credentials into an Airflow connection, not into the URL"]
    return reasons


def _params_model(document: Document, reasons: Reasons) -> type[MigrationParams] | None:
    path = document.data["path"]
    source = path.removesuffix(PATH_SUFFIX)
    try:
        if path != source:
            return params_class(source)
    except AirliftError:
        pass
    known = {name: name + PATH_SUFFIX for name in sources()}
    reasons[("path",)] = [f"there is no path {path}; {nearest(source, known)}"]
    return None


def _check_schedule(document: Document, name: str, names: list[str], reasons: Reasons) -> None:
    schedule, params = document.data.get("schedule"), document.data.get("params")
    if schedule and isinstance(params, dict) and params.get("migration_id"):
        reasons[("params", "migration_id")] = [
            "leave it out: every run of a schedule needs one of its own, or it would find all done"
        ]
    if isinstance(schedule, dict):
        _check_assets(schedule["assets"], name, names, reasons)
    is_time = isinstance(schedule, str) and schedule not in TIMES_OF_AIRFLOW
    if "timezone" in document.data and not is_time:
        reasons[("timezone",)] = ["it is of a schedule of times; leave it out"]


def _check_assets(assets: list[str], name: str, names: list[str], reasons: Reasons) -> None:
    others = {one: DAG_PREFIX + one for one in names if one != name}
    for n, asset in enumerate(assets):
        awaited = asset.removeprefix(DAG_PREFIX)
        if asset == DAG_PREFIX + name:
            said = "it is this migration's own, which would then run without end"
        elif asset.startswith(DAG_PREFIX) and awaited not in others:
            near = nearest(awaited, others) if others else "no other is declared"
            said = f"no migration is declared that publishes {asset}; {near}"
        else:
            continue
        reasons[("schedule", "assets", n)] = [said]


def _secret_urls(value: object, at: Place = ()) -> list[Place]:
    """Where a user or password stands in a URL."""
    if isinstance(value, dict):
        return [one for key, below in value.items() for one in _secret_urls(below, (*at, key))]
    if isinstance(value, list):
        return [one for n, below in enumerate(value) for one in _secret_urls(below, (*at, n))]
    return [at] if isinstance(value, str) and _SECRET_IN_URL.search(value) else []


def _key(place: Place) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).lstrip(".") or "the whole file"
