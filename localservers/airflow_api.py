"""The few calls of Airflow's REST API v2 that a demo, a test or a benchmark needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from .errors import LocalServerError

FINISHED = ("success", "failed")
_LOG_MAIN = ("timestamp", "level", "event")
_LOG_HIDDEN = (
    *("logger", "filename", "lineno", "ti", "ti_id"),
    *("dag_id", "run_id", "task_id", "map_index", "try_number"),
)


class AirflowApiError(LocalServerError):
    """Airflow refused a call; `status_code` and `detail` are its answer."""

    def __init__(self, method: str, path: str, response: httpx.Response) -> None:
        self.status_code = response.status_code
        try:
            self.detail: Any = response.json().get("detail")
        except (ValueError, AttributeError):
            self.detail = response.text
        #: What its database refused, if that is the reason.
        self.database: str | None = None
        if isinstance(self.detail, dict):
            self.database = self.detail.get("orig_error")
        said = self.database or self.detail
        super().__init__(f"Airflow answered {response.status_code} to {method} {path}: {said}")


def _is_locked(error: BaseException) -> bool:
    """Whether others were writing to SQLite; nothing was done then."""
    return isinstance(error, AirflowApiError) and error.database == "database is locked"


class AirflowApi:
    """A client of one Airflow server; logs in by itself."""

    def __init__(self, base_url: str, username: str, password: str) -> None:
        self.base_url = base_url
        self.username = username
        self.password = password
        self._token: str | None = None
        self._http = httpx.Client(timeout=300, trust_env=False)

    def token(self) -> str:
        """A fresh JWT for the `Authorization: Bearer` header."""
        path = "/auth/token"
        login = {"username": self.username, "password": self.password}
        response = self._http.post(self.base_url + path, json=login)
        if response.status_code != 201:
            raise AirflowApiError("POST", path, response)
        return str(response.json()["access_token"])

    @retry(
        retry=retry_if_exception(_is_locked),
        stop=stop_after_delay(120),
        wait=wait_random(0.1, 1),
        reraise=True,
    )
    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call ``/api/v2`` + path and return the JSON of the answer; AirflowApiError on refusal.

        An Airflow on SQLite that is busy with other writes is asked again, for two minutes.
        """
        extra = options.pop("headers", {})
        for attempt in (1, 2):
            self._token = self._token or self.token()
            headers = {"Authorization": f"Bearer {self._token}", **extra}
            url = f"{self.base_url}/api/v2{path}"
            response = self._http.request(method, url, headers=headers, **options)
            if response.status_code != 401 or attempt == 2:
                break
            self._token = None
        if response.is_error:
            raise AirflowApiError(method, path, response)
        return response.json() if response.content else None

    def health(self) -> dict[str, str]:
        """Status by component ("healthy" when it is); empty while the API doesn't answer."""
        try:
            response = self._http.get(f"{self.base_url}/api/v2/monitor/health", timeout=5)
            parts = response.json() if response.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            return {}
        return {name: str((part or {}).get("status")) for name, part in parts.items()}

    def dag_ids(self) -> list[str]:
        """The ids of all DAGs that Airflow has read so far."""
        return [dag["dag_id"] for dag in self._pages("/dags", "dags", "dag_id")]

    def import_errors(self) -> dict[str, str]:
        """DAG files that could not be imported: file name -> trace."""
        errors = self._pages("/importErrors", "import_errors", "id")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def wait_for_dag(self, dag_id: str, timeout: float = 300) -> None:
        """Wait until Airflow has read a DAG file that defines this DAG."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                self.request("GET", f"/dags/{dag_id}")
                return
            except AirflowApiError as error:
                if error.status_code != 404:
                    raise
            if errors := self.import_errors():
                raise LocalServerError(f"DAG {dag_id} is not there; import errors: {errors}")
            time.sleep(0.25)
        raise LocalServerError(
            f"No DAG {dag_id} after {timeout:.0f} s; Airflow has {self.dag_ids()}. Is its file in "
            "the DAGs folder, and not named in an .airflowignore?"
        )

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs start."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(
        self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None
    ) -> str:
        """Start a run with these params and return its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """queued, running, success or failed."""
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait(self, dag_id: str, run_id: str, timeout: float = 900) -> str:
        """Wait for the end of a run; returns success or failed."""
        deadline = time.monotonic() + timeout
        while True:
            state = self.run_state(dag_id, run_id)
            if state in FINISHED:
                return state
            if time.monotonic() > deadline:
                tasks = {
                    f"{task['task_id']}[{task['map_index']}]": task["state"]
                    for task in self.task_instances(dag_id, run_id)
                    if task["state"] != "success"
                }
                raise LocalServerError(
                    f"Run {run_id} of {dag_id} is still {state} after {timeout:.0f} s. Is the DAG "
                    f"unpaused? Tasks that have not succeeded: {tasks}"
                )
            time.sleep(0.25)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones too, as the API describes them."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return self._pages(path, "task_instances", "id")

    def task_log(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        try_number: int | None = None,
        map_index: int = -1,
    ) -> str:
        """The log of one try (the latest by default) as text, one event a line."""
        task = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        if try_number is None:
            instance = self.request("GET", task if map_index < 0 else f"{task}/{map_index}")
            try_number = max(int(instance["try_number"]), 1)
        options: dict[str, Any] = {"map_index": map_index, "full_content": True}
        answer = self.request(
            "GET",
            f"{task}/logs/{try_number}",
            params=options,
            headers={"Accept": "application/json"},
        )
        content = answer["content"]
        if isinstance(content, str):
            return content
        return "\n".join(_log_line(entry) for entry in content)

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str | tuple[str, int]] | None = None,
        only_failed: bool = False,
        downstream: bool = True,
    ) -> list[dict[str, Any]]:
        """Run tasks of a run again (all by default; (task id, map index) names a mapped one)."""
        body: dict[str, Any] = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": only_failed,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        if task_ids is not None:
            body["task_ids"] = [t if isinstance(t, str) else list(t) for t in task_ids]
        answer = self.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)
        return list(answer["task_instances"])

    def _pages(self, path: str, key: str, order_by: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            page = {"limit": 100, "offset": len(items), "order_by": order_by}
            answer = self.request("GET", path, params=page)
            items += answer[key]
            if not answer[key] or len(items) >= answer["total_entries"]:
                return items


def _log_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    shown = [str(entry[key]) for key in _LOG_MAIN if entry.get(key)]
    extra = [f"{k}={v}" for k, v in entry.items() if k not in _LOG_MAIN + _LOG_HIDDEN]
    return " ".join(shown + extra)
