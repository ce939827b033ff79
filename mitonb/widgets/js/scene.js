// Objects in 3-D on their own: in a notebook, where ipyvolume cannot draw, and in a page that needs neither kernel nor network.

import "./scene.css";
import { cssStops } from "./colors.js";
import { button, element, offer, slider } from "./dom.js";
import { Orbit } from "./orbit.js";
import { scaleBar } from "./overlay.js";
import { collector, rowsOf, unpack } from "./packs.js";
import { nextSelection, seenOf } from "./seen.js";
import { surfacesOf, turning } from "./solid.js";

/**
 * @typedef {{get(n: string): any, set(n: string, v: any): void, save_changes(): void, send(m: object): void, on(e: string, f: Function): void, off(e: string, f: Function): void}} Model
 * @typedef {{name: string, label: string, digits: number, scale: number, range: number[], values: Float32Array, colors: Uint8Array}} Measure  value and colour of each row; what is dark and what is bright
 * @typedef {Record<string, any> & {meshes: number[][], shape: number[], size: number[] | null, ramp: number[][]}} Head
 */

const AXES = ["x", "y", "z"];
const FOLLOWED = ["selected", "hidden", "isolated", "color_by", "only", "planes", "cut", "place", "note"];
const OWN = ["", "colour: object"];
const PLANES = [["", "no planes"], ["z", "z plane"], ["y", "y plane"], ["x", "x plane"], ["xyz", "three planes"]];

/** @param {number} value @param {Measure} measure */
const said = (value, { digits, scale }) => (Number.isFinite(value) ? (value * scale).toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", " ") : "–");

class Scene extends Orbit {
  /** @param {Model} model @param {HTMLElement} root */
  constructor(model, root) {
    const said = element("div", { class: "mitonb-scene-said", attributes: { role: "status" } });
    const legend = element("div", { class: "mitonb-scene-legend" });
    const scale = element("div", { class: "mitonb-scene-scale" }, [element("span"), element("i")]);
    super("mitonb-scene-view", [said, legend, scale], -0.5);  // the middle of the first voxel is the origin
    this.model = model;
    this.root = root;
    this.said = said;
    this.legend = legend;
    this.scale = scale;
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
    this.ui = this.#controls();
    root.append(element("div", { class: "mitonb-scene-bar" }, [...Object.values(this.ui).flat(), button("picture", "Save the picture as PNG, as it is seen now", () => this.#save()), this.again]), this.node);
    root.addEventListener("keydown", (event) => event.stopPropagation());
    this.heard = () => this.follow();
    for (const name of FOLLOWED) model.on(`change:${name}`, this.heard);
    this.follow();
  }

  dispose() {
    for (const name of FOLLOWED) this.model.off(`change:${name}`, this.heard);
    clearTimeout(this.telling);
    super.dispose();
  }

  ask() {
    this.model.send({ kind: "build" });
  }

  /** @param {string} name @param {any} value */
  #set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
    this.follow();
  }

  #controls() {
    const choice = (/** @type {string} */ name, /** @type {string} */ title, /** @type {string[][]} */ pairs) => {
      const select = offer(element("select", { title, attributes: { "aria-label": title } }), pairs);
      select.addEventListener("change", () => this.#set(name, select.value));
      return select;
    };
    const toggle = (/** @type {string} */ name, /** @type {string} */ text, /** @type {string} */ title) => button(text, title, () => this.#set(name, !this.model.get(name)));
    return {
      colors: choice("color_by", "What the colours say", [OWN]),
      only: toggle("only", "selected only", "Show the selected objects alone"),
      planes: choice("planes", "Planes of the image among the objects", PLANES),
      sliders: AXES.map((axis, k) => {
        const input = slider({ min: 0, max: 1, step: 1, title: `${axis} plane` }, (value) => {
          const place = [...this.#place];
          place[2 - k] = value;
          this.model.set("place", place);
          this.moved();
          clearTimeout(this.telling);
          this.telling = setTimeout(() => this.#set("place", place), 150);
        });
        input.className = "";  // as the browser draws it: the viewer's style may not be here
        return Object.assign(element("label", {}, [element("span", { text: axis }), input]), { input });
      }),
      cut: toggle("cut", "cut", "Cut away what lies before the planes"),
    };
  }

  /** @param {any} head what was packed */
  take(head) {
    if (head.image) {
      const { low, unit } = this.box();
      const high = low.map((v, k) => v + head.image_shape[2 - k] * head.image_steps[2 - k] * unit[k]);
      this.solid.setImage({ data: head.image, shape: head.image_shape, low, high });
    } else if (head.table) {
      const { length } = head.measures;
      const [columns, colors] = [rowsOf(head.table, length), rowsOf(head.shades, length)];
      this.rows = new Map(Array.from(head.ids, (id, i) => [id, i]));
      this.measures = head.measures.map((/** @type {any} */ one, /** @type {number} */ k) => ({ ...one, values: columns[k], colors: colors[k] }));
      this.measuring = false;
      offer(this.ui.colors, [OWN, ...this.measures.map(({ name, label }) => [name, `colour: ${label}`])]);
    } else {
      this.head = head;
      this.measuring = true;
      this.solid.hold("objects", this.surfaces = surfacesOf(head));
      for (const option of this.ui.planes.options) option.disabled = !head.has_image && option.value !== "";
    }
    this.follow();
  }

  volume() {
    return this.head ?? { shape: [1, 1, 1], size: null };
  }

  get #place() {
    const place = this.model.get("place");
    return place?.length ? place : this.volume().shape.map((n) => Math.floor(n / 2));
  }

  /** Where the planes are and what they cut away: what lies beyond all of them towards the viewer. @returns {import("./solid.js").Cut & {axes: number[]}} */
  cutting() {
    const turn = turning(this.camera);
    const axes = [0, 1, 2].filter((k) => this.model.get("planes").includes(AXES[k]));
    return { at: this.box().middleOf(this.#place), axes, side: [0, 1, 2].map((k) => (this.model.get("cut") && axes.includes(k) ? Math.sign(turn[6 + k]) || 1 : 0)) };
  }

  /** Which objects are shown. @returns {(id: number) => boolean} */
  seen() {
    const { model } = this;
    const { shows } = seenOf(model.get("hidden"), model.get("isolated"));
    const selected = new Set(model.get("selected"));
    return (id) => shows(id) && (!model.get("only") || !selected.size || selected.has(id));
  }

  #paint() {
    const { head, model } = this;
    if (!head) return;
    const measure = this.measures.find(({ name }) => name === model.get("color_by"));
    const chosen = new Set(model.get("only") ? [] : model.get("selected"));
    const shows = this.seen();
    this.solid.paint("objects", (id, i) => {
      if (!shows(id)) return null;
      const [row, colors] = measure ? [this.rows.get(id) ?? -1, measure.colors] : [i, head.colors];
      const color = [0, 1, 2].map((k) => colors[3 * row + k] ?? 136);  // grey where it was not measured yet
      return chosen.has(id) ? color.map((v) => 0.35 * v + 0.65 * 255) : color;
    });
    this.legend.hidden = !measure;
    if (!measure) return;
    const bar = element("i");
    bar.style.background = `linear-gradient(to right, ${cssStops({ stops: head.ramp, fade: [0, 1] })})`;
    this.legend.replaceChildren(element("span", { text: measure.label }), bar, ...measure.range.map((v) => element("span", { text: said(v, measure) })));
  }

  /** Follow the model in the bar, the colours and the texts. */
  follow() {
    const { model, head, ui } = this;
    const planes = model.get("planes");
    ui.colors.value = model.get("color_by");
    ui.planes.value = planes;
    for (const name of /** @type {const} */ (["only", "cut"])) ui[name].setAttribute("aria-pressed", `${model.get(name)}`);
    ui.cut.hidden = !planes;
    ui.sliders.forEach((label, k) => {
      label.hidden = !planes.includes(AXES[k]);
      label.input.max = `${this.volume().shape[2 - k] - 1}`;
      label.input.show(this.#place[2 - k]);
    });
    if (planes && !this.asked && head?.has_image) {
      this.asked = true;
      model.send({ kind: "image" });
    }
    const note = model.get("note");
    this.said.textContent = this.solid.why || note || this.#facts();
    this.again.hidden = !note;
    this.root.dataset.state = this.surfaces ? "ready" : "building";
    this.#paint();
    this.redraw();
  }

  /** What there is, or what is known of the selected object. */
  #facts() {
    const { head, model, measures } = this;
    if (!head) return "";
    const chosen = model.get("selected");
    const row = this.rows.get(chosen[0]) ?? -1;
    const one = chosen.length === 1 && head.meshes.some(([id]) => id === chosen[0]);
    const words = one ? [`object ${chosen[0]}`, ...measures.slice(0, 4).map((m) => `${m.label} ${said(m.values[row], m)}`)] : [chosen.length ? `${chosen.length} selected` : `${head.meshes.length} objects`];
    return [...words, ...(this.measuring ? ["measuring …"] : [])].join("  ·  ");
  }

  /** @param {boolean} [moves] */
  draw(moves) {
    const { solid, head } = this;
    const { w, h, pixels, radius } = this.frame();
    const cut = this.cutting();
    // Just behind the plane that hides it: what ends in the plane itself would shine through.
    if (!this.begin(moves, { ...cut, at: cut.at.map((v, k) => v - cut.side[k] * radius * 1e-3) })) return;
    solid.surfaces("objects");
    for (const k of cut.axes) solid.plane(k, cut.at[k]);
    solid.edges(this.box());
    const [text, line] = /** @type {any} */ (this.scale.children);
    const bar = scaleBar({ x: 0, y: 0, scale: pixels }, { w, h }, head?.size ? 1 : null, "voxels");
    text.textContent = bar?.text;
    line.style.width = `${bar?.width}px`;
  }

  /** @param {number} x @param {number} y @param {boolean} more */
  click(x, y, more) {
    const { model } = this;
    const found = this.under(x, y, this.seen(), this.cutting());
    if (!found) return;
    const ids = nextSelection(model.get("selected"), found.id, more);
    model.set("selected", ids);
    model.send({ kind: "pick", ids, point: found.point });
    this.follow();
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
    const [text, line] = /** @type {any} */ (this.scale.children);
    const long = parseFloat(line.style.width) * unit;
    context.fillStyle = color;
    context.font = `${12 * unit}px sans-serif`;
    context.textAlign = "center";
    context.fillRect(width - long - 12 * unit, height - 14 * unit, long, 3 * unit);
    context.fillText(text.textContent, width - long / 2 - 12 * unit, height - 20 * unit);
    element("a", { attributes: { download: "objects.png", href: sheet.toDataURL("image/png") } }).click();
  }
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const root = element("div", { class: "mitonb-scene", attributes: { "data-lm-suppress-shortcuts": "true" } });
  root.style.height = model.get("height") ? `${model.get("height")}px` : "100%";
  el.append(root);
  const scene = new Scene(model, root);
  Object.assign(root, { mitonb: scene });
  const collect = collector();
  const receive = (/** @type {any} */ m, /** @type {DataView[]} */ [data]) => {
    const head = m.kind === "data" && collect(m, data);
    if (head) scene.take(head);
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
  for (const bytes of packs) /** @type {any} */ (el.firstElementChild).mitonb.take(unpack(bytes));
}

export default { render, show };
