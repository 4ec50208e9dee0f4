"""Which versions of what took part, for the report: `versions.json` in staging."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict

_PACKAGES = {
    "Milvus Airlift": "milvus-airlift",
    "pymilvus": "pymilvus",
    "PyArrow": "pyarrow",
    "Airflow": "apache-airflow",
}


class Versions(BaseModel):
    """`versions.json`, as the step `check` found them; "" for what does not say.

    Attributes:
        source, target: what the two ends say they are.
        software: what runs here, by name.
    """

    model_config = ConfigDict(frozen=True)

    source: str = ""
    target: str = ""
    software: dict[str, str] = {}


def installed_software() -> dict[str, str]:
    """Name and version of what runs a migration here; what is not installed is left out."""
    found = {"Python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:  # a checkout that is not installed; an engine without Airflow
            continue
    return found
