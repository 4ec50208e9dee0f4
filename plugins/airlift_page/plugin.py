"""Tells Airflow of the migration page: an entry in the navigation, and a tab on each run."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airlift_airflow.links import PREFIX, TAB

_STATIC = f"{PREFIX}/static"


class MigrationPage(AirflowPlugin):
    """The page in Airflow's user interface."""

    name = "airlift_page"
    react_apps = [  # noqa: RUF012 - Airflow's base class has it as a plain attribute
        {
            "name": "Migrations",
            "bundle_url": f"{_STATIC}/page.js",
            "url_route": "airlift-migrations",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{_STATIC}/icon.svg",
            "icon_dark_mode": f"{_STATIC}/icon-dark.svg",
        },
        {
            "name": "Migration",
            "bundle_url": f"{_STATIC}/page.js",
            "url_route": TAB,
            "destination": "dag_run",
            "icon": f"{_STATIC}/icon.svg",
            "icon_dark_mode": f"{_STATIC}/icon-dark.svg",
        },
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The routes; imported by the API server only: every part of Airflow loads its plugins."""
        from airlift_page.routes import app

        return [{"app": app, "url_prefix": f"/{PREFIX}", "name": "Milvus Airlift"}]
