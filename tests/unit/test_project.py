"""Rules of the project as a whole: who imports whom, what gets installed, what Airflow picks up."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
ENGINE = sorted((ROOT / "include" / "airlift").rglob("*.py"))


def imported(file: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("file", ENGINE, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_engine_imports_no_airflow(file):
    assert not imported(file) & {"airflow", "airlift_airflow", "airlift_page", "dags"}


@pytest.mark.parametrize("file", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda f: f.name)
def test_plugins_import_no_dags(file):
    assert "dags" not in imported(file)


def test_sources_and_targets_do_not_know_each_other():
    for file in ENGINE:
        text = file.read_text(encoding="utf-8")
        folder = file.relative_to(ROOT / "include" / "airlift").parts[0]
        if folder == "sources":
            assert "airlift.targets" not in text, file
        if folder == "targets":
            assert "airlift.sources" not in text, file


def test_airflow_does_not_run_modules_of_the_packages_in_plugins(tmp_path):
    """Airflow runs plugin files as top-level modules: hooks/milvus.py would become `milvus`."""
    plugins = tmp_path / "plugins"
    shutil.copytree(ROOT / "plugins", plugins, ignore=shutil.ignore_patterns("__pycache__"))
    (plugins / "a_real_plugin.py").write_text("RAN = True\n")
    (plugins / "airlift_airflow" / "hooks" / "faiss.py").write_text("RAN = True\n")
    program = (
        "import json, sys\n"
        "from airflow import plugins_manager\n"
        "plugins_manager.ensure_plugins_loaded()\n"
        "print(json.dumps({n: getattr(m, '__file__', None) for n, m in list(sys.modules.items())}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path / "home"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        },
    )
    assert done.returncode == 0, done.stderr
    modules: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    assert "a_real_plugin" in modules, "Airflow did not look into the folder; this test is void"
    stems = {file.stem for file in (plugins / "airlift_airflow").rglob("*.py")} - {"__init__"}
    ran = {stem for stem in stems if str(modules.get(stem)).startswith(str(plugins))}
    assert not ran


def installed() -> bool:
    return any(entry_points(group="apache_airflow_provider", name="provider_info")) and any(
        point.dist and point.dist.name == "milvus-airlift"
        for point in entry_points(group="apache_airflow_provider")
    )


@pytest.mark.skipif(not installed(), reason="milvus-airlift is not installed: run make env")
def test_the_installed_distribution_tells_airflow_and_the_engine():
    points = distribution("milvus-airlift").entry_points
    (provider,) = points.select(group="apache_airflow_provider")
    assert provider.load()()["package-name"] == "milvus-airlift"
    assert {point.name for point in points.select(group="airlift.sources")} >= {"milvus1x"}


@pytest.mark.skipif(not installed(), reason="milvus-airlift is not installed: run make env")
def test_airflow_knows_the_connection_type(tmp_path):
    program = (
        "from airflow.providers_manager import ProvidersManager\n"
        "m = ProvidersManager(); hook = dict(m.hooks)['milvus']\n"
        "fields = [n for n in m.connection_form_widgets if n.startswith('extra__milvus__')]\n"
        "print(hook.hook_class_name, hook.connection_testable, len(fields))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
    )
    assert "airlift_airflow.hooks.milvus.MilvusHook True 10" in done.stdout, done.stderr


def test_every_direct_dependency_is_locked():
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                assert Requirement(line).name.lower() in locked, line


def test_every_locked_package_has_a_hash():
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text())
    assert len(blocks) > 100
    assert [block for block in blocks[1:] if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements.lock"])
def test_lock_files_name_no_registry(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)
    assert not re.search(r"\b(pypi|pythonhosted)\b|\.(org|com|net|io|internal|local)\b", text)


def test_demo_and_benches_start_in_a_plain_checkout() -> None:
    """`make demo` and `make bench` have no PYTHONPATH: the checkout's root must be enough."""
    root = Path(__file__).resolve().parents[2]
    code = "import demo.__main__, bench.__main__, bench.cases, include.samples.milvus1x_tables"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, check=True)
    for file in [*root.glob("demo/*.py"), *root.glob("bench/*.py")]:
        assert "from samples" not in file.read_text(), file
