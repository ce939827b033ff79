// Objects in 3-D on their own: in a notebook, where ipyvolume cannot draw, and in a page that needs neither kernel nor network.

import "./scene.css";
import { element } from "./dom.js";
import { lengthText, roundLength } from "./geometry.js";
import { EDGES, Solid, hit, joined, orbit, pixelsOf, rough, turnCamera, turning } from "./solid.js";

/**
 * @typedef {{get(n: string): any, set(n: string, v: any): void, save_changes(): void, send(m: object): void, on(e: string, f: Function): void, off(e: string, f: Function): void}} Model
 * @typedef {{name: string, label: string, digits: number, scale: number, values: Float32Array}} Measure  a value of each row
 * @typedef {Record<string, any> & {meshes: number[][], shape: number[], size: number[] | null, ramp: number[][]}} Head
 */

const KINDS = /** @type {Record<string, any>} */ ({ f4: Float32Array, u4: Uint32Array, u1: Uint8Array });
const AXES = ["x", "y", "z"];
const FOLLOWED = ["selected", "hidden", "isolated", "color_by", "only", "planes", "cut", "place", "note"];
const UNKNOWN = [136, 136, 136];

/** @returns {import("./solid.js").Camera} */
const start = () => ({ yaw: -0.5, pitch: 0.35, zoom: 1, pan: [0, 0] });

/** A head and its arrays out of the bytes that `pack` in scene.py made. @param {Uint8Array} bytes @returns {Head} */
export function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const end = 4 + view.getUint32(0, true);
  const { arrays, ...head } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, end)));
  let at = end;
  for (const [name, kind, length] of arrays) {
    head[name] = new KINDS[kind](bytes.slice(at, at + length).buffer);
    at += length;
  }
  return head;
}

/** What is dark and what is bright of some values: the ends of the middle 96 %. @param {Float32Array} values */
export function rangeOf(values) {
  const known = values.filter(Number.isFinite).sort();
  if (!known.length) return [0, 1];
  return [0.02, 0.98].map((part) => known[Math.round(part * (known.length - 1))]);
}

/** The colour of a value between two ends. @param {number} value @param {number[]} range @param {number[][]} ramp */
export function rampAt(value, [low, high], ramp) {
  if (!Number.isFinite(value)) return UNKNOWN;
  const at = Math.min(Math.max((value - low) / (high - low || 1), 0), 1) * (ramp.length - 1);
  const i = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[i].map((v, k) => v + (at - i) * (ramp[i + 1][k] - v));
}

/** @param {number} value @param {Measure} measure */
const said = (value, { digits, scale }) => (Number.isFinite(value) ? (value * scale).toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", " ") : "–");

class Scene {
  /** @param {Model} model @param {HTMLElement} root */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.camera = start();
    /** @type {import("./solid.js").Surfaces | null} */
    this.surfaces = null;
    /** @type {Head | null} */
    this.head = null;
    /** The table comes after the surfaces; until then there are none, or those of before. @type {Measure[]} */
    this.measures = [];
    this.measuring = true;
    /** Where in the table an object stands. @type {Map<number, number>} */
    this.rows = new Map();
    this.asked = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.telling = undefined;
    this.canvas = element("canvas");
    this.bar = element("div", { class: "mitonb-scene-bar" });
    this.said = element("div", { class: "mitonb-scene-said", attributes: { role: "status" } });
    this.legend = element("div", { class: "mitonb-scene-legend" });
    this.scaleText = element("span");
    this.scaleLine = element("i");
    this.node = element("div", {
      class: "mitonb-scene-view", title: "A drag or the arrows turn, Shift moves, the wheel zooms, a click selects, a double click looks at all",
      attributes: { tabindex: "0", role: "application", "aria-label": "Objects in 3-D: the arrows turn them, plus and minus zoom" },
    }, [this.canvas, this.said, this.legend, element("div", { class: "mitonb-scene-scale" }, [this.scaleText, this.scaleLine])]);
    root.append(this.bar, this.node);
    this.drawing = rough((moves) => this.draw(moves));
    this.redraw = this.drawing.well;
    this.solid = new Solid(this.canvas);
    this.#controls();
    orbit(this.node, {
      turn: (...by) => { turnCamera(this.camera, ...by); this.drawing.moved(); },
      move: (dx, dy) => {
        const { pixels } = this.frame();
        this.camera.pan = [this.camera.pan[0] - dx / pixels, this.camera.pan[1] + dy / pixels];
        this.drawing.moved();
      },
      click: (x, y, event) => this.#click(x, y, event.ctrlKey || event.metaKey),
      reset: () => { this.camera = start(); this.redraw(); },
    });
    root.addEventListener("keydown", (event) => event.stopPropagation());
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.node);
    this.follow = () => { this.#show(); this.redraw(); };
    for (const name of FOLLOWED) model.on(`change:${name}`, this.follow);
    if (!this.solid.gl) this.note = "This browser does not offer WebGL2, so nothing can be drawn in 3-D: save a picture instead.";
    this.#show();
  }

  dispose() {
    this.observer.disconnect();
    this.drawing.cancel();
    for (const name of FOLLOWED) this.model.off(`change:${name}`, this.follow);
    this.solid.dispose();
  }

  /** @param {string} name @param {any} value */
  #set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
    this.follow();
  }

  #controls() {
    const { bar } = this;
    const choice = (/** @type {string} */ name, /** @type {string} */ title) => {
      const select = element("select", { title, attributes: { "aria-label": title } });
      select.addEventListener("change", () => this.#set(name, select.value));
      return select;
    };
    const toggle = (/** @type {string} */ name, /** @type {string} */ text, /** @type {string} */ title) => {
      const button = element("button", { text, title, attributes: { type: "button" } });
      button.addEventListener("click", () => this.#set(name, !this.model.get(name)));
      return button;
    };
    this.colors = choice("color_by", "What the colours say");
    this.colors.append(element("option", { text: "colour: object", attributes: { value: "" } }), element("option", { text: "measuring …", attributes: { value: "-", disabled: "" } }));
    this.only = toggle("only", "selected only", "Show the selected objects alone");
    this.planes = choice("planes", "Planes of the image among the objects");
    for (const [value, text] of [["", "no planes"], ["z", "z plane"], ["y", "y plane"], ["x", "x plane"], ["xyz", "three planes"]]) this.planes.append(element("option", { text, attributes: { value } }));
    this.cut = toggle("cut", "cut", "Cut away what lies before the planes");
    this.sliders = AXES.map((axis, k) => {
      const input = element("input", { title: `Move the ${axis} plane`, attributes: { type: "range", min: "0", "aria-label": `${axis} plane` } });
      input.addEventListener("input", () => {
        const place = [...this.#place];
        place[2 - k] = +input.value;
        this.model.set("place", place);
        this.drawing.moved();
        clearTimeout(this.telling);
        this.telling = setTimeout(() => this.#set("place", place), 150);
      });
      return element("label", {}, [element("span", { text: axis }), input]);
    });
    const picture = element("button", { text: "picture", title: "Save the picture as PNG, as it is seen now", attributes: { type: "button" } });
    picture.addEventListener("click", () => this.#save());
    this.again = element("button", { text: "refresh", title: "Build the surfaces again from the labels as they are now", attributes: { type: "button" } });
    this.again.addEventListener("click", () => this.model.send({ kind: "build" }));
    bar.append(this.colors, this.only, this.planes, ...this.sliders, this.cut, picture, this.again);
  }

  /** @param {Uint8Array} bytes */
  take(bytes) {
    const head = unpack(bytes);
    if (head.image) {
      const { low, unit } = this.#box();
      const high = low.map((v, k) => v + head.image_shape[2 - k] * head.image_steps[2 - k] * unit[k]);
      if (this.solid.gl) this.solid.setImage(head.image, head.image_shape, low, high);
    } else if (head.table) {
      const count = head.ids.length;
      this.rows = new Map(Array.from(head.ids, (id, i) => [id, i]));
      this.measures = head.measures.map((/** @type {any} */ one, /** @type {number} */ k) => ({ ...one, values: head.table.subarray(k * count, (k + 1) * count) }));
      this.measuring = false;
      this.colors?.replaceChildren(...[["", "colour: object"], ...this.measures.map(({ name, label }) => [name, `colour: ${label}`])].map(([value, text]) => element("option", { text, attributes: { value } })));
    } else {
      this.head = head;
      this.solid.hold("objects", this.surfaces = joined([/** @type {any} */ (head)]));
      this.measuring = true;
      for (const option of this.planes?.options ?? []) option.disabled = !head.has_image && option.value !== "";
    }
    this.follow();
  }

  /** Where the volume lies, x, y, z: the middle of its first voxel is the origin. */
  #box() {
    const { shape, size } = this.head ?? { shape: [1, 1, 1], size: null };
    const unit = size ?? [1, 1, 1];
    return { low: [2, 1, 0].map((k) => -unit[k] / 2), high: [2, 1, 0].map((k) => (shape[k] - 0.5) * unit[k]), unit: [2, 1, 0].map((k) => unit[k]) };
  }

  get #place() {
    const place = this.model.get("place");
    return place?.length ? place : (this.head?.shape ?? [1, 1, 1]).map((n) => Math.floor(n / 2));
  }

  /** Where the planes are and what they cut away: what lies beyond all of them towards the viewer. @returns {import("./solid.js").Cut & {axes: number[]}} */
  cutting() {
    const { unit } = this.#box();
    const turn = turning(this.camera);
    const shown = this.model.get("planes");
    const axes = [0, 1, 2].filter((k) => shown.includes(AXES[k]));
    const at = [0, 1, 2].map((k) => this.#place[2 - k] * unit[k]);
    return { at, axes, side: [0, 1, 2].map((k) => (this.model.get("cut") && axes.includes(k) ? Math.sign(turn[6 + k]) || 1 : 0)) };
  }

  frame() {
    const { low, high } = this.#box();
    const extent = high.map((v, k) => v - low[k]);
    const { clientWidth: w, clientHeight: h } = this.node;
    return { w, h, low, high, radius: Math.hypot(...extent) / 2, middle: high.map((v, k) => (v + low[k]) / 2), pixels: pixelsOf(extent, this.camera, start(), w, h) };
  }

  /** Which objects are shown. @returns {(id: number) => boolean} */
  seen() {
    const [selected, hidden, isolated] = ["selected", "hidden", "isolated"].map((name) => new Set(this.model.get(name)));
    const only = this.model.get("only") && selected.size;
    return (id) => !hidden.has(id) && (!isolated.size || isolated.has(id)) && (!only || selected.has(id));
  }

  #paint() {
    const { head, model } = this;
    if (!head) return;
    const measure = this.measures.find(({ name }) => name === model.get("color_by"));
    const range = measure ? rangeOf(measure.values) : [0, 1];
    const chosen = new Set(model.get("only") ? [] : model.get("selected"));
    const shows = this.seen();
    this.solid.paint("objects", (id, i) => {
      if (!shows(id)) return null;
      const color = measure ? rampAt(measure.values[this.rows.get(id) ?? -1], range, head.ramp) : [0, 1, 2].map((k) => head.colors[3 * i + k]);
      return chosen.has(id) ? color.map((v) => 0.35 * v + 0.65 * 255) : color;
    });
    this.legend.hidden = !measure;
    if (!measure) return;
    const bar = element("i");
    bar.style.background = `linear-gradient(to right, ${head.ramp.map((c) => `rgb(${c.join(",")})`).join(", ")})`;
    this.legend.replaceChildren(element("span", { text: measure.label }), bar, ...range.map((v) => element("span", { text: said(v, measure) })));
  }

  /** Follow the model in the bar, the colours and the texts. */
  #show() {
    const { model, head } = this;
    const [planes, chosen] = [model.get("planes"), model.get("selected")];
    if (this.colors) this.colors.value = model.get("color_by");
    if (this.planes) this.planes.value = planes;
    this.only?.setAttribute("aria-pressed", `${model.get("only")}`);
    this.cut?.setAttribute("aria-pressed", `${model.get("cut")}`);
    if (this.cut) this.cut.hidden = !planes;
    this.sliders?.forEach((label, k) => {
      const input = /** @type {HTMLInputElement} */ (label.lastChild);
      label.hidden = !planes.includes(AXES[k]);
      input.max = `${(head?.shape[2 - k] ?? 1) - 1}`;
      input.value = `${this.#place[2 - k]}`;
    });
    if (planes && !this.asked && head?.has_image) {
      this.asked = true;
      model.send({ kind: "image" });
    }
    const at = this.rows.get(chosen[0]) ?? -1;
    const one = chosen.length === 1 && head?.meshes.some(([id]) => id === chosen[0]);
    const facts = one ? [`object ${chosen[0]}`, ...this.measures.slice(0, 4).map((m) => `${m.label} ${said(m.values[at], m)}`)] : [chosen.length ? `${chosen.length} selected` : `${head?.meshes.length} objects`];
    const words = head ? [...facts, ...(this.measuring ? ["measuring …"] : [])] : [];
    this.said.textContent = this.note || model.get("note") || words.join("  ·  ");
    if (this.again) this.again.hidden = !model.get("note");
    this.root.dataset.state = this.surfaces ? "ready" : "building";
    this.#paint();
  }

  /** @param {boolean} [moves] */
  draw(moves) {
    const { solid, head } = this;
    const { w, h, low, high, radius, middle, pixels } = this.frame();
    const cut = this.cutting();
    // A plane that is cut at may not be cut itself by what numbers are rounded to.
    const eased = { ...cut, at: cut.at.map((v, k) => v + cut.side[k] * radius * 1e-4) };
    if (!solid.begin(w, h, { turn: turning(this.camera), middle, pan: this.camera.pan, scale: [(2 * pixels) / w, (2 * pixels) / h, -1 / (radius * 1.01)], cut: eased }, moves)) return;
    solid.surfaces("objects");
    for (const k of cut.axes) solid.plane(k, cut.at[k]);
    solid.lines([0, 1, 2, 3, 4, 5, 6, 7].flatMap((i) => [0, 1, 2].map((k) => ((i >> k) & 1 ? high[k] : low[k]))), EDGES, 0.5);
    const length = roundLength(Math.min(w / 4, 160) / pixels);
    this.scaleText.textContent = head?.size ? lengthText(length) : `${length} voxels`;
    this.scaleLine.style.width = `${length * pixels}px`;
  }

  /** @param {number} x @param {number} y @param {boolean} more */
  #click(x, y, more) {
    const { surfaces, head, model } = this;
    if (!surfaces || !head) return;
    const { w, h, middle, pixels } = this.frame();
    const turn = turning(this.camera);
    const [right, up] = [0, 3].map((row) => turn[row] * middle[0] + turn[row + 1] * middle[1] + turn[row + 2] * middle[2]);
    const [pr, pu] = this.camera.pan;
    const place = [right + pr + (x - w / 2) / pixels, up + pu - (y - h / 2) / pixels];
    const cut = this.cutting();
    const found = hit(surfaces, this.seen(), turn, place[0], place[1], cut);
    if (!found || this.#behindPlane(found.point, turn, place, cut)) return;
    const { unit } = this.#box();
    const point = [0, 1, 2].map((k) => Math.min(Math.max(Math.round(found.point[2 - k] / unit[2 - k]), 0), head.shape[k] - 1));
    const chosen = model.get("selected");
    model.set("selected", !more ? [found.id] : chosen.includes(found.id) ? chosen.filter((/** @type {number} */ id) => id !== found.id) : [...chosen, found.id]);
    model.send({ kind: "pick", ids: model.get("selected"), point });
    this.follow();
  }

  /** Whether a plane of the image hides what lies at a point. @param {number[]} point @param {number[]} turn @param {number[]} place @param {{at: number[], axes: number[]}} cut */
  #behindPlane(point, turn, place, { at, axes }) {
    const near = turn[6] * point[0] + turn[7] * point[1] + turn[8] * point[2];
    const { low, high } = this.#box();
    return !!this.solid.image && axes.some((k) => {
      // Along the line of sight from the point until the coordinate has the value of the plane.
      const step = (at[k] - point[k]) / turn[6 + k];
      const there = point.map((v, c) => v + step * turn[6 + c]);
      return step > 1e-6 * Math.abs(near) && there.every((v, c) => v >= low[c] - 1e-3 && v <= high[c] + 1e-3);
    });
  }

  #save() {
    this.draw();
    const { width, height } = this.canvas;
    const sheet = element("canvas");
    [sheet.width, sheet.height] = [width, height];
    const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
    const { backgroundColor, color } = getComputedStyle(this.node);
    context.fillStyle = backgroundColor;
    context.fillRect(0, 0, width, height);
    context.drawImage(this.canvas, 0, 0);
    const unit = width / this.node.clientWidth;
    const long = parseFloat(this.scaleLine.style.width) * unit;
    context.fillStyle = color;
    context.font = `${12 * unit}px sans-serif`;
    context.textAlign = "center";
    context.fillRect(width - long - 12 * unit, height - 14 * unit, long, 3 * unit);
    context.fillText(this.scaleText.textContent ?? "", width - long / 2 - 12 * unit, height - 20 * unit);
    const link = element("a", { attributes: { download: "objects.png", href: sheet.toDataURL("image/png") } });
    link.click();
  }
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const root = element("div", { class: "mitonb-scene", attributes: { "data-lm-suppress-shortcuts": "true" } });
  root.style.height = model.get("height") ? `${model.get("height")}px` : "100%";
  el.append(root);
  const scene = new Scene(model, root);
  Object.assign(root, { mitonb: scene });
  /** @type {Record<string, {bytes: Uint8Array, got: number}>} */
  const coming = {};
  const receive = (/** @type {any} */ m, /** @type {DataView[]} */ [data] = []) => {
    if (m.kind !== "data") return;
    if (!m.at) coming[m.what] = { bytes: new Uint8Array(m.total), got: 0 };
    const one = coming[m.what];
    if (!one) return;
    one.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), m.at);
    one.got += data.byteLength;
    if (one.got === m.total) scene.take(one.bytes);
  };
  model.on("msg:custom", receive);
  model.send({ kind: "ready" });
  return () => {
    model.off("msg:custom", receive);
    scene.dispose();
  };
}

/** Show what was packed, in a page without a kernel. @param {HTMLElement} el @param {Record<string, any>} state @param {Uint8Array[]} packs */
function show(el, state, packs) {
  /** @type {Model} */
  const model = { get: (name) => state[name], set: (name, value) => { state[name] = value; }, save_changes() {}, send() {}, on() {}, off() {} };
  render({ model, el });
  for (const bytes of packs) /** @type {any} */ (el.firstElementChild).mitonb.take(bytes);
}

export default { render, show };
