// The pen: a stroke from its first pixel to the outbox. Drawn here at once; the kernel hears of it when it ends.

import { keep } from "./picture.js";

export class Pen {
  /** @param {import("./store.js").Store} store @param {import("./picture.js").Picture} picture */
  constructor(store, picture) {
    this.store = store;
    this.picture = picture;
    /** What goes with the stroke into its message. @type {Record<string, any> | null} */
    this.drawing = null;
  }

  /**
   * @param {{axis: string, index: number, tool: string, id: number, radius: number, preserve: boolean, subtract: boolean, locked: number[],
   *   sides?: number[], above: number, semantic?: import("./protocol.js").Entry | null}} how  sides: of a pixel, where the brush is a ball
   */
  begin({ axis, index, tool, id, radius, preserve, subtract, locked, sides, above, semantic }) {
    if (tool.startsWith("teach_")) {
      this.drawing = { op: tool };
      this.store.open = { axis, index, points: [], radius, rule: null, op: tool };
      return;
    }
    const taking = tool === "lasso" && subtract;
    const erasing = tool === "erase" || taking;
    const only = taking || (preserve && erasing) ? id : preserve ? 0 : null;
    this.drawing = { op: tool, id, preserve, only: erasing ? only : null, subtract: taking, ball: Boolean(sides), ...(above ? { above } : {}) };
    const mask = above && semantic ? { data: semantic.data, over: 255 * above, w: semantic.w } : undefined;
    this.store.open = { axis, index, sides, points: [], radius: tool === "lasso" ? 0 : radius, rule: { after: erasing ? 0 : id, only, locked: new Set(locked), above: mask } };
  }

  /** Go on along whole pixels: row, column, row, column, ... @param {number[]} points */
  draw(points) {
    const stroke = this.store.open;
    if (!stroke || !this.drawing) return;
    const began = performance.now();
    const n = stroke.points.length;
    const repeats = n && points[0] === stroke.points[n - 2] && points[1] === stroke.points[n - 1];
    for (const value of repeats ? points.slice(2) : points) stroke.points.push(value);
    // A lasso is filled when it ends.
    if (this.drawing.op === "lasso") this.picture.redraw();
    else if (stroke.rule) this.#show(stroke, this.store.draw({ ...stroke, points }), began);
    else this.picture.redraw();
  }

  /** @param {import("./store.js").Stroke} stroke @param {import("./strokes.js").Rect | null} box that was drawn @param {number} began */
  #show(stroke, box, began) {
    const entry = this.picture.facts.entry("labels", stroke.index);
    if (!box || !entry || box.x1 <= box.x0 || box.y1 <= box.y0) return;
    this.picture.patch(entry, box, true);
    keep(this.picture.counters.paintMs, performance.now() - began);
    this.store.emit("drawn", { entry, box, by: this });
  }

  /** Leave the labels as they were; false where nothing is being drawn. */
  cancel() {
    const stroke = this.store.open;
    if (!stroke || !this.drawing) return false;
    this.store.open = null;
    this.drawing = null;
    if (stroke.rule) this.store.drop(stroke);
    this.picture.redraw();
    return true;
  }

  end() {
    const stroke = this.store.open;
    const drawing = this.drawing;
    if (!drawing) return;
    if (stroke?.points.length && drawing.op === "lasso") {
      // Closed when it ends: until then it is a line.
      stroke.closed = true;
      this.#show(stroke, this.store.draw(stroke), performance.now());
    }
    this.store.open = null;
    this.drawing = null;
    if (!stroke?.points.length) return;
    this.store.commit(stroke, drawing);
  }
}
