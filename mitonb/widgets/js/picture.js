// The picture of a view: its canvas and renderer, the cameras, and what is drawn when.

import { element, perFrame } from "./dom.js";
import { fit, pixelOf, toPlane, toScreen } from "./geometry.js";
import { Renderer } from "./gl.js";
import { idAt } from "./hover.js";
import { contrastOf } from "./panel.js";
import { drawOverlay, framesOn, judgedOn, notedOn, scaleBar } from "./overlay.js";
import { HEADS } from "./protocol.js";
import { PlainRenderer } from "./plain.js";
import { Scopes, overviewOf, scopeOf, seenOf } from "./scope.js";

/**
 * @typedef {import("./geometry.js").Camera} Camera
 * @typedef {import("./geometry.js").Sheet} Sheet
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./strokes.js").Rect} Rect
 * @typedef {import("./tools.js").Spot} Spot
 * @typedef {{
 *   axis: () => string, index: () => number, sheet: () => Sheet, layers: () => import("./gl.js").Layers,
 *   selected: () => number[], seen: () => import("./seen.js").Seen, comparison: () => import("./compare.js").Comparison | null, marks: () => import("./overlay.js").Marks,
 *   taught: () => import("./overlay.js").Taught[], info: () => import("./protocol.js").Info | null, entry: (part: string, index?: number) => Entry | null,
 *   cross: () => number[] | null, missing: () => number[] | null, asked: () => number[][], lasso: () => {points: number[], closed: boolean} | null, sketches: () => ({drawn: boolean, draws: import("./why.js").Why["draws"]} | undefined)[],
 *   drawn: () => void, looked: () => void, say: (message: {text: string, error?: boolean}) => void,
 * }} Facts  what the picture asks the view
 */


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
    /** Windows of huge planes, by axis. @type {Record<string, Scopes>} */
    this.windows = {};
    /** A place to point at for a moment, z, y, x. @type {number[] | null} */
    this.mark = null;
    this.counters = {
      draws: 0, drawMs: /** @type {number[]} */ ([]), paintMs: /** @type {number[]} */ ([]),
      shownAt: /** @type {[number, number][]} */ ([]), force: false,
    };
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.waiting = undefined;
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
    clearTimeout(this.waiting);
    this.redraw.cancel();
    this.renderer.dispose();
  }

  get camera() {
    return this.cameras[this.facts.axis()] ?? fit(this.facts.sheet(), this.size);
  }

  /** The window of a huge plane that fits the view; null where planes come whole. */
  get scope() {
    return scopeOf(this.camera, this.facts.sheet(), this.size, this.unit);
  }

  /** Windows to look for in the cache, the best first; null where planes come whole. */
  get scopes() {
    const { scope } = this;
    if (!scope) return null;
    const [axis, sheet] = [this.facts.axis(), this.facts.sheet()];
    return (this.windows[axis] ??= new Scopes()).order(scope, seenOf(this.camera, sheet, this.size), overviewOf(sheet));
  }

  /** Of a huge plane other windows may be seen from here. */
  #follow() {
    if (this.scope) {
      this.take();
      this.facts.looked();
    }
    this.redraw();
  }

  /** Canvas pixels per CSS pixel. */
  get unit() {
    return this.canvas.width / this.size.w;
  }

  /** True when the picture shows the plane that is looked at. */
  get current() {
    return this.shown.axis === this.facts.axis() && this.shown.index === this.facts.index();
  }

  /** Look from elsewhere. @param {Camera} camera */
  look(camera) {
    this.fitted.delete(this.facts.axis());
    this.cameras[this.facts.axis()] = camera;
    this.#follow();
  }

  fit() {
    this.cameras[this.facts.axis()] = fit(this.facts.sheet(), this.size);
    this.fitted.add(this.facts.axis());
    this.#follow();
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

  /**
   * Show the plane as soon as its image is here. Until then what is nearest to it is shown, so that fast scrolling is
   * seen as movement; only `current` planes can be painted on.
   */
  take() {
    const { facts, ui } = this;
    if (!facts.info()) return;
    if (!this.cameras[facts.axis()]) {
      this.fit();
      if (this.scope) return;
    }
    const { axis } = this.shown;
    const next = this.#nearest();
    if (next !== null && (this.shown.axis !== facts.axis() || this.shown.index !== next)) {
      this.shown = { axis: facts.axis(), index: next };
    }
    this.#wait(!this.current);
    if (this.shown.axis !== facts.axis()) return;
    let changed = false;
    try {
      for (const part of ["image", "labels", "other", "preview", ...HEADS]) {
        const entry = part === "other" && !facts.comparison() ? null : facts.entry(part, this.shown.index);
        const proposed = part === "preview" ? facts.entry("proposal", this.shown.index) : null;
        changed = this.renderer.set(part, proposed && !proposed.empty ? proposed : entry) || changed;
      }
    } catch (error) {
      facts.say({ text: /** @type {Error} */ (error).message, error: true });
    }
    ui.root.dataset.state = this.current && facts.entry("labels") ? "ready" : "loading";
    ui.root.dataset.plane = `${this.shown.axis}/${this.shown.index}`;
    // Where the plane has not come yet there is nothing new to draw: software GL has no time to give away.
    if (changed || axis !== this.shown.axis) this.redraw();
  }

  /** The plane to show: the one that is looked at, else one on the way to it, else what is shown (null). */
  #nearest() {
    const { facts } = this;
    const index = facts.index();
    const known = this.shown.axis === facts.axis() ? Math.abs(this.shown.index - index) : Infinity;
    for (let d = 0; d < Math.min(known, 40); d++) {
      for (const i of [index - d, index + d]) if (this.#whole(i)) return i;
    }
    return null;
  }

  /** Say that a plane is on its way, if it takes long enough to be noticed. @param {boolean} on */
  #wait(on) {
    if (!on) {
      clearTimeout(this.waiting);
      this.waiting = undefined;
      this.ui.stage.classList.remove("mitonb-waiting");
    } else {
      this.waiting ??= setTimeout(() => this.ui.stage.classList.add("mitonb-waiting"), 300);
    }
  }

  /** Image and labels are here: a plane is drawn once, not once for each. @param {number} index */
  #whole(index) {
    const { facts } = this;
    return facts.entry("image", index) && (facts.entry("labels", index) || !facts.layers().labels.visible);
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
    if (!this.facts.info() || this.shown.axis !== this.facts.axis() || this.off) return;
    const began = performance.now();
    this.renderer.draw(this.#scene());
    if (this.counters.force) this.renderer.finish();
    this.counters.draws += 1;
    if (this.counters.shownAt.at(-1)?.[0] !== this.shown.index) keep(this.counters.shownAt, [this.shown.index, performance.now()]);
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
    this.facts.say({ text: "The browser took its graphics memory back (too many viewers on this page?). Click here to draw again.", error: true });
    this.ui.stage.addEventListener("pointerdown", () => {
      this.renderer = this.#start();
      this.resize();
    }, { once: true });
  }

  #scene() {
    const { facts } = this;
    return {
      camera: this.camera, sheet: facts.sheet(), layers: facts.layers(), selected: facts.selected(), seen: facts.seen(), comparison: facts.comparison(), view: this.size,
      colors: facts.info() ?? { hash: 0, palette: [], ramps: {} }, bare: facts.info()?.has_image === false,
      window: contrastOf(facts.layers().em, facts.axis()),
    };
  }

  /** Looked for anew where labels or marks are new. @type {{labels: Entry | null, seq: number, marks: any, found: import("./overlay.js").Judged[]}} */
  #known = { labels: null, seq: -1, marks: null, found: [] };

  /** @param {Entry | null} labels */
  #judged(labels) {
    const [known, marks, seq] = [this.#known, this.facts.marks(), labels?.seq ?? -1];
    if (known.labels !== labels || known.seq !== seq || known.marks !== marks) {
      this.#known = { labels, seq, marks, found: judgedOn(labels, marks) };
    }
    return this.#known.found;
  }

  /** Where a voxel lies on the plane that is shown, column and row; with `free` only while no object is there. @param {number[] | null} point @returns {[number, number] | null} */
  #onPlane(point, free = false) {
    const at = point && pixelOf(this.facts.axis(), point);
    if (at?.index !== this.shown.index || (free && idAt(this.facts.entry("labels", at.index), { ...at, inside: true }))) return null;
    return [at.column, at.row];
  }

  #drawLines() {
    const { facts, ui } = this;
    const layers = facts.layers();
    const axis = facts.axis();
    const voxel = facts.info()?.voxel_size;
    ui.showScale(scaleBar(this.camera, this.size, voxel ? voxel[axis === "yz" ? 1 : 2] : null));
    const mark = this.#onPlane(this.mark) ?? this.#onPlane(facts.missing(), true);
    const asked = facts.asked();
    const marks = (asked.length ? asked.map((point) => this.#onPlane(point)) : [mark]).filter((one) => one !== null);
    const peaks = layers.center.visible && layers.center.peaks ? facts.entry("center", this.shown.index) : null;
    const offsets = layers.offsets.visible && layers.offsets.arrows ? facts.entry("offsets", this.shown.index) : null;
    // A second canvas over the picture costs software GL as much again: it is there only while it shows something.
    const judged = this.#judged(layers.labels.visible ? facts.entry("labels", this.shown.index) : null).filter(({ id }) => facts.seen().shows(id));
    judged.push(...notedOn(facts.marks(), axis, this.shown.index));
    const framed = framesOn(facts.marks(), axis, this.shown.index);
    ui.showMarks(judged, framed);
    const place = facts.cross();
    const cross = place && pixelOf(axis, place);
    const taught = facts.taught().filter((s) => s.axis === axis && s.index === this.shown.index && s.points.length);
    const sketches = facts.sketches().filter((sketch) => sketch?.drawn);
    ui.lines.hidden = !(marks.length || peaks || offsets || judged.length || framed.length || taught.length || facts.lasso() || facts.cross() || sketches.length);
    const context = ui.lines.hidden ? null : ui.lines.getContext("2d");
    if (!context) return;
    context.setTransform(this.unit, 0, 0, this.unit, 0, 0);
    drawOverlay(context, {
      camera: this.camera, sheet: facts.sheet(), view: this.size, marks, judged, framed, taught, lasso: facts.lasso(), cross: cross && [cross.column, cross.row], peaks, offsets,
      semantic: facts.entry("semantic", this.shown.index),
    });
    for (const sketch of sketches) sketch?.draws(context, axis, this.shown.index, (x, y) => toScreen(this.camera, facts.sheet(), this.size, x, y));
  }
}

/** Keep the newest values for whoever measures. @template T @param {T[]} list @param {T} value */
export function keep(list, value) {
  list.push(value);
  if (list.length > 2000) list.shift();
}
