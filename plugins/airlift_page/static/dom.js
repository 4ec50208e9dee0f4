// Making elements, and telling numbers. Text is only ever set as text: names are not to be trusted.

const make = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((one) => one != null && one !== false));
  return node;
};

export const el = (tag, attributes, ...children) =>
  make(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const brief = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const number = (value) => (value == null ? "–" : whole.format(value));
export const short = (value) => (value == null ? "–" : brief.format(value));
export const plural = (value, one, many = `${one}s`) =>
  `${number(value)} ${value === 1 ? one : many}`;

export const bytes = (value) => {
  if (value == null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const at = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  const shown = value / 1000 ** at;
  return `${shown >= 100 || at === 0 ? Math.round(shown) : shown.toPrecision(2)} ${units[at]}`;
};

export const duration = (seconds) => {
  if (seconds == null) return "–";
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  const total = Math.round(seconds);
  const [hours, minutes, rest] = [total / 3600, (total % 3600) / 60, total % 60].map(Math.floor);
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${rest} s` : `${rest} s`;
};

export const percent = (share) => {
  if (share >= 1 || share <= 0) return share > 0 ? "100 %" : "0 %";
  return `${Math.min(Math.floor(share * 1000) / 10, 99.9).toFixed(share < 0.1 ? 1 : 0)} %`;
};

export const moment = (seconds) =>
  seconds == null
    ? "–"
    : el(
        "time",
        { datetime: new Date(seconds * 1000).toISOString() },
        new Date(seconds * 1000).toLocaleString("en-GB", {
          dateStyle: "medium",
          timeStyle: "short",
        }),
      );

// States in words that need no colour to be told apart.
const MARKS = {
  done: "✓",
  success: "✓",
  running: "▸",
  deferred: "▸",
  queued: "…",
  scheduled: "…",
  failed: "✕",
  cancelled: "✕",
  upstream_failed: "✕",
  up_for_retry: "↻",
  planned: "◦",
  skipped: "–",
  "rolled back": "↶",
};

export const badge = (state) =>
  el(
    "span",
    { class: "badge", "data-state": state.replace(" ", "-") },
    el("span", { "aria-hidden": "true" }, MARKS[state] ?? "·"),
    ` ${state.replaceAll("_", " ")}`,
  );

// A bar of one share, with its numbers for those who don't see it.
export const bar = (share, label, kind = "") =>
  el(
    "div",
    {
      class: `bar ${kind}`,
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.floor(share * 100),
    },
    el("div", { style: `width: ${Math.min(share * 100, 100)}%` }),
  );

// Rebuilds what `build` makes only when `value` has changed: what has the focus keeps it. Tells
// whether it did.
export const keeper = (place) => {
  let last;
  return (value, build) => {
    const text = JSON.stringify(value);
    if (text === last) return false;
    last = text;
    place.replaceChildren(...[build(value)].flat().filter(Boolean));
    return true;
  };
};
