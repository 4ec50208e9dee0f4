// The entry that Airflow loads: two React components around plain pages (list.js, run.js).
//
// Airflow gives React and its router as globals; nothing else of theirs is used. Each page lives in
// a shadow root, so that neither its styles nor Airflow's touch the other; colours that Airflow's
// theme sets as variables come through, and light or dark by `color-scheme`.

import { mountList } from "./list.js";
import { mountRun } from "./run.js";

const { createElement, useEffect, useRef } = globalThis.React;

// Stays within Airflow's own page when a link leads to another part of it.
const useStay = () => {
  const navigate = globalThis.ReactRouterDOM?.useNavigate?.();
  return (event) => {
    const link = event.composedPath().find((node) => node.localName === "a" && node.href);
    const base = new URL(document.baseURI);
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!navigate || !link || link.target || !plain || !link.href.startsWith(base.href)) return;
    event.preventDefault();
    const to = new URL(link.href);
    navigate(`/${to.pathname.slice(base.pathname.length)}${to.search}`);
  };
};

const page = (mount) =>
  function AirliftPage({ dagId, runId }) {
    const place = useRef(null);
    const stay = useStay();
    const click = useRef(stay);
    click.current = stay;
    useEffect(() => {
      const host = document.createElement("div");
      host.style.cssText = "display: block; height: 100%; overflow: auto";
      place.current.replaceChildren(host);
      const root = host.attachShadow({ mode: "open" });
      const styles = document.createElement("link");
      styles.rel = "stylesheet";
      styles.href = new URL("page.css", import.meta.url);
      const main = document.createElement("main");
      root.append(styles, main);
      root.addEventListener("click", (event) => click.current(event));
      const stop = mount(main, { dagId, runId });
      return () => {
        stop();
        host.remove();
      };
    }, [dagId, runId]);
    return createElement("div", { ref: place, style: { height: "100%", minHeight: 0 } });
  };

// Airflow looks for a component under the name that the plugin gives to the view.
globalThis.Migrations = page(mountList);
globalThis.Migration = page(mountRun);
