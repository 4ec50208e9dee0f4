"""The docs' tables are what the models say. `python tests/unit/test_docs.py` writes them anew."""

import json
import re
from pathlib import Path

from pydantic import BaseModel

from airlift.declared.declaration import Declaration
from airlift.declared.schema import schema_text
from airlift.mapping_params import CollectionMapping, FieldMapping
from airlift.params import MigrationParams
from airlift.sources.registry import params_class

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- params: made by tests/unit/test_docs.py -->", "<!-- /params -->"
SOURCES = ("milvus1x", "faiss", "elasticsearch", "milvus", "backup")
MODELS: dict[Path, tuple[str, type[BaseModel]]] = {
    **{ROOT / "docs" / f"{name}.md": ("param", params_class(name)) for name in SOURCES},
    ROOT / "docs" / "declared_migrations.md": ("key", Declaration),
}
SCHEMA = ROOT / "include" / "migrations" / "schema.json"


def table(kind: str, model: type[BaseModel]) -> str:
    rows = [f"| {kind} | default | what |", "| --- | --- | --- |"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{shown(field.default)}`"
        rows.append(f"| `{name}` | {default} | {field.description} |".replace("``", ""))
    return "\n".join(rows)


def shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if default is None:
        return ""
    if isinstance(default, tuple):
        return str(list(default)).replace("'", '"')
    return str(default)


def with_table(page: Path) -> str:
    before, rest = page.read_text().split(BEGIN)
    return f"{before}{BEGIN}\n{table(*MODELS[page])}\n{END}{rest.split(END)[1]}"


def test_tables_of_params_are_true() -> None:
    for page in MODELS:
        assert page.read_text() == with_table(page), f"run python {__file__}"


def test_the_schema_of_declared_migrations_is_current() -> None:
    assert SCHEMA.read_text() == schema_text(SOURCES), f"run python {__file__}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_headings() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)\s:]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken


def test_the_page_on_mapping_shows_every_key_and_only_what_is_taken() -> None:
    page = (ROOT / "docs" / "mapping.md").read_text()
    of_collection, of_field = page.split("## Of a field")
    for model, text in ((CollectionMapping, of_collection), (FieldMapping, of_field)):
        for name in model.model_fields:
            assert f"`{name}`" in text, name
    examples = [json.loads(one) for one in re.findall(r"```json\n(.*?)```", page, re.S)]
    fields = [json.loads(one) for one in re.findall(r"`(\{.*?\})`", of_field)]
    keys = [json.loads(f"{{{one}}}") for one in re.findall(r'`("\w+": .*?)`', of_collection)]
    assert len(examples) == 1 and len(fields) > 5 and len(keys) > 10
    made = ({"c": {"fields": [field]}} for field in fields)
    for mapping in (*examples, *made, *({"c": key} for key in keys)):
        assert MigrationParams(staging_url="/s", mapping=mapping).mapping


def test_links_of_the_readme_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


if __name__ == "__main__":
    for page in MODELS:
        page.write_text(with_table(page))
    SCHEMA.write_text(schema_text(SOURCES))
