// Every element of a view, made once: bars, rail, stage with its layers of canvas, panel and help.

import { helpSheet, statusBar, toolRail, topBar } from "./bars.js";
import { button, element, icon } from "./dom.js";
import { ICONS } from "./icons.js";
import { VERDICTS } from "./overlay.js";
import { objectMenu } from "./menu.js";
import { layerPanel } from "./panel.js";

/** What lies on the picture: its kind, a sign, a colour, and what it means. */
const LEGEND = [
  ["right", "✓", VERDICTS.right, "marked right"], ["false", "✗", VERDICTS.false, "marked false"],
  ["fix", "!", VERDICTS.fix, "to be mended"], ["unsure", "?", VERDICTS.unsure, "unsure"],
  ["locked", "", "#fff", "locked"], ["noted", "≡", VERDICTS.noted, "noted"], ["reviewed", "▢", VERDICTS.right, "reviewed"], ["chosen", "⬚", "#fff", "chosen"],
];

/**
 * @param {{
 *   run: (command: string) => void, set: (name: string, value: any) => void,
 *   setLayer: (name: string, change: Record<string, any>) => void, goTo: (text: string) => boolean,
 * }} does
 */
export function layout({ run, set, setLayer, goTo }) {
  const rail = toolRail(run);
  const menu = objectMenu(run, () => root.focus({ preventScroll: true }));
  const top = topBar({ run, set, menu: menu.button });
  const status = statusBar({ run, set, goTo, leave: () => root.focus({ preventScroll: true }) });
  const panel = layerPanel(setLayer, run);
  const help = helpSheet(() => run("help"));
  const lines = element("canvas", { class: "mitonb-lines" });
  const cursor = element("div", { class: "mitonb-cursor" });
  const notice = element("div", { class: "mitonb-notice", attributes: { role: "status", "aria-live": "polite" } });
  notice.hidden = true;
  const empty = element("div", { class: "mitonb-empty" });
  const scaleText = element("span");
  const scaleLine = element("div");
  const scale = element("div", { class: "mitonb-scale" }, [scaleText, scaleLine]);
  const legend = element("div", { class: "mitonb-legend" });
  legend.hidden = true;
  const said = element("div", { class: "mitonb-said", attributes: { role: "status", "aria-live": "polite" } });
  said.hidden = true;
  const corner = element("div", { class: "mitonb-corner" }, [said, legend]);
  const seenText = element("span", { attributes: { role: "status" } });
  const all = button("Show all", "Show all objects again (Esc)", () => {
    root.focus({ preventScroll: true });
    run("all");
  });
  const seen = element("div", { class: "mitonb-chip-bar" }, [seenText, all]);
  const keys = element("div", { class: "mitonb-chip-bar mitonb-keys", attributes: { role: "status", "aria-live": "polite" } });
  const states = element("div", { class: "mitonb-states" }, [seen, keys]);
  const loading = element("div", { class: "mitonb-loading" });
  const grip = element("div", {
    class: "mitonb-grip", title: "Drag to change the height; double-click follows the window again",
    attributes: { role: "separator", "aria-orientation": "horizontal", "aria-label": "Height of the viewer", tabindex: "0" },
  });
  const tag = element("span", { class: "mitonb-tag" });
  const stage = element("div", { class: "mitonb-stage" }, [lines, cursor, scale, tag, corner, states, loading, empty, notice]);
  const panes = element("div", { class: "mitonb-panes" }, [stage]);
  const root = element("div", {
    class: "mitonb-viewer",
    attributes: {
      tabindex: "0", role: "application", "aria-label": "Plane viewer", "data-state": "connecting",
    },
  }, [top.node, rail.node, panes, panel.node, status.node, grip, menu.list, help]);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let quiet;
  return {
    root, panes, stage, tag, rail, top, status, panel, grip, help, menu, lines, cursor, notice, empty,
    /** @param {{width: number, text: string} | null} bar */
    showScale(bar) {
      scale.hidden = !bar;
      if (!bar || scaleText.textContent + scaleLine.style.width === `${bar.text}${bar.width}px`) return;
      scaleText.textContent = bar.text;
      scaleLine.style.width = `${bar.width}px`;
    },
    /** Take the parts of a comparison. @param {{node: HTMLElement, line: HTMLElement}} comparison */
    hold({ node, line }) {
      states.append(node);
      stage.insertBefore(line, cursor);
    },
    /** Say that not all objects are shown. @param {string} text "" where all are */
    showSeen(text) {
      seen.hidden = !text;
      if (seenText.textContent !== text) seenText.textContent = text;
    },
    /** Say what Enter does where the keyboard's cursor is. @param {string} text "" without one */
    showKeys(text) {
      keys.hidden = !text;
      if (keys.textContent !== text) keys.textContent = text;
    },
    /** Say why a pixel is what it is, and what a setting would change. @param {string[]} sentences @param {boolean} above */
    showSaid(sentences, above) {
      corner.classList.toggle("mitonb-above", above);
      said.hidden = !sentences.length;
      if (said.innerText !== sentences.join("\n")) said.replaceChildren(...sentences.map((text) => element("div", { text })));
    },
    /** Say what the marks on the picture mean. @param {import("./overlay.js").Judged[]} judged @param {import("./overlay.js").Framed[]} framed */
    showMarks(judged, framed) {
      const kinds = LEGEND.filter(([kind]) => [...judged, ...framed].some((one) => one.kind === kind));
      legend.hidden = !kinds.length;
      if (legend.dataset.kinds === `${kinds}`) return;
      legend.dataset.kinds = `${kinds}`;
      legend.replaceChildren(...kinds.map(([, text, color, said]) => {
        const sign = element("b", { text }, [text ? null : icon(ICONS.lock)]);
        sign.style.color = color;
        return element("span", {}, [sign, document.createTextNode(` ${said}`)]);
      }));
    },
    /**
     * Show a sentence over the picture for a while; with actions that are a question, until it is answered.
     * @param {{text: string, error?: boolean, actions?: {label: string, run: () => void}[], asks?: boolean, accepts?: boolean}} message
     *   accepts: Enter is the first answer
     */
    say({ text, error = false, actions = [], asks = actions.length > 1, accepts = false }) {
      notice.replaceChildren(text, ...actions.map(({ label, run: act }) => button(label, "", () => {
        notice.hidden = true;
        root.focus({ preventScroll: true });
        act();
      })));
      notice.classList.toggle("mitonb-error", error);
      notice.hidden = false;
      notice.dataset.asks = `${asks}`;
      notice.dataset.accepts = `${accepts}`;
      notice.dataset.offers = `${actions.length > 0 && !asks}`;
      clearTimeout(quiet);
      if (!asks) quiet = setTimeout(() => { notice.hidden = true; }, error || actions.length ? 12000 : 5000);
    },
    /** Whoever leaves has read what went wrong. */
    hush() {
      if (notice.classList.contains("mitonb-error")) notice.hidden = true;
    },
    /** Give the answer of Enter to the question on screen; false where there is none. */
    accept() {
      if (notice.hidden || notice.dataset.accepts !== "true") return false;
      notice.querySelector("button")?.click();
      return true;
    },
    dispose() {
      clearTimeout(quiet);
      root.remove();
    },
  };
}

/** @typedef {ReturnType<typeof layout>} Layout */
