// Asking the page's own routes and Airflow's REST API; the browser sends the login's cookie.

const OWN = new URL("../", import.meta.url);

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const MEANINGS = {
  401: "You are not logged in any more: reload the page to log in again.",
  403: "You don't have the right to do this. Ask who administers this Airflow.",
};

const ask = async (url, options = {}) => {
  const answer = await fetch(url, { headers: { "Content-Type": "application/json" }, ...options });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let detail = "";
  try {
    const body = await answer.json();
    detail = typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail);
  } catch {
    detail = answer.statusText;
  }
  throw new Refused(answer.status, MEANINGS[answer.status] ?? `Airflow says: ${detail}`);
};

export const own = (path) => ask(new URL(path, OWN));
export const airflow = (method, path, body) =>
  ask(new URL(`api/v2/${path}`, document.baseURI), { method, body: body && JSON.stringify(body) });

const part = encodeURIComponent;
export const runPath = (dagId, runId) => `dags/${part(dagId)}/runs/${part(runId)}`;
export const restPath = (dagId, runId) => `dags/${part(dagId)}/dagRuns/${part(runId)}`;
export const inAirflow = (path) => new URL(path, document.baseURI).href;
export const pageOf = (dagId, runId) =>
  inAirflow(`${runPath(dagId, runId)}/plugin/airlift-migration`);
export const reportOf = (dagId, runId) => new URL(`${runPath(dagId, runId)}/report`, OWN).href;
export const logOf = (dagId, runId, task, index) => {
  const mapped = index < 0 ? "" : `/mapped/${index}`;
  return inAirflow(`${runPath(dagId, runId)}/tasks/${part(task)}${mapped}`);
};

// Calls `look` again and again, while the page is seen, until it returns nothing; returns a stop.
export const poll = (look) => {
  let timer;
  let stopped = false;
  const again = async () => {
    const pause = document.hidden ? 5 : await look();
    if (!stopped && pause) timer = setTimeout(again, pause * 1000);
  };
  again();
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
    now: () => {
      clearTimeout(timer);
      again();
    },
  };
};
