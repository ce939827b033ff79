// A histogram of one column of the table, or two columns against each other; a drag over it selects the objects in it.

import { button, make, offer } from "./dom.js";

/**
 * @typedef {import("./table.js").Column} Column
 * @typedef {{from: number, to: number, log: boolean}} Span  of an axis
 */

const LEFT = 46;
const BELOW = 17;
const BINS = 24;

/** The ends of some values, those of a logarithmic axis without what is not above 0. @param {number[]} values @param {boolean} log @returns {Span} */
export function spanOf(values, log) {
  const known = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  let [from, to] = [Infinity, -Infinity];
  for (const v of known) [from, to] = [Math.min(from, v), Math.max(to, v)];
  if (!known.length) return { from: log ? 1 : 0, to: log ? 10 : 1, log };
  return from < to ? { from, to, log } : { from: log ? from / 2 : from - 0.5, to: log ? 2 * to : to + 0.5, log };
}

/** Where on an axis a value lies, 0 to 1; NaN where it has no place. @param {number} value @param {Span} span */
export function part(value, { from, to, log }) {
  return log ? (value > 0 ? Math.log(value / from) / Math.log(to / from) : NaN) : (value - from) / (to - from);
}

/** The bin of a value, -1 for none. @param {number} value @param {Span} span */
export function binOf(value, span) {
  const at = part(value, span);
  return at >= 0 && at <= 1 ? Math.min(Math.floor(at * BINS), BINS - 1) : -1;
}

export class Chart {
  /** @param {{rows: () => ArrayLike<number>, chosen: () => number[], choose: (ids: number[]) => void, pick: (id: number) => void}} facts */
  constructor(facts) {
    this.facts = facts;
    /** @type {{columns: Column[], values: Float64Array[], colors: Uint8Array}} */
    this.data = { columns: [], values: [], colors: new Uint8Array() };
    const select = (/** @type {string} */ ariaLabel) => make("select", { ariaLabel, title: ariaLabel });
    this.across = select("Measure from left to right");
    this.up = select("Measure from below to above, or how many");
    this.log = button("log", "Logarithmic axes", () => {
      this.log.ariaPressed = `${this.log.ariaPressed !== "true"}`;
      this.draw();
    });
    this.canvas = make("canvas", { role: "img", ariaLabel: "Objects by their measures; a drag selects those in it, a click the one under it" });
    const bar = make("div", { className: "axes" });
    bar.append(this.across, this.up, this.log);
    this.node = make("div", { className: "chart", hidden: true });
    this.node.append(bar, this.canvas);
    /** @type {number[] | null} */
    this.drag = null;
    for (const input of [this.across, this.up]) input.addEventListener("change", () => this.draw());
    this.canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ e) => {
      if (e.button) return;
      this.canvas.setPointerCapture(e.pointerId);
      this.drag = [e.offsetX, e.offsetY, e.offsetX, e.offsetY];
    });
    this.canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => {
      if (!this.drag) return;
      this.drag.splice(2, 2, e.offsetX, e.offsetY);
      this.draw();
    });
    this.canvas.addEventListener("pointerup", () => { if (this.drag) this.#take(); });
    this.canvas.addEventListener("pointercancel", () => {
      this.drag = null;
      this.draw();
    });
  }

  /** Take new rows, to be drawn next. @param {{columns: Column[], values: Float64Array[], colors: Uint8Array}} data */
  take(data) {
    this.data = data;
    const numbers = data.columns.filter(({ kind }) => kind === "number" || kind === "verdict");
    const names = numbers.map(({ name, label }) => [name, label]);
    offer(this.across, names, names[0]?.[0]);
    offer(this.up, [["", "how many"], ...names]);
  }

  /** What is shown: the values of the rows on both axes, and their spans. */
  #shown() {
    const { columns, values } = this.data;
    const log = this.log.ariaPressed === "true";
    const rows = Array.from(this.facts.rows());
    const of = (/** @type {string} */ name) => {
      const k = columns.findIndex((c) => c.name === name);
      return k < 0 ? null : rows.map((r) => values[k][r]);
    };
    const [x, y] = [of(this.across.value) ?? rows.map(() => NaN), of(this.up.value)];
    const across = spanOf(x, log);
    const bins = x.map((v) => binOf(v, across));
    const counts = new Array(BINS).fill(0);
    for (const bin of bins) if (bin >= 0) counts[bin] += 1;
    const up = y ? spanOf(y, log) : { from: 0, to: Math.max(1, ...counts), log: false };
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const [wide, tall] = [w - LEFT - 8, h - BELOW - 8];
    const place = (/** @type {number} */ i) => [LEFT + part(x[i], across) * wide, 8 + (1 - part(y ? y[i] : 0, up)) * tall];
    return { rows, x, y, across, up, bins, counts, w, h, wide, tall, place };
  }

  draw() {
    const { canvas, data } = this;
    if (this.node.hidden || !canvas.clientWidth) return;
    const { rows, y, across, up, bins, counts, w, h, wide, tall, place } = this.#shown();
    const unit = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [w * unit, h * unit];
    const c = canvas.getContext("2d");
    const style = getComputedStyle(this.node);
    const [ink, on] = [style.color, style.getPropertyValue("--on")];
    c.scale(unit, unit);
    c.font = `10px ${style.fontFamily}`;
    c.fillStyle = c.strokeStyle = ink;
    c.globalAlpha = 0.6;
    c.strokeRect(LEFT - 0.5, 7.5, wide + 1, tall + 1);
    c.globalAlpha = 1;
    const said = (/** @type {number} */ v) => `${+v.toPrecision(3)}`;
    c.textAlign = "left"; c.fillText(said(across.from), LEFT, h - 4);
    c.textAlign = "right"; c.fillText(said(across.to), w - 8, h - 4);
    c.fillText(said(up.from), LEFT - 4, h - BELOW); c.fillText(said(up.to), LEFT - 4, 16);
    const chosen = new Set(this.facts.chosen());
    const isOn = rows.map((r) => chosen.has(data.values[0][r]));
    if (!y) {
      const picked = new Array(BINS).fill(0);
      bins.forEach((bin, i) => { if (isOn[i] && bin >= 0) picked[bin] += 1; });
      for (const [some, color, alpha] of /** @type {[number[], string, number][]} */ ([[counts, ink, 0.35], [picked, on, 1]])) {
        c.fillStyle = color; c.globalAlpha = alpha;
        some.forEach((n, k) => c.fillRect(LEFT + (k * wide) / BINS + 1, 8 + tall * (1 - n / up.to), wide / BINS - 2, (tall * n) / up.to));
      }
    } else {
      for (const ring of [false, true]) rows.forEach((r, i) => {
        const [px, py] = place(i);
        if (isOn[i] !== ring || !Number.isFinite(px + py)) return;
        c.beginPath(); c.arc(px, py, ring ? 4 : 3, 0, 7);
        c.fillStyle = `rgb(${data.colors.subarray(3 * r, 3 * r + 3).join(",")})`; c.fill();
        if (ring) { c.lineWidth = 2; c.strokeStyle = on; c.stroke(); }
      });
    }
    c.globalAlpha = 1;
    if (this.drag) {
      const [x0, y0, x1, y1] = this.drag;
      c.strokeStyle = on; c.lineWidth = 1;
      c.strokeRect(x0, y ? y0 : 8, x1 - x0, y ? y1 - y0 : tall);
    }
  }

  /** The drag has ended: select what is in it, or the one under a click. */
  #take() {
    const [x0, y0, x1, y1] = /** @type {number[]} */ (this.drag);
    this.drag = null;
    const { rows, y, x, across, bins, wide, place } = this.#shown();
    const ids = this.data.values[0];
    const moved = Math.abs(x1 - x0) > 3 || Math.abs(y1 - y0) > 3;
    const [left, right, top, low] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
    const near = rows.map((_, i) => i).filter((i) => {
      const [px, py] = place(i);
      if (moved) return px >= left && px <= right && (!y || (py >= top && py <= low));
      return y ? Math.hypot(px - x0, py - y0) < 8 : bins[i] === Math.floor(((x0 - LEFT) / wide) * BINS) && Number.isFinite(part(x[i], across));
    });
    if (!moved && y && near.length) {
      const far = (/** @type {number} */ i) => Math.hypot(place(i)[0] - x0, place(i)[1] - y0);
      this.facts.pick(ids[rows[near.reduce((a, b) => (far(b) < far(a) ? b : a))]]);
    } else this.facts.choose(near.map((i) => ids[rows[i]]));
    this.draw();
  }
}
