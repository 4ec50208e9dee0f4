"""Takes the pictures of the migration page that the docs show, from a real Airflow and Milvus.

    python -m tests.paths.screenshots [folder]

It takes some ten minutes. Look at each one before you commit it.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from localservers import AirflowStandalone, Milvus
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.paths.browser import Users, users_of
from tests.paths.place import FLAT

ROOT = Path(__file__).resolve().parents[2]
DAG = "milvus1x_to_milvus"
TABLES = [
    TableSpec("articles", 150_000, dim=128, deleted_fraction=0.03, keep_truth=False),
    TableSpec("images", 80_000, dim=96, segments=3, keep_truth=False),
    TableSpec("songs", 60_000, dim=64, deleted_fraction=0.02, keep_truth=False),
]
HEIGHT = 1240
# What the page says while import jobs have ended for a good part of the chunks.
SOME_CHUNKS_IN_THE_TARGET = re.compile(r"\b([5-9]|1\d|2[0-5])\s+in the target")


class Photographer:
    """Takes pictures of pages.

    Args:
        folder: where they go.
    """

    def __init__(self, users: Users, folder: Path) -> None:
        self._users = users
        self._folder = folder

    def take(
        self,
        name: str,
        path: str,
        ready: Callable[[Page], None],
        theme: str = "light",
        height: int = HEIGHT,
    ) -> None:
        """Opens a page, waits until it shows what it shall, and keeps the picture."""
        with self._users.page(path, theme=theme) as page:
            page.set_viewport_size({"width": 1280, "height": height})
            ready(page)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=self._folder / f"{name}.png")
        print(f"{name}.png", flush=True)


def tab(run_id: str) -> str:
    """The page of a run."""
    return f"/dags/{DAG}/runs/{run_id}/plugin/airlift-migration"


def says(text: str | re.Pattern[str]) -> Callable[[Page], None]:
    """Ready when the page says this."""
    return lambda page: expect(page.get_by_text(text).first).to_be_visible()


def is_in(state: str) -> Callable[[Page], None]:
    """Ready when the migration's heading tells this state."""
    return lambda page: expect(page.get_by_role("heading", level=1).last).to_contain_text(
        state, timeout=600_000
    )


def press(users: Users, run_id: str, button: str, confirm: str) -> None:
    """As somebody who cancels or resumes does it."""
    with users.page(tab(run_id)) as page:
        page.get_by_role("button", name=button).click()
        page.get_by_role("dialog").get_by_role("button", name=confirm).click()
        page.get_by_role("dialog").wait_for(state="hidden")


def take_all(airflow: AirflowStandalone, users: Users, conf: dict[str, Any], folder: Path) -> None:
    """A migration from the queue to its end, cancelled and resumed on the way, and a failed one."""
    camera = Photographer(users, folder)
    airflow.wait_for_dag(DAG)
    nightly = airflow.trigger(DAG, {**conf, "migration_id": "nightly"})
    camera.take("page-queued", tab(nightly), says("Nothing is planned yet."), height=760)
    airflow.unpause(DAG)
    camera.take("page-running", tab(nightly), says(SOME_CHUNKS_IN_THE_TARGET))
    press(users, nightly, "Cancel", "Cancel the migration")
    airflow.wait(DAG, nightly, timeout=120)
    press(users, nightly, "Resume", "Resume")
    camera.take("page-resumed", tab(nightly), says("done by an earlier attempt, not done again"))
    camera.take("page-run", tab(nightly), is_in("done"))
    wrong = {**conf, "migration_id": "moved_away", "meta_url": conf["meta_url"] + ".old"}
    failed = airflow.trigger(DAG, wrong)
    camera.take("page-failed", tab(failed), is_in("failed"), theme="dark", height=760)
    camera.take("page-list", "/plugin/airlift-migrations", says("moved_away"), height=560)


def main() -> None:
    """Starts the servers and takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "images")
    pictures = parser.parse_args().folder
    with tempfile.TemporaryDirectory(prefix="airlift-screenshots-") as temporary:
        folder = Path(temporary)
        write_milvus1x(folder / "milvus1x", TABLES)
        home = folder / "airflow"
        with (
            Milvus(folder / "milvus") as milvus,
            AirflowStandalone(home, ROOT / "dags", ROOT / "plugins") as airflow,
            users_of(airflow) as users,
        ):
            host, port = milvus.address.rsplit(":", 1)
            target = {"connection_id": "milvus_default", "conn_type": "milvus", "host": host}
            airflow.request("POST", "/connections", json={**target, "port": int(port)})
            conf = {
                "tables_url": str(folder / "milvus1x" / "tables"),
                "meta_url": str(folder / "milvus1x" / "meta.sqlite"),
                "staging_url": str(Path(milvus.data_dir) / "staging"),
                "chunk_mb": 4,
                "index": FLAT,
                "verify": "full",
            }
            take_all(airflow, users, conf, pictures)


if __name__ == "__main__":
    main()
