// The hand: outlines by drag or corner by corner, lines across objects, and the keyboard's cursor of every tool.

import { pointsIn } from "./scope.js";
import { badge, crosshair, stepped } from "./split.js";
import { fillLasso, trail } from "./strokes.js";

/** @typedef {import("./view.js").View} View */

/** Pixels of the screen within which a press is a click, and a corner the first one again. */
const [CLICK, NEAR] = [4, 9];

export class Hand {
  /** Where the keyboard's cursor is, row and column, once an arrow was pressed. @type {[number, number] | null} */
  at = null;
  /** Whether the cursor was moved since Enter. */
  armed = false;
  /** Corners of an outline or a line: row, column, row, column, ... @type {number[]} */
  corners = [];
  /** What is drawn since the press. @type {number[] | null} */
  drag = null;
  /** What an outline is for. @type {"add" | "subtract" | "select"} */
  use = "add";

  /** @param {View} view */
  constructor(view) {
    this.view = view;
  }

  get on() {
    return !["look", "split", "why"].includes(this.view.get("tool"));
  }

  /** Whether the tool takes lines: what is drawn is no stroke. */
  get outlines() {
    return this.view.get("tool") === "lasso" || this.crosses;
  }

  /** Whether a line is one across objects. */
  get crosses() {
    return this.view.verbs.gesture(this.view.get("tool")) === "pair";
  }

  /** What is drawn of it: a line, and whether it will be closed. @returns {{points: number[], closed: boolean} | null} */
  get line() {
    const points = [...this.corners, ...(this.drag ?? []), ...(this.corners.length && this.armed ? this.at ?? [] : [])];
    return points.length > 2 ? { points, closed: !this.crosses } : null;
  }

  // --- pointer -----------------------------------------------------------------------------------------------------

  /** @param {{shiftKey: boolean, ctrlKey: boolean, metaKey: boolean}} event */
  begin({ shiftKey, ctrlKey, metaKey }) {
    if (!this.corners.length) this.use = ctrlKey || metaKey ? "select" : shiftKey ? "subtract" : "add";
    this.drag = [];
  }

  /** @param {number[]} points */
  draw(points) {
    this.drag?.push(...points);
    this.view.picture.redraw();
  }

  end() {
    const { view, drag } = this;
    this.drag = null;
    if (!drag?.length) return;
    const place = (/** @type {number} */ i) => view.picture.screen(drag[i + 1], drag[i]);
    const near = (/** @type {[number, number]} */ [x, y], /** @type {number} */ reach) => (/** @type {[number, number]} */ [u, v]) => Math.hypot(u - x, v - y) <= reach;
    const still = drag.every((_, i) => i % 2 || near(place(0), CLICK)(place(i)));
    if (!still) {
      this.corners.push(...drag);
      if (this.corners.length === drag.length) this.close();
    } else if (this.crosses && !this.corners.length) view.click(this.#spot(drag[0], drag[1]), false);
    else if (this.corners.length > 4 && near(view.picture.screen(this.corners[1], this.corners[0]), NEAR)(place(0))) this.close();
    else this.corners.push(drag[0], drag[1]);
    this.#show();
  }

  // --- keys --------------------------------------------------------------------------------------------------------

  /** Move the cursor, by an arrow key; a pen that is down draws. @param {number} dx @param {number} dy */
  step(dx, dy) {
    const { view } = this;
    const before = this.at;
    this.at = stepped(view, this.at, dx, dy);
    this.armed = true;
    if (before && view.pen.drawing) view.pen.draw([...before, ...this.at]);
    view.follow(this.at);
    this.#show();
  }

  /** Enter: what a press does, at the cursor; or an outline is closed. False without either. @param {string} [how] */
  enter(how = "") {
    const { view, at } = this;
    if (!this.on || (!at && !this.corners.length)) return false;
    const corner = this.armed && at;
    this.armed = false;
    if (this.outlines && (this.crosses ? how || this.corners.length : !(corner && !how))) {
      if (corner) this.corners.push(...corner);
      if (!this.crosses || !how) this.close(how);
    } else if (this.outlines && !this.crosses) this.corners.push(.../** @type {[number, number]} */ (at));
    else if (at && view.pen.drawing) view.pen.end();
    else if (at) view.press({ row: at[0], column: at[1], inside: true });
    this.#show();
    return true;
  }

  /** Take the last corner back; false when there is none. */
  back() {
    const { length } = this.corners;
    this.corners.length = Math.max(0, length - 2);
    this.#show();
    return length > 0;
  }

  /** The mouse is used again. */
  rest() {
    if (!this.at || this.view.pen.drawing) return;
    this.at = null;
    this.#show();
  }

  /** Leave everything as it is. */
  leave() {
    this.at = this.drag = null;
    this.armed = false;
    this.corners = [];
  }

  /** What Enter does now; "" without a cursor. */
  get hint() {
    const { view, at, corners } = this;
    if (this.crosses) return corners.length ? "Enter: all that the line crosses become one" : at ? "Enter: the object here; Shift-Enter: a line from here" : "";
    if (this.outlines) return at && this.armed ? "Enter: a corner here" : corners.length ? "Enter closes; with Shift takes away, with Ctrl selects" : "";
    if (!at) return "";
    return view.pen.drawing ? "Arrows draw, Enter lifts the pen" : view.verbs.draws(view.get("tool")) ? "Enter puts the pen down" : "Enter does it here";
  }

  /** @param {number} row @param {number} column */
  #spot(row, column) {
    const { w, h } = this.view.sheet;
    return { row, column, inside: row >= 0 && column >= 0 && row < h && column < w };
  }

  // --- what comes of a line ----------------------------------------------------------------------------------------

  /** @param {string} [use] "subtract", "select", or as it was begun */
  close(use = "") {
    const { view, corners } = this;
    const how = use || this.use;
    if (!corners.length) return;
    if (!this.crosses && corners.length < 6) {
      view.ui.say({ text: "An outline needs three corners or more." });
      return;
    }
    this.corners = [];
    this.use = "add";
    if (this.crosses) this.#cross(corners);
    else if (how === "select") this.#select(corners);
    else view.outline(corners, how === "subtract");
    this.#show();
  }

  /** All objects that a line crosses become the first of them. @param {number[]} points */
  #cross(points) {
    const { view } = this;
    /** @type {Set<number>} */
    const ids = new Set();
    const visit = (/** @type {number} */ column, /** @type {number} */ row) => ids.add(view.idAt(this.#spot(row, column)));
    visit(points[1], points[0]);
    for (let i = 2; i + 1 < points.length; i += 2) trail(points[i - 1], points[i - 2], points[i + 1], points[i], visit);
    ids.delete(0);
    const [keep, ...gone] = ids;
    if (!gone.length) view.ui.say({ text: `A line across two objects or more makes them one; this one crosses ${keep ? `only object ${keep}` : "none"}.` });
    else if (view.commands.writable()) {
      view.store.edit({ op: view.get("tool"), keep, gone });
      view.set("selected", [keep]);
    }
  }

  /** Select what lies in an outline, by half or more of it on this plane. @param {number[]} points */
  #select(points) {
    const { view } = this;
    const entry = view.entry("labels");
    if (!entry || entry.empty) return;
    const data = /** @type {Uint32Array} */ (entry.data);
    const rest = { data: data.slice(), w: entry.w, h: entry.h };
    fillLasso(rest, pointsIn(entry, points), { after: 0, only: null });
    const [all, out] = [data, rest.data].map((ids) => {
      const sizes = new Map();
      for (const id of ids) sizes.set(id, (sizes.get(id) ?? 0) + 1);
      return sizes;
    });
    const ids = [...all].filter(([id, n]) => id && view.seen.shows(id) && 2 * (out.get(id) ?? 0) <= n).map(([id]) => id);
    view.set("selected", ids);
    view.ui.say({ text: ids.length ? `Selected ${ids.length === 1 ? `object ${ids[0]}` : `${ids.length} objects`}.` : "No object lies in it by half or more." });
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  #show() {
    this.view.showState();
    this.view.picture.redraw();
  }

  get drawn() {
    return this.on && Boolean(this.at || this.corners.length);
  }

  /**
   * The first corner, and the cursor.
   * @param {CanvasRenderingContext2D} c @param {string} axis @param {number} index @param {(column: number, row: number) => [number, number]} put
   */
  draws(c, axis, index, put) {
    const { view, at, corners } = this;
    if (axis !== view.get("axis")) return;
    const on = (/** @type {number} */ row, /** @type {number} */ column) => put(column + 0.5, row + 0.5);
    if (corners.length) badge(c, ...on(corners[0], corners[1]), "", "#fff");
    if (at) crosshair(c, ...on(...at));
  }
}
