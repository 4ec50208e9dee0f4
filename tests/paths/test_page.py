"""The migration page in a real Airflow, seen by a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from localservers import AirflowStandalone, LocalServerError
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.paths.browser import PATIENCE, Users, legibility, users_of
from tests.paths.many_chunks import HOSTILE, stage_many_chunks
from tests.paths.place import FLAT

DAG = "milvus1x_to_milvus"
PAUSED = "faiss_to_milvus"
SONGS = TableSpec("songs", 3_000, dim=16, segments=2, deleted_fraction=0.03)
LIST = "/plugin/airlift-migrations"


@pytest.fixture(scope="module")
def airflow(airflow_and_milvus: AirflowStandalone) -> AirflowStandalone:
    for dag in (DAG, PAUSED, "rollback_migration"):
        airflow_and_milvus.wait_for_dag(dag)
    airflow_and_milvus.request("PATCH", f"/dags/{PAUSED}", json={"is_paused": True})
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


@pytest.fixture(scope="module")
def users(airflow: AirflowStandalone, pytestconfig: pytest.Config) -> Iterator[Users]:
    try:
        with users_of(airflow) as users:
            yield users
    except LocalServerError as error:
        if pytestconfig.getoption("--skip-missing-servers"):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("milvus1x")
    write_milvus1x(folder, [SONGS])
    return folder


@pytest.fixture(scope="module")
def conf(source, milvus) -> dict:
    return {
        "tables_url": str(source / "tables"),
        "meta_url": str(source / "meta.sqlite"),
        "staging_url": str(Path(milvus.data_dir) / "staging"),
        "write_mode": "bulk_insert",
        "target_conn_id": "milvus_local",
        "index": FLAT,
    }


def trigger(airflow, conf, migration_id, dag=DAG):
    """A run of a migration."""
    given = {**conf, "migration_id": migration_id}
    if dag == DAG:
        given["mapping"] = {"songs": {"target": migration_id}}
    return SimpleNamespace(dag=dag, id=airflow.trigger(dag, given), migration=migration_id)


@pytest.fixture(scope="module")
def done(airflow, conf):
    """A migration that is done."""
    run = trigger(airflow, conf, "page_done")
    assert airflow.wait(DAG, run.id) == "success"
    return run


def run_url(run):
    return f"/dags/{run.dag}/runs/{quote(run.id, safe='')}"


def tab(run):
    return f"{run_url(run)}/plugin/airlift-migration"


def api(run):
    return f"/airlift{run_url(run)}"


def test_the_list_leads_to_the_run_and_to_its_report(users, done):
    with users.page("/") as page:
        page.get_by_role("link", name="Migrations").click()
        link = page.locator(f'a[href*="{quote(done.id, safe="")}"]')
        line = page.get_by_role("row").filter(has=link.first)
        expect(line).to_contain_text("done")
        expect(line).to_contain_text(DAG)
        expect(line).to_contain_text("2,910 of 2,910")
        expect(line).to_contain_text("✓ sample")
        expect(line).to_contain_text("admin")
        expect(line).to_contain_text("Milvus 2.3.5 at http://127.0.0.1")
        with page.context.expect_page() as opened:
            line.get_by_role("link", name="Report").click()
        report = opened.value
        expect(report.locator("body")).to_contain_text(done.migration)
        report.close()
        line.get_by_role("link", name=done.migration).click()
        expect(page.get_by_role("heading", name=done.migration, level=1)).to_be_visible()
        assert page.url.endswith(tab(done)) or done.id in page.url


def test_the_tab_of_a_run_that_is_done(users, done):
    with users.page(tab(done)) as page:
        expect(page.get_by_role("heading", name=done.migration, level=1)).to_contain_text("done")
        for label in ("Read", "Converted", "Imported", "Indexed", "Verified"):
            bar = page.get_by_role("progressbar", name=f"{label}: 2,910 of 2,910 rows", exact=True)
            expect(bar).to_have_attribute("aria-valuenow", "100")
        line = page.get_by_role("row").filter(has_text="from songs")
        expect(line).to_contain_text("✓ 2,910")
        expect(
            page.get_by_role("img", name=re.compile(r"chunks?: .*0 waiting.*0 failed"))
        ).to_be_visible()
        for name in ("Rows read", "Rows imported", "Bytes read"):
            drawn = page.get_by_role("img", name=re.compile(f"{name} a second over time; at most"))
            expect(drawn).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_migration_without_rows_is_done_with_a_warning(users, airflow, conf, tmp_path):
    write_milvus1x(tmp_path, [TableSpec("songs", 0, dim=16, segment_rows=())])
    where = {"tables_url": f"{tmp_path}/tables", "meta_url": f"{tmp_path}/meta.sqlite"}
    (tmp_path / "tables").mkdir(exist_ok=True)
    run = trigger(airflow, {**conf, **where}, "page_empty")
    assert airflow.wait(DAG, run.id) == "success"
    why = "collection 'songs': no row is moved: the source has none"
    with users.page(tab(run)) as page:
        warning = page.locator(".warning")
        expect(warning).to_contain_text("no row is moved, of any collection")
        expect(warning).to_contain_text(why)
        expect(page.get_by_role("heading", level=1).last).to_contain_text("done")
    with users.page(LIST) as page:
        line = page.get_by_role("row").filter(has_text="page_empty")
        expect(line).to_contain_text("1 warning")
    with users.page(f"{api(run)}/report") as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("No row was moved")
        expect(page.locator(".warnings")).to_contain_text(why)


def test_a_migration_from_the_queue_to_its_rollback_on_a_page_loaded_once(
    users, airflow, conf, milvus
):
    """It waits, fails for want of a connection, is resumed, is done, and is rolled back."""
    airflow.request("PATCH", f"/dags/{DAG}", json={"is_paused": True})
    try:
        run = trigger(airflow, {**conf, "target_conn_id": "milvus_later"}, "page_life")
        with users.page(tab(run)) as page:
            heading = page.get_by_role("heading", name=run.migration, level=1)
            expect(heading).to_contain_text("queued")
            expect(page.get_by_text("Nothing is planned yet.")).to_be_visible()
            page.evaluate("window.loadedOnce = true")
            airflow.unpause(DAG)
            fails_and_is_resumed(page, heading, airflow, milvus)
            expect(page.get_by_text("2,910 rows in 1 collection")).to_be_visible()
            expect(heading).to_contain_text("done", timeout=3 * PATIENCE)
            verified = page.get_by_role("progressbar", name=re.compile("^Verified: 2,910"))
            expect(verified).to_be_visible()
            expect(page.get_by_role("alert")).to_have_count(0)
            is_rolled_back(page, heading, milvus)
            assert page.evaluate("window.loadedOnce")
    finally:
        airflow.unpause(DAG)


def fails_and_is_resumed(page, heading, airflow, milvus):
    alert = page.get_by_role("alert").filter(has_text="check")
    expect(alert).to_contain_text("milvus_later")
    expect(alert).to_contain_text("airflow connections add")
    log = alert.get_by_role("link", name="Log of the task")
    expect(log).to_have_attribute("href", re.compile("/tasks/check"))
    expect(heading).to_contain_text("failed")
    expect(page.get_by_role("alert")).to_have_count(1)  # not also for clean_staging
    host, port = milvus.address.rsplit(":", 1)
    body = {"connection_id": "milvus_later", "conn_type": "milvus", "host": host}
    airflow.request("POST", "/connections", json={**body, "port": int(port)})
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(heading).to_contain_text("running")
    # Without the time that Airflow keeps of the attempt before.
    step = page.locator("section.steps li[title=verify]")
    expect(step).to_have_text(re.compile(r"^verify\s*to do\s*$"))


def is_rolled_back(page, heading, milvus):
    """First it is shown what would be removed."""
    with closing(milvus.client()) as client:
        assert "page_life" in client.list_collections()
        page.get_by_role("button", name="Roll back").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Show what would be removed").click()
        expect(dialog.get_by_role("definition").filter(has_text="page_life")).to_be_visible()
        assert "page_life" in client.list_collections()
        dialog.get_by_role("button", name="Remove all this").click()
        expect(dialog).to_contain_text("It is removed.")
        assert "page_life" not in client.list_collections()
        dialog.get_by_role("button", name="Close").click()
        expect(heading).to_contain_text("rolled back")


def test_chunks_of_an_earlier_run_are_told_to_be_not_done_again(users, airflow, conf, done):
    """The same migration triggered again goes on with what is there."""
    again = trigger(airflow, conf, done.migration)
    assert airflow.wait(DAG, again.id) == "success"
    with users.page(tab(again)) as page:
        expect(page.get_by_text("done by an earlier attempt, not done again")).to_be_visible()
    answer = users.get(api(again)).json()
    assert answer["chunks"]["counts"][-1] == answer["chunks"]["total"] > 0


def test_a_run_is_cancelled_from_the_list(users, airflow, conf):
    run = trigger(airflow, conf, "page_cancel")
    with users.page(LIST) as page:
        page.get_by_role("searchbox").fill(run.migration)
        line = page.get_by_role("row").filter(has_text=run.migration)
        expect(line).to_contain_text("running")
        line.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Cancel the migration").click()
        # Airflow lets the teardown clean_staging run, and may call the run a success after that.
        expect(line).to_contain_text(re.compile("cancelled|failed"))
        expect(line.get_by_role("button", name="Resume")).to_be_visible()
    with users.page(tab(run)) as page:
        alert = page.get_by_role("alert").filter(has_text="clean_staging")
        expect(alert).to_contain_text("the run did not come to its end")
        expect(alert).to_contain_text("clear what did not succeed to go on where it stopped")


def test_one_who_may_only_look_sees_all_and_can_do_nothing(users, airflow, done):
    run = trigger(airflow, {"index_url": "/x", "staging_url": "/x"}, "page_look", PAUSED)
    with users.page(tab(run), user="viewer") as page:
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Cancel the migration").click()
        expect(page.get_by_role("dialog")).to_contain_text("You don't have the right to do this")
    assert airflow.run_state(PAUSED, run.id) == "queued"
    assert users.get(api(done), "viewer").ok
    assert users.get(f"{api(done)}/report", "viewer").ok


@pytest.mark.parametrize("what", ["list", "run", "report"])
def test_who_may_not_see_the_dag_is_told_nothing(users, done, what):
    path = {"list": "/airlift/migrations", "run": api(done), "report": f"{api(done)}/report"}[what]
    assert users.get(path).status == 200
    for user, status in (("nobody", 403), (None, 401)):
        answer = users.get(path, user)
        assert answer.status == status
        assert done.migration not in answer.text()


def test_who_lost_the_right_while_looking_is_told_so(users, done):
    with users.page("/") as page:
        page.route("**/airlift/migrations*", lambda route: route.fulfill(status=403, body="{}"))
        page.get_by_role("link", name="Migrations").click()
        expect(page.get_by_text("You don't have the right to do this")).to_be_visible()


def test_other_runs_and_other_folders_are_not_shown(users, airflow, done):
    other = airflow.trigger("rollback_migration", {"migration_id": "x", "staging_url": "/x"})
    run = SimpleNamespace(dag="rollback_migration", id=other)
    assert users.get(api(run)).status == 404
    assert users.get(f"/airlift/dags/{DAG}/runs/nothing").status == 404
    assert users.get(f"/airlift/dags/nothing/runs/{quote(done.id, safe='')}").status == 404
    escaping = trigger(airflow, {"index_url": "/x", "staging_url": "/tmp"}, "", PAUSED)
    assert (
        "no plan" in users.get(api(escaping)).text()
        or "totals" not in users.get(api(escaping)).json()
    )
    assert users.get("/airlift/static/../routes.py").status in (403, 404)


def test_the_report_can_do_nothing_but_be_read(users, done, milvus):
    answer = users.get(f"{api(done)}/report")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    report = Path(milvus.data_dir) / "staging" / done.migration / "report.html"
    assert answer.body() == report.read_bytes()


def test_tasks_have_buttons_that_lead_to_the_page_and_to_the_report(users, airflow, done):
    path = f"/dags/{DAG}/dagRuns/{done.id}/taskInstances"
    for task, names in (("check", {"Migration"}), ("publish", {"Migration", "Report"})):
        links = airflow.request("GET", f"{path}/{task}/links")["extra_links"]
        assert set(links) == names
        assert links["Migration"] == tab(done)
        for link in links.values():
            assert users.get(link).ok


def test_staging_on_another_machine_is_told_and_what_airflow_knows_is_shown(
    users, conf, done, tmp_path
):
    folder = Path(conf["staging_url"]) / done.migration
    shutil.move(folder, tmp_path)
    try:
        with users.page(tab(done)) as page:
            note = page.get_by_role("status").filter(has_text="Staging can't be looked at")
            expect(note).to_contain_text("on the disk of another machine")
            imported = page.get_by_role("progressbar", name="Imported: 2,910 of 2,910 rows")
            expect(imported).to_be_visible()
        assert users.get(f"{api(done)}/report").status == 404
    finally:
        shutil.move(tmp_path / done.migration, folder)


def test_no_secret_is_in_an_answer(users, airflow):
    secret = {"login": "AKIDXXXX", "password": "s3cr3t-key", "conn_type": "aws"}
    extra = json.dumps({"endpoint_url": "http://127.0.0.1:9"})
    airflow.request(
        "POST", "/connections", json={"connection_id": "page_bucket", **secret, "extra": extra}
    )
    bucket = {"index_url": "/x", "staging_url": "s3://bucket/x", "staging_conn_id": "page_bucket"}
    run = trigger(airflow, bucket, "page_secret", PAUSED)
    for path in (api(run), f"{api(run)}/report", "/airlift/migrations"):
        text = users.get(path).text()
        assert "s3cr3t-key" not in text and "AKIDXXXX" not in text
    assert (
        "127.0.0.1:9" in users.get(api(run)).json()["unseen"]
        or users.get(api(run)).json()["unseen"]
    )


@pytest.fixture(scope="module")
def many(airflow, tmp_path_factory):
    """A migration of 10,000 chunks, half of them read; one collection has a hostile name."""
    folder = tmp_path_factory.mktemp("many")
    stage_many_chunks(folder, "page_many")
    return trigger(airflow, {"index_url": "/x", "staging_url": str(folder)}, "page_many", PAUSED)


def test_ten_thousand_chunks(users, many):
    answer = users.get(api(many))
    assert len(answer.body()) < 200_000
    assert answer.json()["totals"]["read"] == 5_000_000
    with users.page(tab(many)) as page:
        strip = page.get_by_role(
            "img", name=re.compile("^10,000 chunks: 5000 waiting, 0 reading, 5000 read")
        )
        expect(strip).to_be_visible()
        assert strip.locator("i").count() <= 300


def test_a_hostile_name_is_text(users, many):
    with users.page(tab(many)) as page:
        page.on("dialog", lambda dialog: pytest.fail("the name was run as a script"))
        expect(page.get_by_role("rowheader").filter(has_text=HOSTILE)).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("what", ["list", "run"])
def test_the_page_follows_the_theme_and_is_legible(users, done, theme, what):
    path = LIST if what == "list" else tab(done)
    with users.page(path, theme=theme) as page:
        expect(page.get_by_text(done.migration).first).to_be_visible()
        expect(page.locator("main .badge").first).to_be_visible()
        seen = legibility(page)
        assert seen["poor"] == []
        assert (sum(seen["ground"][:3]) > 3 * 128) == (theme == "light")


def test_a_narrow_window_does_not_scroll_sideways(users, done):
    with users.page(tab(done)) as page:
        page.set_viewport_size({"width": 480, "height": 900})
        expect(page.get_by_role("heading", name=done.migration, level=1)).to_be_visible()
        assert page.locator("main").evaluate("(one) => one.scrollWidth <= one.clientWidth + 1")
