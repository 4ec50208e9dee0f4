"""The docs' tables are what the models say. `python tests/unit/test_docs.py` writes them anew."""

from pathlib import Path

from airlift.sources.registry import params_class

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- params: made by tests/unit/test_docs.py -->", "<!-- /params -->"
SOURCES = ("milvus1x", "faiss", "elasticsearch", "milvus")
PAGES = {source: ROOT / "docs" / f"{source}.md" for source in SOURCES}


def table(source: str) -> str:
    rows = ["| param | default | what |", "| --- | --- | --- |"]
    for name, field in params_class(source).model_fields.items():
        default = "required" if field.is_required() else f"`{shown(field.default)}`"
        rows.append(f"| `{name}` | {default} | {field.description} |".replace("``", ""))
    return "\n".join(rows)


def shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return str(list(default)).replace("'", '"')
    return str(default)


def with_table(source: str) -> str:
    text = PAGES[source].read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(source)}\n{END}{rest.split(END)[1]}"


def test_tables_of_params_are_true() -> None:
    for source, page in PAGES.items():
        assert page.read_text() == with_table(source), f"run python {__file__}"


def test_links_of_the_readme_lead_somewhere() -> None:
    import re

    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


if __name__ == "__main__":
    for name, page in PAGES.items():
        page.write_text(with_table(name))
