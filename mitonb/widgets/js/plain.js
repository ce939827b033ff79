// Where there is no WebGL2: the same picture, plainer and slower, with a 2-D canvas. Image, labels and preview only.

import { slotOf } from "./colors.js";
import { placeIn } from "./scope.js";

/**
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./gl.js").Scene} Scene
 */

export class PlainRenderer {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const context = canvas.getContext("2d");
    if (!context) throw new Error("This browser cannot draw pictures: it offers neither WebGL2 nor a 2-D canvas.");
    this.canvas = canvas;
    this.context = context;
    this.sheet = document.createElement("canvas");
    /** @type {Record<string, Entry | null>} */
    this.entries = {};
  }

  /** @param {string} part @param {Entry | null} entry @returns {boolean} whether there is something new to draw */
  set(part, entry) {
    const next = entry && !entry.empty ? entry : null;
    const changed = (this.entries[part] ?? null) !== next;
    this.entries[part] = next;
    return changed;
  }

  patch() {}

  /** @param {Scene} scene */
  draw(scene) {
    const { width, height } = this.canvas;
    this.context.clearRect(0, 0, width, height);
    const { image, labels } = this.entries;
    if (!image && !labels) return;
    const window = (labels ?? image)?.scope;
    const any = window ? { w: (labels ?? image)?.w ?? 1, h: (labels ?? image)?.h ?? 1 } : scene.sheet;
    this.sheet.width = any.w;
    this.sheet.height = any.h;
    const context = /** @type {CanvasRenderingContext2D} */ (this.sheet.getContext("2d"));
    context.putImageData(new ImageData(compose(this.entries, scene, any.w, any.h), any.w, any.h), 0, 0);
    const unit = width / scene.view.w;
    const sx = scene.camera.scale * unit;
    const sy = sx * scene.sheet.aspect;
    this.context.imageSmoothingEnabled = sx < 3;
    const [left, top, grain] = window ? [window.left, window.top, window.step] : [0, 0, 1];
    this.context.drawImage(
      this.sheet, width / 2 + (left - scene.camera.x) * sx, height / 2 + (top - scene.camera.y) * sy, any.w * grain * sx, any.h * grain * sy,
    );
  }

  finish() {}

  dispose() {}
}

/**
 * The colours of a plane, or of the window of a huge one that its labels came in.
 * @param {Record<string, Entry | null>} entries @param {Scene} scene @param {number} w @param {number} h
 */
export function compose({ image, labels, preview }, { layers, colors, selected, seen, bare, window: [low, high] }, w, h) {
  const bytes = new Uint8ClampedArray(4 * w * h);
  const out = new Uint32Array(bytes.buffer);
  const gain = 255 / Math.max(high - low, 1);
  const proposed = preview?.part === "proposal" ? preview : null;
  const ids = preview && !proposed && layers.preview.visible ? preview : labels && layers.labels.visible ? labels : null;
  const opacity = ids === preview ? layers.preview.opacity : layers.labels.opacity;
  const chosen = new Set(selected);
  // Of a huge plane each part may have come in another window.
  const base = (labels ?? image)?.scope ?? { top: 0, left: 0, step: 1 };
  const at = (/** @type {Entry} */ entry, /** @type {number} */ i) => placeIn(entry, base.top + Math.floor(i / w) * base.step, base.left + (i % w) * base.step);
  for (let i = 0; i < out.length; i++) {
    const gray = image && layers.em.visible ? image.data[at(image, i)] ?? 0 : 0;
    const v = bare ? 76 : Math.min(Math.max((gray - low) * gain, 0), 255);
    let [r, g, b] = [v, v, v];
    const own = ids ? ids.data[at(ids, i)] : 0;
    const id = (proposed && proposed.data[at(proposed, i)]) || (ids === preview || seen.shows(own) ? own : 0);
    if (id) {
      const [hr, hg, hb] = colors.palette[slotOf(id, colors)];
      const a = chosen.has(id) ? Math.min(1, opacity + 0.3) : opacity;
      [r, g, b] = [r + (hr - r) * a, g + (hg - g) * a, b + (hb - b) * a];
    }
    out[i] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  return bytes;
}
