// The layer panel: one block per layer, with its switch and its settings.

import { cssStops } from "./colors.js";
import { button, checkbox, element, iconButton, slider } from "./dom.js";
import { ICONS } from "./icons.js";
import { HEADS } from "./protocol.js";

/**
 * @typedef {import("./gl.js").Layers} Layers
 * @typedef {(name: string, change: Record<string, any>) => void} SetLayer
 * @typedef {{node: HTMLElement, show: (layers: Layers) => void, enable: (on: boolean, why: string, shown: boolean) => void}} Block
 */

/** Heads whose layers are there also before a network has run. */
export const USUAL = ["semantic", "center", "offsets"];
const TITLES = /** @type {Record<string, string>} */ ({
  em: "EM", labels: "Labels", preview: "Preview", semantic: "Semantic", center: "Centers", offsets: "Offsets",
  contour: "Contour", distance: "Distance", affinities: "Affinities",
});
const TIPS = /** @type {Record<string, string>} */ ({
  em: "The image", labels: "The objects as they are (V)", preview: "What the recipe would give here; not labels yet",
  semantic: "How sure the network is that a pixel is mitochondrion",
  center: "Where the network sees the centers of objects", offsets: "Where each pixel says its object's center lies",
  contour: "How sure the network is that a pixel is on the outline of an object", distance: "How deep inside of its object a pixel lies",
  affinities: "How sure the network is that neighbouring pixels belong together",
});

/** @param {SetLayer} set @param {(command: string) => void} run */
export function layerPanel(set, run) {
  const histogram = contrast(set);
  const legends = Object.fromEntries(HEADS.map((name) => [name, element("span", name === "offsets"
    ? { class: "mitonb-wheel", title: "The colour says the direction to the center" } : { class: "mitonb-ramp", title: "0 to 1" })]));
  const more = /** @type {Record<string, Control>} */ ({
    center: toggle("center", "peaks", "peaks", "Mark the centers that were taken", set),
    offsets: toggle("offsets", "arrows", "arrows", "Arrows to the centers", set),
  });
  const blocks = /** @type {Record<string, Block>} */ ({
    em: histogram.block,
    labels: labelsBlock(set, run),
    preview: block("preview", set, [opacity("preview", set)]),
    ...Object.fromEntries(HEADS.map((name) => [name, block(name, set, [opacity(name, set), ...(name in more ? [more[name]] : [])], legends[name])])),
  });
  const node = element("div", { class: "mitonb-panel" }, Object.values(blocks).map((b) => b.node));
  return {
    node,
    histogram,
    /** @param {Layers} layers @param {string} axis that is looked at @param {boolean} four whether planes of others are, too */
    show(layers, axis, four) {
      histogram.turn(axis, four);
      for (const b of Object.values(blocks)) b.show(layers);
    },
    /** @param {Record<string, import("./colors.js").Ramp>} ramps */
    showRamps(ramps) {
      for (const [name, legend] of Object.entries(legends)) {
        const stops = cssStops(ramps[name] ?? ramps.semantic);
        legend.style.background = name === "offsets" ? `conic-gradient(from 90deg, ${stops})` : `linear-gradient(to right, ${stops})`;
      }
    },
    /** @param {string} name @param {boolean} on @param {string} why @param {boolean} [known] whether any plane has it */
    enable(name, on, why, known = true) {
      blocks[name].enable(on, why, known);
    },
    /** Show the image's block alone: there are no labels, and nothing that finds any. */
    showImageAlone() {
      for (const [name, { node: section }] of Object.entries(blocks)) section.hidden = name !== "em";
    },
  };
}

/** @typedef {{node: HTMLElement, show: (settings: any) => void}} Control */

/**
 * @param {string} name @param {SetLayer} set @param {Control[]} controls @param {HTMLElement} [legend]
 * @returns {Block}
 */
function block(name, set, controls, legend) {
  const eye = iconButton(ICONS.eye, `Show ${TITLES[name]}`, () => set(name, { visible: eye.getAttribute("aria-pressed") !== "true" }), "mitonb-eye");
  const note = element("span", { class: "mitonb-note" });
  const head = element("div", { class: "mitonb-head", title: TIPS[name] }, [eye, element("span", { class: "mitonb-name", text: TITLES[name] }), note, legend ?? null]);
  const body = element("div", { class: "mitonb-body" }, controls.map((c) => c.node));
  const node = element("section", { class: "mitonb-layer", attributes: { "data-layer": name } }, [head, body]);
  return {
    node,
    show(layers) {
      const on = layers[name].visible;
      eye.setAttribute("aria-pressed", `${on}`);
      eye.title = `${on ? "Hide" : "Show"} ${TITLES[name]}`;
      node.classList.toggle("mitonb-off", !on);
      for (const c of controls) c.show(layers[name]);
    },
    enable(on, why, shown) {
      node.hidden = !shown;
      node.classList.toggle("mitonb-none", !on);
      note.textContent = why;
    },
  };
}

/**
 * A slider of a setting, with its value.
 * @param {string} key @param {Parameters<typeof slider>[0]} range @param {(value: number) => string} said @param {(change: any) => void} change @param {string} [text] before it
 * @returns {Control}
 */
function setting(key, range, said, change, text) {
  const input = slider(range, (value) => {
    number.textContent = said(value);
    change({ [key]: value });
  });
  const number = element("span", { class: "mitonb-number" });
  return {
    node: element("div", { class: "mitonb-row" }, [text ? element("span", { text }) : null, input, number]),
    show(settings) {
      input.show(settings[key]);
      number.textContent = said(settings[key]);
    },
  };
}

/** @param {string} name @param {SetLayer} set */
function opacity(name, set) {
  const title = `Opacity of ${TITLES[name]}${name === "labels" ? " ({ and })" : ""}`;
  return setting("opacity", { min: 0, max: 1, step: 0.01, title }, (value) => `${Math.round(100 * value)}%`, (change) => set(name, change));
}

/** @param {string} name @param {string} key @param {string} text @param {string} title @param {SetLayer} set @returns {Control} */
function toggle(name, key, text, title, set) {
  const { label, input } = checkbox(text, title, (on) => set(name, { [key]: on }));
  return { node: element("div", { class: "mitonb-row" }, [label]), show: (settings) => { input.checked = settings[key]; } };
}

/** @param {SetLayer} set @param {(command: string) => void} run @returns {Block} */
function labelsBlock(set, run) {
  const buttons = ["fill", "outline"].map((style) => button(style, `Draw labels as ${style}`, () => set("labels", { style }), "mitonb-choice"));
  const compare = button("compare", "Compare with the labels before the last run, or with others (A)", () => run("compare"), "mitonb-choice mitonb-compare");
  const node = element("div", { class: "mitonb-row mitonb-choices" }, [...buttons, compare]);
  compare.style.marginLeft = "auto";
  const style = {
    node,
    show: (/** @type {any} */ settings) => {
      for (const b of buttons) b.setAttribute("aria-pressed", `${b.textContent === settings.style}`);
    },
  };
  const outline = setting("width", { min: 1, max: 5, step: 0.5, title: "Thickness of outlines (< and >)" }, (value) => `${value} px`, (change) => set("labels", change), "outline");
  return block("labels", set, [opacity("labels", set), style, outline]);
}

/** Black and white point over the histogram of the plane. @param {SetLayer} set */
function contrast(set) {
  const canvas = element("canvas", { attributes: { width: "232", height: "56", "aria-hidden": "true" } });
  const low = slider({ min: 0, max: 255, step: 1, title: "Black point" }, (v) => choose(Math.min(v, +high.value - 1), +high.value));
  const high = slider({ min: 0, max: 255, step: 1, title: "White point" }, (v) => choose(+low.value, Math.max(v, +low.value + 1)));
  low.classList.add("mitonb-low");
  high.classList.add("mitonb-high");
  const auto = button("auto", "Contrast from this plane: 1 to 99 %", () => {
    const found = bins && percentiles(bins, 0.01, 0.99);
    if (found) choose(found.low, found.high);
  }, "mitonb-choice");
  const full = button("full", "The whole range", () => choose(0, 255), "mitonb-choice");
  const number = element("span", { class: "mitonb-number" });
  /** @type {Float64Array | null} */
  let bins = null;
  let window_ = [0, 255];
  let range = [0, 255];
  let [axis, many] = ["xy", false];
  /** Contrasts of directions that have their own. @type {Record<string, number[]>} */
  let views = {};
  const { label, input } = checkbox("this view only", "A contrast for the planes of this direction alone", (on) => {
    const { [axis]: _, ...others } = views;
    set("em", { views: on ? { ...others, [axis]: window_ } : others });
  });
  const choose = (/** @type {number} */ black, /** @type {number} */ white) =>
    set("em", axis in views ? { views: { ...views, [axis]: [black, white] } } : { low: black, high: white });
  const paint = () => drawHistogram(canvas, bins, window_);
  const control = {
    node: element("div", { class: "mitonb-contrast" }, [
      element("div", { class: "mitonb-histogram" }, [canvas, low, high]),
      element("div", { class: "mitonb-row" }, [auto, full, number]), label,
    ]),
    show: (/** @type {any} */ settings) => {
      views = settings.views ?? {};
      window_ = contrastOf(settings, axis);
      low.show(window_[0]);
      high.show(window_[1]);
      input.checked = axis in views;
      label.hidden = !many && !(axis in views);
      number.textContent = window_.map((v) => +(range[0] + (v / 255) * (range[1] - range[0])).toPrecision(4)).join(" – ");
      paint();
    },
  };
  return {
    block: block("em", set, [control]),
    /** @param {string} shown @param {boolean} four */
    turn(shown, four) {
      [axis, many] = [shown, four];
    },
    /** @param {Float64Array} counts */
    setBins(counts) {
      bins = counts;
      paint();
    },
    /** @param {[number, number]} intensity */
    setRange(intensity) {
      range = intensity;
    },
    paint,
  };
}

/** Black and white point of the planes of a direction. @param {any} em @param {string} axis @returns {number[]} */
export function contrastOf({ low, high, views }, axis) {
  return views?.[axis] ?? [low, high];
}

/** Counts of a plane's grey values, from at most about 65,000 pixels. @param {ArrayLike<number>} data */
export function histogramOf(data) {
  const bins = new Float64Array(256);
  const step = Math.max(1, Math.floor(data.length / 65536)) | 1;
  for (let i = 0; i < data.length; i += step) bins[data[i]] += 1;
  return bins;
}

/** @param {Float64Array} bins @param {number} low @param {number} high */
export function percentiles(bins, low, high) {
  const total = bins.reduce((a, b) => a + b, 0);
  let sum = 0;
  let [first, last] = [0, 255];
  for (let i = 0; i < 256; i++) {
    if (sum <= low * total) first = i;
    sum += bins[i];
    if (sum < high * total) last = i + 1;
  }
  return { low: Math.min(first, 254), high: Math.max(Math.min(last, 255), first + 1) };
}

/** @param {HTMLCanvasElement} canvas @param {Float64Array | null} bins @param {number[]} window_ */
function drawHistogram(canvas, bins, [low, high]) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return;
  const { width, height } = canvas;
  const style = getComputedStyle(canvas);
  context.clearRect(0, 0, width, height);
  if (!bins) return;
  // The square root lets small counts be seen beside the peak.
  const top = Math.sqrt(Math.max(...bins.subarray(1, 255), 1));
  const at = (/** @type {number} */ v) => (v / 255) * width;
  context.fillStyle = style.color;
  for (let i = 0; i < 256; i++) {
    const tall = Math.min(Math.sqrt(bins[i]) / top, 1) * (height - 4);
    context.globalAlpha = i >= low && i <= high ? 0.75 : 0.25;
    context.fillRect(at(i) * (255 / 256), height - tall, width / 256 + 0.5, tall);
  }
  context.globalAlpha = 0.9;
  context.strokeStyle = style.getPropertyValue("--mitonb-brand") || "#1976d2";
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(at(low), height);
  context.lineTo(at(high), 2);
  context.stroke();
  context.globalAlpha = 1;
}
