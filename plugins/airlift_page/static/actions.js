// What can be done with a migration: cancel, resume, roll back. Airflow's REST API does it, with the
// rights of whoever is logged in.

import { airflow, own, restPath, runPath } from "./api.js";
import { el } from "./dom.js";

const ROLLBACK = "dags/rollback_migration";
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// A dialog with a text and buttons: [label, kind, action]; an action gets the dialog's body.
const dialog = (host, title, ...content) => {
  const said = el("div", { class: "said", role: "status", "aria-live": "polite" });
  const buttons = el("div", { class: "buttons" });
  const close = el("button", { type: "button", onclick: () => box.close() }, "Close");
  const box = el(
    "dialog",
    { "aria-label": title, onclose: () => box.remove() },
    el("h2", null, title),
    content,
    said,
    buttons,
  );
  const offer = (...actions) =>
    buttons.replaceChildren(
      ...actions.map(([label, kind, act]) =>
        el("button", { type: "button", class: kind, onclick: () => attempt(act) }, label),
      ),
      close,
    );
  const attempt = async (act) => {
    offer();
    said.classList.remove("failed");
    try {
      await act();
    } catch (error) {
      said.classList.add("failed");
      said.replaceChildren(error.message);
    }
  };
  host.append(box);
  box.showModal();
  return { box, offer, say: (...told) => said.replaceChildren(...told), isOpen: () => box.open };
};

export const cancel = (host, run, done) => {
  const { box, offer } = dialog(
    host,
    `Cancel ${run.migration_id}?`,
    el(
      "p",
      null,
      "The tasks that run are stopped, and the run ends as soon as clean_staging has looked ",
      "after what is left (which a paused DAG never does). What is done stays in staging and on the ",
      "target, where nothing half-done is visible: resume goes on from there, roll back removes it.",
    ),
  );
  offer([
    "Cancel the migration",
    "danger",
    async () => {
      await airflow("PATCH", restPath(run.dag_id, run.run_id), { state: "failed" });
      box.close();
      done();
    },
  ]);
};

export const resume = (host, run, done) => {
  const { box, offer, say } = dialog(
    host,
    `Resume ${run.migration_id}?`,
    el(
      "p",
      null,
      "The tasks that failed, and those after them, run again. Chunks that are read or imported are ",
      "not done again. Mend the cause of the failure first.",
    ),
  );
  offer([
    "Resume",
    "primary",
    async () => {
      const { resume: tasks } = await own(runPath(run.dag_id, run.run_id));
      if (!tasks.length) return say("There is nothing to resume: no task has failed.");
      await airflow("POST", `dags/${encodeURIComponent(run.dag_id)}/clearTaskInstances`, {
        dry_run: false,
        dag_run_id: run.run_id,
        task_ids: tasks,
        include_downstream: true,
        only_failed: false,
        reset_dag_runs: true,
      });
      box.close();
      done();
      return undefined;
    },
  ]);
};

// Lists first what would be removed (a run with dry_run), and removes it when told to.
export const rollBack = (host, run, done) => {
  const { offer, say, isOpen } = dialog(
    host,
    `Roll back ${run.migration_id}?`,
    el(
      "p",
      null,
      "Removes the collections, aliases and databases that this migration made, and its files in ",
      "staging: nothing else. First look what that would be.",
    ),
  );
  const trigger = async (dryRun) => {
    const dag = await airflow("GET", ROLLBACK);
    if (dag.is_paused) {
      await airflow("PATCH", ROLLBACK, { is_paused: false });
      say("The DAG rollback_migration was paused; it is on now. ");
    }
    const { dag_run_id: id } = await airflow("POST", `${ROLLBACK}/dagRuns`, {
      logical_date: null,
      conf: { migration_id: run.migration_id, dry_run: dryRun, ...given(run.rollback) },
    });
    say(dryRun ? "Looking what there is …" : "Removing …");
    return ended(id, isOpen);
  };
  const look = async () => {
    const found = await trigger(true);
    if (!found) return;
    say(...listed(found));
    offer([
      "Remove all this",
      "danger",
      async () => {
        const removed = await trigger(false);
        if (!removed) return;
        say(el("p", null, "It is removed."), ...listed(removed));
        done();
      },
    ]);
  };
  offer(["Show what would be removed", "primary", look]);
};

const given = (params) => Object.fromEntries(Object.entries(params).filter(([, value]) => value));

// Waits for the end of a rollback's run; gives what it found, nothing if the dialog was closed.
const ended = async (runId, isOpen) => {
  const path = restPath("rollback_migration", runId);
  for (;;) {
    const { state } = await airflow("GET", path);
    if (state === "success") return told(path, "list_what_was_made", "return_value");
    if (state === "failed") throw new Error(await reasonsOf(path, runId));
    if (!isOpen()) return null;
    await sleep(1);
  }
};

const reasonsOf = async (path, runId) => {
  for (const task of ["list_what_was_made", "remove"]) {
    const reasons = await told(path, task, "error").catch(() => null);
    if (reasons) return reasons.join("\n");
  }
  return `It failed: see the log of the run ${runId} of rollback_migration`;
};

const told = async (path, task, key) => {
  const { value } = await airflow("GET", `${path}/taskInstances/${task}/xcomEntries/${key}`);
  return typeof value === "string" ? JSON.parse(value) : value;
};

const listed = (found) => {
  const aliases = Object.entries(found.aliases).map(([alias, before]) =>
    before ? `${alias} (points to ${before} again)` : alias,
  );
  const lines = [
    ["Collections", found.collections],
    ["Aliases", aliases],
    ["Databases", found.databases],
    ["Files in staging", [String(found.staging_files)]],
    ["Left as it is", found.left],
  ];
  return [
    el(
      "dl",
      null,
      lines
        .filter(([, names]) => names.length)
        .map(([what, names]) => [el("dt", null, what), names.map((name) => el("dd", null, name))]),
    ),
  ];
};

// The buttons that make sense for a run in this state.
export const buttons = (host, run, done) => {
  const going = ["running", "queued"].includes(run.airflow_state);
  const gone = run.state === "rolled back";
  const offers = [
    [going, "Cancel", cancel, ""],
    [["failed", "cancelled"].includes(run.state), "Resume", resume, "primary"],
    [!going && !gone && run.state !== "planned", "Roll back …", rollBack, ""],
  ];
  return offers
    .filter(([makesSense]) => makesSense)
    .map(([, label, act, kind]) =>
      el("button", { type: "button", class: kind, onclick: () => act(host, run, done) }, label),
    );
};
