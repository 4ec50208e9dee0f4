// One migration: how far it is, and what went wrong.

import { buttons } from "./actions.js";
import { logOf, own, poll, reportOf, runPath } from "./api.js";
import {
  badge,
  bar,
  bytes,
  duration,
  el,
  keeper,
  number,
  percent,
  plural,
  short,
} from "./dom.js";
import { plot, strip } from "./plots.js";

const NAMES = {
  check: "check",
  export_meta: "describe",
  copy_source: "copy",
  plan: "plan",
  convert: "convert",
  create: "create",
  bulk_insert: "import",
  index: "index",
  load: "load",
  verify: "verify",
  publish: "publish",
  clean_staging: "clean up",
};

// What Airflow calls a task's state, in words for who looks at a migration.
const SAID = {
  none: "to do",
  success: "done",
  deferred: "the target works",
  upstream_failed: "not reached",
  up_for_retry: "to be tried again",
};

export const mountRun = (main, { dagId, runId }) => {
  const told = el("p", { class: "told", role: "status", "aria-live": "polite" });
  const places = {};
  for (const name of ["head", "errors", "alerts", "tiles", "steps", "bars", "plots", "chunks", "table", "notes"])
    places[name] = el("section", { class: name });
  main.replaceChildren(told, ...Object.values(places));
  const keep = Object.fromEntries(
    Object.entries(places).map(([name, place]) => [name, keeper(place)]),
  );
  const show = (found) => {
    const { run, totals = {}, collections = [], collections_more: more } = found;
    const { now, started, ...steady } = run;
    keep.head([steady, found.report], () => head(main, run, found.report, () => polling.now()));
    keep.errors(found.errors, (errors) => errors.map((one) => failure(run, one)));
    keep.alerts(found.alerts, alerts);
    keep.tiles([totals, found.speed, run, found.chunks?.counts], () => tiles(found));
    keep.steps(found.steps, (steps) => stepLine(run, steps));
    keep.bars([totals, found.unseen], () => bars(found));
    if (keep.plots(found.plot ?? null, (values) => values && figures())) draw(places.plots, found.plot);
    keep.chunks(found.chunks ?? null, chunkStrip);
    keep.table([collections, more], () => table(collections, more));
    keep.notes(found.warnings, notes);
  };
  let last;
  const look = async () => {
    try {
      const found = await own(runPath(dagId, runId));
      last = found;
      told.replaceChildren();
      show(found);
      return ["running", "queued"].includes(found.run.airflow_state) ? 3 : 20;
    } catch (error) {
      told.replaceChildren(error.status === 404 ? "This run is not a migration." : error.message);
      return [401, 403, 404].includes(error.status) ? 0 : 10;
    }
  };
  const polling = poll(look);
  const resized = new ResizeObserver(() => draw(places.plots, last?.plot));
  resized.observe(main);
  return () => {
    polling.stop();
    resized.disconnect();
  };
};

const head = (main, run, hasReport, done) => [
  el(
    "div",
    { class: "title" },
    el("h1", null, run.migration_id, " ", badge(run.state)),
    el(
      "div",
      { class: "actions" },
      hasReport
        ? el("a", { class: "button", href: reportOf(run.dag_id, run.run_id), target: "_blank" }, "Report")
        : null,
      buttons(main, run, done),
    ),
  ),
  el(
    "p",
    { class: "muted ends" },
    run.source || run.target ? `${run.source || "…"} → ${run.target || "…"}` : run.dag_id,
    run.dry_run ? " · dry run: nothing is written to the target" : "",
    ` · started by ${run.started_by}`,
  ),
];

const failure = (run, one) => {
  const name = one.index < 0 ? one.task : `${one.task} [${one.index}]`;
  return el(
    "div",
    { class: "failure", role: "alert" },
    el(
      "h2",
      null,
      `${name} ${one.state === "up_for_retry" ? "failed and will be tried again" : "failed"}`,
    ),
    one.reasons.length
      ? el("ul", null, one.reasons.map((reason) => el("li", null, reason)))
      : el("p", null, "The task told no reason of its own: its log has what happened."),
    el("a", { href: logOf(run.dag_id, run.run_id, one.task, one.index) }, "Log of the task"),
  );
};

const alerts = (warnings) =>
  warnings.length
    ? el(
        "div",
        { class: "warning", role: "alert" },
        el("h2", null, plural(warnings.length, "warning")),
        el("ul", null, warnings.map((one) => el("li", null, one))),
      )
    : [];

const tile = (label, value, more) =>
  el(
    "div",
    { class: "tile" },
    el("div", { class: "muted" }, label),
    el("div", { class: "value" }, value),
    more ? el("div", { class: "muted" }, more) : null,
  );

const tiles = ({ run, totals = {}, speed, chunks }) => {
  const { planned, imported, bad_rows: bad = 0 } = totals;
  const took = run.started ? (run.ended ?? run.now) - run.started : null;
  const rate = speed ? `${short(speed.rows_per_second)} rows/s` : "–";
  const average = !speed && imported && took ? `${short(imported / took)} rows/s` : null;
  const left = speed?.seconds_left;
  return [
    tile("Rows in the target", number(imported ?? 0), planned == null ? "" : `of ${number(planned)}`),
    tile(
      "Speed",
      average ?? rate,
      average ? "over the whole run" : speed ? `${bytes(speed.bytes_per_second)}/s` : "",
    ),
    tile(
      "Time left",
      left == null ? "–" : `~ ${duration(Math.max(left, 1))}`,
      speed ? `to ${NAMES[speed.step]}` : "",
    ),
    tile("Took", duration(took), run.ended ? "" : "so far"),
    tile("Rows set aside", number(bad), bad ? "in staging, under bad_rows" : ""),
    tile("Chunks", number(chunks?.total ?? totals.chunks), chunks ? `${number(chunks.counts[4])} in the target` : ""),
  ];
};

const stepState = ({ states, tasks }) => {
  const names = Object.keys(states);
  if (!tasks || !names.length) return "none";
  for (const state of ["failed", "up_for_retry", "running", "deferred"])
    if (states[state]) return state;
  if (names.every((name) => name === "success")) return "success";
  if (names.every((name) => ["skipped", "upstream_failed"].includes(name))) return names[0];
  return states.success || states.queued || states.scheduled ? "queued" : "none";
};

const stepLine = (run, steps) => [
  el("h2", null, "Steps"),
  el(
    "ol",
    null,
    steps.map((step) => {
      const state = stepState(step);
      const { states, tasks, started, ended } = step;
      const many = tasks > 1 ? `${number(states.success ?? 0)} of ${number(tasks)} tasks` : "";
      const took = started && !["none", "upstream_failed", "skipped"].includes(state) ? duration((ended ?? run.now) - started) : "";
      return el(
        "li",
        { "data-state": state, title: step.id },
        el("b", null, NAMES[step.id] ?? step.id),
        el("span", { class: "state" }, SAID[state] ?? state),
        el("span", { class: "muted" }, [many, took].filter(Boolean).join(" · ") || " "),
      );
    }),
  ),
];

const bars = ({ totals, unseen, run }) => {
  const note = unseen
    ? el("p", { class: "unseen", role: "status" }, "Staging can't be looked at from here: ", unseen)
    : null;
  if (totals?.planned == null)
    return [note, el("p", { class: "empty" }, run.ended ? "It ended before anything was planned." : "Nothing is planned yet.")];
  const { planned, read, converted, imported, indexed = 0, verified = 0 } = totals;
  const of = (rows) => (planned ? Math.min(rows / planned, 1) : 0);
  const lines = [
    ["Read", read, totals.read_share, "read"],
    ["Converted", converted, totals.read_share, "read"],
    ["Imported", imported, totals.import_share, "in"],
    ["Indexed", indexed, imported ? Math.min(indexed / imported, 1) * totals.import_share : 0, "in"],
    ["Verified", verified, of(verified), "in"],
  ].slice(0, unseen ? 3 : 5);
  return [
    note,
    el("h2", null, `${plural(planned, "row")} in ${plural(totals.collections, "collection")}`),
    el(
      "div",
      { class: "grid" },
      lines.map(([label, rows, share, kind]) => [
        el("span", null, label),
        bar(share, `${label}: ${number(rows)} of ${number(planned)} rows`, kind),
        el("span", { class: "number" }, number(rows)),
        el("span", { class: "number muted" }, percent(share)),
      ]),
    ),
  ];
};

// Each with a scale of its own: reading is many times faster than what a target takes.
const FIGURES = {
  read: { title: "Rows read a second", kind: "read", format: short },
  imported: { title: "Rows imported a second", kind: "in", format: short },
  bytes: { title: "Bytes read a second", kind: "read", format: bytes },
};

const figures = () =>
  Object.entries(FIGURES).map(([of, { title }]) =>
    el("figure", { "data-of": of }, el("figcaption", null, el("b", null, title)), el("div", null)),
  );

// Plots are as wide as their place, so they are drawn when they are in it.
const draw = (place, found) => {
  for (const figure of found ? place.querySelectorAll("figure") : []) {
    const of = figure.dataset.of;
    plot(figure.lastElementChild, { ...FIGURES[of], values: found[of], binWidth: found.width });
  }
};

const chunkStrip = (chunks) =>
  chunks?.total ? [el("h2", null, "Chunks"), ...strip(chunks)] : [];

const HEADS = ["Collection", "Read", "Converted", "Imported", "Indexed", "Verified", "Set aside", "Chunks"];

const table = (collections, more) => {
  if (!collections.length) return [];
  return [
    el("h2", null, "Collections"),
    el(
      "div",
      { class: "scroll" },
      el(
        "table",
        null,
        el("thead", null, el("tr", null, HEADS.map((one, at) => el("th", { scope: "col", class: at ? "number" : "" }, one)))),
        el("tbody", null, collections.map(line)),
      ),
    ),
    more ? el("p", { class: "muted" }, `and ${plural(more, "collection")} more`) : null,
  ];
};

const line = (one) => {
  const of = (rows, share, kind, label) =>
    el(
      "td",
      { class: "number" },
      number(rows),
      bar(share, `${one.name}, ${label}: ${number(rows)} of ${number(one.planned)} rows`, kind),
    );
  const verified =
    one.verified == null ? "–" : one.verified ? `✓ ${number(one.counted)}` : "✕ differs";
  return [
    el(
      "tr",
      null,
      el(
        "th",
        { scope: "row", class: "name" },
        one.name,
        el(
          "div",
          { class: "muted" },
          `${one.source !== one.name ? `from ${one.source} · ` : ""}${plural(one.planned, "row")}`,
        ),
      ),
      of(one.read, one.read_share, "read", "read"),
      of(one.converted, one.read_share, "read", "converted"),
      of(one.imported, one.import_share, "in", "imported"),
      of(one.indexed, one.imported ? (one.indexed / one.imported) * one.import_share : 0, "in", "indexed"),
      el("td", { class: `number ${one.verified === false ? "bad" : ""}` }, verified),
      el("td", { class: `number ${one.bad_rows ? "bad" : ""}` }, number(one.bad_rows)),
      el("td", { class: "number" }, `${number(one.chunks_done)} of ${number(one.chunks)}`),
    ),
    one.problems.length
      ? el("tr", null, el("td", { colspan: HEADS.length, class: "bad" }, one.problems.join("; ")))
      : null,
    one.warnings.length
      ? el("tr", null, el("td", { colspan: HEADS.length, class: "warned" }, one.warnings.join("; ")))
      : null,
  ];
};

const notes = (warnings) =>
  warnings.length
    ? [el("h2", null, "Worth knowing"), el("ul", null, warnings.map((one) => el("li", null, one)))]
    : [];
