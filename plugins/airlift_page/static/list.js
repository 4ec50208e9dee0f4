// The list of all migrations.

import { buttons } from "./actions.js";
import { own, pageOf, poll, reportOf } from "./api.js";
import { badge, bar, duration, el, keeper, moment, number, percent, plural, short } from "./dom.js";

const HEADS = ["State", "Migration", "From, into", "Rows", "Speed", "Verified", "Started", ""];
const NUMBERS = ["Rows", "Speed"];

export const mountList = (main) => {
  const asked = { search: "", state: "", offset: 0 };
  const told = el("p", { class: "told", role: "status", "aria-live": "polite" });
  const table = el("div", { class: "scroll" });
  const pages = el("nav", { class: "pages", "aria-label": "Pages" });
  const states = el("select", { "aria-label": "State", onchange: (e) => ask({ state: e.target.value }) });
  const search = el("input", {
    type: "search",
    placeholder: "Search ids, collections, addresses, people",
    "aria-label": "Search",
    oninput: (e) => ask({ search: e.target.value }),
  });
  main.replaceChildren(
    el("header", null, el("h1", null, "Migrations"), el("div", { class: "filters" }, search, states)),
    told,
    table,
    pages,
  );
  const keepTable = keeper(table);
  const keepPages = keeper(pages);
  const keepStates = keeper(states);
  const ask = (change) => {
    Object.assign(asked, { offset: 0 }, change);
    polling.now();
  };
  const look = async () => {
    try {
      const answer = await own(`migrations?${new URLSearchParams(asked)}`);
      told.replaceChildren();
      told.classList.remove("failed");
      keepStates([answer.states, asked.state], () => options(answer.states, asked.state));
      keepTable(answer.migrations, (found) => lines(main, found, asked, () => polling.now()));
      keepPages([answer, asked.offset].map(String), () => pager(answer, asked.offset, ask));
      return answer.migrations.some((one) => ["running", "queued"].includes(one.state)) ? 4 : 15;
    } catch (error) {
      told.replaceChildren(error.message);
      told.classList.add("failed");
      return error.status === 401 || error.status === 403 ? 0 : 10;
    }
  };
  const polling = poll(look);
  return polling.stop;
};

const options = (states, chosen) =>
  ["", ...states].map((state) =>
    el("option", { value: state, selected: state === chosen }, state || "All states"),
  );

const lines = (main, migrations, asked, done) => {
  if (!migrations.length) return empty(asked);
  return el(
    "table",
    { class: "list" },
    el("thead", null, el("tr", null, HEADS.map((one) => el("th", { scope: "col", class: NUMBERS.includes(one) && "number" }, one)))),
    el("tbody", null, migrations.map((one) => line(main, one, done))),
  );
};

const empty = ({ search, state }) =>
  search || state
    ? el("p", { class: "empty" }, "No migration is like that.")
    : el(
        "p",
        { class: "empty" },
        "There is no migration yet. Trigger one of the DAGs tagged ",
        el("b", null, "migration"),
        ".",
      );

const line = (main, one, done) => {
  const share = one.rows_total ? one.rows_done / one.rows_total : one.state === "done" ? 1 : 0;
  const more = one.collections_more ? ` and ${number(one.collections_more)} more` : "";
  return el(
    "tr",
    null,
    el(
      "td",
      null,
      badge(one.state),
      one.warnings.length
        ? el(
            "div",
            { class: "warned", title: one.warnings.join("\n") },
            plural(one.warnings.length, "warning"),
          )
        : null,
    ),
    el(
      "th",
      { scope: "row" },
      el("a", { href: pageOf(one.dag_id, one.run_id) }, one.migration_id),
      el("div", { class: "muted" }, one.dag_id),
    ),
    el(
      "td",
      { class: "wide" },
      el("div", { title: one.source }, one.source || "–"),
      el("div", { class: "muted", title: one.target }, one.target ? `→ ${one.target}` : ""),
      one.collections.length
        ? el("div", { class: "muted" }, one.collections.join(", "), more)
        : null,
    ),
    el(
      "td",
      { class: "number" },
      one.rows_total == null ? "–" : `${number(one.rows_done)} of ${number(one.rows_total)}`,
      bar(share, `Rows in the target: ${percent(share)}`, one.state),
    ),
    el("td", { class: "number" }, one.rows_per_second ? `${short(one.rows_per_second)}/s` : "–"),
    el("td", { class: "steady" }, one.verified ? `✓ ${one.verify}` : "–"),
    el(
      "td",
      null,
      moment(one.started),
      el("div", { class: "muted" }, `${duration(one.seconds)} · ${one.started_by}`),
    ),
    el(
      "td",
      { class: "actions" },
      one.state === "done" || one.state === "planned"
        ? el("a", { class: "button", href: reportOf(one.dag_id, one.run_id), target: "_blank" }, "Report")
        : null,
      buttons(main, one, done),
    ),
  );
};

const pager = (answer, offset, ask) => {
  const { matching, page, searched } = answer;
  if (matching <= page) return searched >= 1000 ? "Only the newest 1,000 runs are searched." : [];
  const go = (label, to, possible) =>
    el("button", { type: "button", disabled: !possible, onclick: () => ask({ offset: to }) }, label);
  return [
    go("Newer", Math.max(offset - page, 0), offset > 0),
    el("span", null, ` ${offset + 1} to ${Math.min(offset + page, matching)} of ${number(matching)} `),
    go("Older", offset + page, offset + page < matching),
  ];
};
