"""docs/troubleshooting.md quotes what the project says; each quotation must be one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
# What Airflow says is not ours.
_NOT_OURS = "## Airflow"


def _quoted() -> list[str]:
    """The texts in the first column of the page's tables."""
    ours = PAGE.read_text().split(_NOT_OURS)[0]
    cells = re.findall(r"^\| (`.*?) \|", ours, re.MULTILINE)
    return [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]


@cache
def _said() -> tuple[str, ...]:
    """Every text in the code, with … for what is filled in."""
    texts = []
    for folder in ("include/airlift", "plugins"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    ]
                    texts.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return tuple(texts)


def test_the_page_quotes_something() -> None:
    assert len(_quoted()) > 30


@pytest.mark.parametrize("text", _quoted())
def test_the_project_says_it(text: str) -> None:
    pattern = ".*".join(re.escape(part.strip()) for part in text.split("…"))
    assert any(re.search(pattern, said, re.DOTALL) for said in _said()), text
