"""docs/errors.md has the messages that the code shows: each quotation is one, and none lacks.

docs/troubleshooting.md has none, so that each stands in one place. Both directions are tested:

- Each text in backticks in a message column stands in one text of the code, in the same order of
  words. It is distinctive: a few words at least, and found in few texts only.
- Each text of the code that certainly is an error message is quoted by docs/errors.md. That is
  what stands in a `raise`, or in a `Refused` or a `reasons.append`, as far as it has some words of
  its own; and the advice to errors of Milvus and of buckets, and the reasons of bad rows. Of the
  sources, whose messages are many and special (offsets in a damaged file), a share must be there:
  see `_SHARE`. Notes, log lines and texts that other code puts together are not looked for.

A message that is missing here needs a row in docs/errors.md, or a quotation in the row of its kind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INDEX = ROOT / "docs" / "errors.md"
GUIDE = ROOT / "docs" / "troubleshooting.md"
PAGES = (INDEX, GUIDE)
FOLDERS = ("include/airlift", "plugins", "dags")
# Texts that Airflow, SQLite or Python print.
_NOT_OURS = frozenset(
    {
        "Invalid input for param …",
        "Database error",
        "database is locked",
        "No module named 'airlift",
    }
)
# A quotation with fewer letters, or one that fits more texts of the code, leads to no message.
_FEWEST_LETTERS = 10
_MOST_TEXTS = 6
# A text with fewer words of its own, such as `{what}: {error}`, is the frame of another.
_FEWEST_WORDS = 4
SOURCES = "include/airlift/sources/"
# So much of the messages of a source must be there: the rest are details of damaged files, which
# stand behind a message that is there.
_SHARE = 0.75
# Whose messages stand behind one that is quoted: `can't be read (…)`, `backup_way native: …`,
# `is damaged or no binlog: …`.
_DETAILS = (
    "include/airlift/formats/json_file.py",
    "include/airlift/formats/numpy_files.py",
    "include/airlift/key_buckets.py",
    "include/airlift/sources/backup/binlog.py",
    "include/airlift/sources/backup/columns.py",
    "include/airlift/sources/backup/deltas.py",
    "include/airlift/sources/backup/own_files.py",
    "include/airlift/steps/own_files.py",
)
# Each text in them is a reason of a bad row, a limit of the target, or advice about a bucket.
_ALL_MESSAGES = (
    "include/airlift/bad_rows.py",
    "include/airlift/storage_errors.py",
    "include/airlift/target_limits.py",
    "include/airlift/value_rules.py",
)
# Raised where one part of the code calls another wrongly, which no user can bring about.
_NOT_SHOWN = frozenset({"the source has no files to copy"})


def _first_cells(text: str) -> list[str]:
    """The first column of all tables, without their heads."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    return [cell for cell in cells if cell not in ("message", "you see", "task", "---")]


def _quoted(text: str) -> list[str]:
    """The messages in the first column of the tables."""
    return [part for cell in _first_cells(text) for part in re.findall(r"`([^`]+)`", cell)]


def _text_of(node: ast.AST) -> str | None:
    """A text in the code, with … for what is filled in; None for other nodes."""
    if isinstance(node, ast.JoinedStr):
        parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return "".join(parts)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]|%\.\d+f", "…", node.value)
    return None


def _texts_in(node: ast.AST) -> Iterator[str]:
    """The texts below a node; not those that are parts of another, nor docstrings."""
    text = _text_of(node)
    if text is not None:
        yield text
    # The keys of a dict are what is looked up, not what is shown.
    for child in node.values if isinstance(node, ast.Dict) else ast.iter_child_nodes(node):
        is_part = isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)
        is_docstring = isinstance(node, ast.Expr) and isinstance(child, ast.Constant)
        if not is_part and not is_docstring:
            yield from _texts_in(child)


@cache
def _trees() -> dict[str, ast.Module]:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}


@cache
def _said() -> frozenset[str]:
    """Every text in the code that may be shown."""
    return frozenset(text for tree in _trees().values() for text in _texts_in(tree))


def _parts(quoted: str) -> list[str]:
    """The words of a quotation, between those that differ each time."""
    return [part for part in (" ".join(part.split()) for part in quoted.split("…")) if part]


def _fits(parts: list[str], said: str) -> bool:
    """Whether a text has all parts, one behind the other."""
    at = 0
    for part in parts:
        at = said.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def _errors_in(tree: ast.Module) -> Iterator[str]:
    """The texts in `raise`, `Refused(…)`, `reasons.append(…)`, and advice about Milvus' errors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            yield from _texts_in(node)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("Refused", "reasons.append", "problems.append"):
                yield from _texts_in(node)
            elif name == "_Meaning":  # what is behind the advice is a regular expression
                yield from _texts_in(node.args[0])


def _is_message(text: str) -> bool:
    words = [word for word in text.replace("…", " ").split() if re.search(r"[^\W\d_]{2}", word)]
    return len(words) >= _FEWEST_WORDS and text not in _NOT_SHOWN


@cache
def _errors() -> dict[str, frozenset[str]]:
    """The error messages in each file of the code; files without any are left out."""
    found = {}
    for file, tree in _trees().items():
        texts = _texts_in(tree) if file in _ALL_MESSAGES else _errors_in(tree)
        messages = frozenset(text for text in texts if _is_message(text))
        if messages and file not in _DETAILS:
            found[file] = messages
    return found


@cache
def _index() -> list[list[str]]:
    return [_parts(quoted) for quoted in _quoted(INDEX.read_text())]


def _missing(texts: frozenset[str]) -> list[str]:
    return sorted(text for text in texts if not any(_fits(parts, text) for parts in _index()))


def _sections() -> dict[str, str]:
    """The parts of the index by their headings."""
    parts = re.split(r"^## (.*)$", INDEX.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _fault_of(quoted: str) -> str:
    """What is wrong with a quotation; "" where it leads to a message."""
    if len(re.sub(r"[\W_]", "", quoted)) < _FEWEST_LETTERS:
        return f"{quoted}: too short to find a message by it"
    fitting = [said for said in _said() if _fits(_parts(quoted), said)]
    if not fitting:
        return f"{quoted}: no text of the code has these words"
    return f"{quoted}: in {len(fitting)} texts" if len(fitting) > _MOST_TEXTS else ""


@pytest.mark.parametrize("section", _sections())
def test_quotations_are_messages(section: str) -> None:
    quoted = [text for text in _quoted(_sections()[section]) if text not in _NOT_OURS]
    assert quoted
    assert [fault for fault in map(_fault_of, quoted) if fault] == []


@pytest.mark.parametrize(
    "quoted", ["it …: …", "… is …", "has no such words at all", "collection …"]
)
def test_a_weak_quotation_is_found(quoted: str) -> None:
    assert _fault_of(quoted)


def test_each_row_says_what_to_do() -> None:
    rows = [line for line in INDEX.read_text().splitlines() if line.startswith("|")]
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [row for row in cells if len(row) != 3 or not all(row)] == []


def test_no_message_has_two_rows() -> None:
    quoted = _quoted(INDEX.read_text())
    assert len(quoted) > 300
    assert sorted({text for text in quoted if quoted.count(text) > 1}) == []


def test_messages_are_in_the_index_only() -> None:
    """What troubleshooting.md quotes are names of tasks, params and commands."""
    assert [quoted for quoted in _quoted(GUIDE.read_text()) if " " in quoted] == []


@pytest.mark.parametrize("file", [file for file in _errors() if not file.startswith(SOURCES)])
def test_each_message_has_a_row(file: str) -> None:
    assert _missing(_errors()[file]) == []


@pytest.mark.parametrize("source", ["backup", "elasticsearch", "faiss", "milvus", "milvus1x"])
def test_most_messages_of_a_source_have_a_row(source: str) -> None:
    files = [texts for file, texts in _errors().items() if file.startswith(f"{SOURCES}{source}/")]
    texts = frozenset[str]().union(*files)
    missing = _missing(texts)
    assert len(missing) <= (1 - _SHARE) * len(texts), missing
