// Plots drawn by hand as SVG: lines over time, and the strip of chunks.

import { duration, el, number, plural, svg } from "./dom.js";

const HEIGHT = 150;
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 10, 22];

const nice = (top) => {
  const power = 10 ** Math.floor(Math.log10(top));
  return power * [1, 2, 5, 10].find((one) => one * power >= top);
};

// `values` of bins that are `binWidth` seconds wide each.
export const plot = (place, { title, values, kind, binWidth, format }) => {
  const width = Math.max(place.clientWidth || 600, 260);
  const count = values.length;
  const most = Math.max(0, ...values);
  const top = most > 0 ? nice(most) : 1;
  const x = (at) => LEFT + ((width - LEFT - RIGHT) * at) / count;
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / top;
  const seconds = count * binWidth;
  const grid = [0, 0.5, 1].map((share) => [
    svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(top * share), y2: y(top * share) }),
    most > 0 || share === 0
      ? svg("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share))
      : null,
  ]);
  const times = [0, 0.5, 1].map((share) =>
    svg(
      "text",
      { x: x(count * share), y: HEIGHT - 6, "text-anchor": ["start", "middle", "end"][share * 2] },
      share === 0 ? "0" : duration(seconds * share),
    ),
  );
  const steps = values.map((value, at) => `H${x(at)}V${y(value)}H${x(at + 1)}`).join("");
  const drawn = [
    svg("path", { class: `area ${kind}`, d: `M${x(0)} ${y(0)}${steps}V${y(0)}Z` }),
    svg("path", { class: `line ${kind}`, d: `M${x(0)} ${y(values[0])}${steps}` }),
  ];
  const tips = values.map((value, at) =>
    svg(
      "rect",
      { class: "tip", x: x(at), y: TOP, width: x(at + 1) - x(at), height: HEIGHT - TOP - BOTTOM },
      svg("title", null, `${duration(at * binWidth)}: ${format(value)}`),
    ),
  );
  const told = `${title} over time; at most ${format(most)}, over ${duration(seconds)}`;
  place.replaceChildren(
    svg(
      "svg",
      { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": told },
      grid,
      drawn,
      times,
      tips,
    ),
  );
};

export const STATES = ["waiting", "reading", "read", "importing", "in the target", "failed"];
const KINDS = ["waiting", "reading", "read", "importing", "in", "failed"];

// The most telling state of a cell: a failure, else what is in work, else what most chunks are.
const tellingState = (cell) => {
  const states = cell.slice(0, STATES.length);
  for (const state of [5, 3, 1]) if (states[state]) return state;
  return states.indexOf(Math.max(...states));
};

export const strip = (chunks) => {
  const { cells, counts, total, per_cell: perCell, starts } = chunks;
  const names = new Map(starts);
  let name = "";
  const drawn = cells.map((cell, at) => {
    name = names.get(at) ?? name;
    const states = STATES.map((state, place) => cell[place] && `${number(cell[place])} ${state}`);
    const resumed = cell[STATES.length];
    const told = [...states, resumed && `${number(resumed)} of an earlier attempt`].filter(Boolean);
    return el("i", {
      class: `cell ${KINDS[tellingState(cell)]}${resumed ? " resumed" : ""}`,
      title: `${name}, chunk ${number(at * perCell + 1)}${perCell > 1 ? " and on" : ""}: ${told.join(", ")}`,
    });
  });
  const legend = STATES.map((state, place) =>
    counts[place]
      ? el("li", null, el("i", { class: `cell ${KINDS[place]}` }), ` ${number(counts[place])} ${state}`)
      : null,
  );
  const resumed = counts[STATES.length];
  if (resumed) {
    const told = ` ${number(resumed)} done by an earlier attempt, not done again`;
    legend.push(el("li", null, el("i", { class: "cell in resumed" }), told));
  }
  const label = `${plural(total, "chunk")}: ${STATES.map((s, at) => `${counts[at]} ${s}`).join(", ")}`;
  return [
    el("div", { class: "strip", role: "img", "aria-label": label }, drawn),
    el("ul", { class: "legend" }, legend),
    perCell > 1 ? el("p", { class: "muted" }, `Each cell is ${number(perCell)} chunks.`) : null,
  ];
};
