// The picture of a view: its canvas and renderer, the cameras, and what is drawn when.

import { element, perFrame } from "./dom.js";
import { fit, pixelOf, toPlane, toScreen } from "./geometry.js";
import { Renderer } from "./gl.js";
import { drawOverlay } from "./overlay.js";
import { PlainRenderer } from "./plain.js";

/**
 * @typedef {import("./geometry.js").Camera} Camera
 * @typedef {import("./geometry.js").Sheet} Sheet
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./strokes.js").Rect} Rect
 * @typedef {import("./tools.js").Spot} Spot
 * @typedef {{
 *   axis: () => string, index: () => number, sheet: () => Sheet, layers: () => import("./gl.js").Layers,
 *   selected: () => number[], info: () => import("./protocol.js").Info | null, entry: (part: string) => Entry | null,
 *   drawn: () => void, say: (message: {text: string, error?: boolean}) => void,
 * }} Facts  what the picture asks the view
 */

const MAPS = ["semantic", "center", "offsets"];

export class Picture {
  /** @param {import("./layout.js").Layout} ui @param {Facts} facts */
  constructor(ui, facts) {
    this.ui = ui;
    this.facts = facts;
    this.off = false;
    this.size = { w: 1, h: 1 };
    /** What is shown; follows axis and index when the image has come. */
    this.shown = { axis: "", index: -1 };
    /** Kept for each axis. @type {Record<string, Camera>} */
    this.cameras = {};
    /** Axes whose camera still is the one that fits. @type {Set<string>} */
    this.fitted = new Set();
    /** A place to point at for a moment, z, y, x. @type {number[] | null} */
    this.mark = null;
    this.counters = {
      draws: 0, drawMs: /** @type {number[]} */ ([]), paintMs: /** @type {number[]} */ ([]),
      shownAt: /** @type {[number, number][]} */ ([]), force: false,
    };
    this.redraw = perFrame(() => this.draw());
    this.canvas = element("canvas", { class: "mitonb-picture" });
    this.renderer = this.#start();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(ui.stage);
    this.resize();
  }

  dispose() {
    this.off = true;
    this.observer.disconnect();
    this.redraw.cancel();
    this.renderer.dispose();
  }

  get camera() {
    return this.cameras[this.facts.axis()] ?? fit(this.facts.sheet(), this.size);
  }

  /** True when the picture shows the plane that is looked at. */
  get current() {
    return this.shown.axis === this.facts.axis() && this.shown.index === this.facts.index();
  }

  /** Look from elsewhere. @param {Camera} camera */
  look(camera) {
    this.fitted.delete(this.facts.axis());
    this.cameras[this.facts.axis()] = camera;
    this.redraw();
  }

  fit() {
    this.cameras[this.facts.axis()] = fit(this.facts.sheet(), this.size);
    this.fitted.add(this.facts.axis());
    this.redraw();
  }

  /** The plane pixel at a point of the stage. @param {number} x @param {number} y @returns {Spot} */
  spot(x, y) {
    const sheet = this.facts.sheet();
    const [column, row] = toPlane(this.camera, sheet, this.size, x, y).map(Math.floor);
    return { column, row, inside: column >= 0 && row >= 0 && column < sheet.w && row < sheet.h };
  }

  /** Where the middle of a plane pixel lies on the stage. @param {number} column @param {number} row */
  screen(column, row) {
    return toScreen(this.camera, this.facts.sheet(), this.size, column + 0.5, row + 0.5);
  }

  /** Show the plane as soon as its image is here; until then the one before stays, dimmed. */
  take() {
    const { facts, ui } = this;
    if (!facts.info()) return;
    if (!this.cameras[facts.axis()]) this.fit();
    if (facts.entry("image") && !this.current) {
      this.shown = { axis: facts.axis(), index: facts.index() };
      keep(this.counters.shownAt, [this.shown.index, performance.now()]);
    }
    ui.stage.classList.toggle("mitonb-waiting", !this.current);
    if (!this.current) return;
    try {
      for (const part of ["image", "labels", "preview", ...MAPS]) this.renderer.set(part, facts.entry(part));
    } catch (error) {
      facts.say({ text: /** @type {Error} */ (error).message, error: true });
    }
    ui.root.dataset.state = facts.entry("labels") ? "ready" : "loading";
    ui.root.dataset.plane = `${this.shown.axis}/${this.shown.index}`;
    this.redraw();
  }

  /** Labels changed in a box: draw it now, or with the next frame. @param {Entry} entry @param {Rect} box @param {boolean} now */
  patch(entry, box, now) {
    this.renderer.patch("labels", entry, box);
    if (!now) {
      this.redraw();
      return;
    }
    if (this.current) this.renderer.draw(this.#scene(), box);
    if (this.counters.force) this.renderer.finish();
  }

  draw() {
    if (!this.facts.info() || !this.current || this.off) return;
    const began = performance.now();
    this.renderer.draw(this.#scene());
    if (this.counters.force) this.renderer.finish();
    this.counters.draws += 1;
    keep(this.counters.drawMs, performance.now() - began);
    this.#drawLines();
    this.facts.drawn();
  }

  resize() {
    const { clientWidth: w, clientHeight: h } = this.ui.stage;
    if (!w || !h) return;
    const unit = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.canvas, this.ui.lines]) {
      canvas.width = Math.round(w * unit);
      canvas.height = Math.round(h * unit);
    }
    this.size = { w, h };
    for (const axis of this.fitted) delete this.cameras[axis];
    this.take();
    // At once: a resized canvas is empty, and would flash.
    this.draw();
  }

  #start() {
    this.canvas.remove();
    this.canvas = element("canvas", { class: "mitonb-picture" });
    this.ui.stage.prepend(this.canvas);
    this.shown = { axis: "", index: -1 };
    /** @type {Renderer | PlainRenderer} */
    let renderer;
    try {
      renderer = new Renderer(this.canvas);
      this.canvas.addEventListener("webglcontextlost", (event) => this.#lost(event));
    } catch (error) {
      renderer = new PlainRenderer(this.canvas);
      const why = /** @type {Error} */ (error).message;
      this.facts.say({ text: `${why} A simple picture is drawn instead, without the network's maps.`, error: true });
    }
    this.ui.root.dataset.graphics = renderer instanceof Renderer ? "webgl2" : "plain";
    return renderer;
  }

  /** @param {Event} event */
  #lost(event) {
    event.preventDefault();
    if (this.off) return;
    this.facts.say({ text: "The browser took the graphics away (too many pictures on this page?). Click here to draw again.", error: true });
    this.ui.stage.addEventListener("pointerdown", () => {
      this.renderer = this.#start();
      this.resize();
    }, { once: true });
  }

  #scene() {
    const { facts } = this;
    return {
      camera: this.camera, sheet: facts.sheet(), layers: facts.layers(), selected: facts.selected(),
      colors: facts.info() ?? { hash: 0, palette: [] },
    };
  }

  #drawLines() {
    const context = this.ui.lines.getContext("2d");
    const { facts } = this;
    if (!context) return;
    const layers = facts.layers();
    const axis = facts.axis();
    const unit = this.ui.lines.width / this.size.w;
    const voxel = facts.info()?.voxel_size;
    const marked = this.mark ? pixelOf(axis, this.mark) : null;
    context.setTransform(unit, 0, 0, unit, 0, 0);
    drawOverlay(context, {
      camera: this.camera, sheet: facts.sheet(), view: this.size, pixel: voxel ? voxel[axis === "yz" ? 1 : 2] : null,
      mark: marked && marked.index === facts.index() ? [marked.column, marked.row] : null,
      peaks: layers.center.visible && layers.center.peaks ? facts.entry("center") : null,
      offsets: layers.offsets.visible && layers.offsets.arrows ? facts.entry("offsets") : null,
      semantic: facts.entry("semantic"),
    });
  }
}

/** Keep the newest values for whoever measures. @template T @param {T[]} list @param {T} value */
export function keep(list, value) {
  list.push(value);
  if (list.length > 2000) list.shift();
}
