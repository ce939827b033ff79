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
    this.#compose(scene, any.w, any.h);
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

  /** @param {Scene} scene @param {number} w @param {number} h */
  #compose({ layers, colors, selected, seen, bare, window: [low, high] }, w, h) {
    this.sheet.width = w;
    this.sheet.height = h;
    const context = /** @type {CanvasRenderingContext2D} */ (this.sheet.getContext("2d"));
    const picture = context.createImageData(w, h);
    const out = new Uint32Array(picture.data.buffer);
    const { image, labels, preview } = this.entries;
    const gain = 255 / Math.max(high - low, 1);
    const proposed = preview?.part === "proposal" ? preview : null;
    const ids = preview && !proposed && layers.preview.visible ? preview : labels && layers.labels.visible ? labels : null;
    const opacity = ids === preview ? layers.preview.opacity : layers.labels.opacity;
    const chosen = new Set(selected);
    // Of a huge plane the image may have come in another window than the labels.
    const base = labels?.scope ?? image?.scope;
    const at = base && image ? (/** @type {number} */ i) => placeIn(image, base.top + Math.floor(i / w) * base.step, base.left + (i % w) * base.step) : null;
    const grain = image?.step ?? 1;
    for (let i = 0; i < out.length; i++) {
      const gray = image && layers.em.visible ? image.data[at ? at(i) : Math.floor(Math.floor(i / w) / grain) * image.w + Math.floor((i % w) / grain)] ?? 0 : 0;
      const v = bare ? 76 : Math.min(Math.max((gray - low) * gain, 0), 255);
      let [r, g, b] = [v, v, v];
      const id = proposed?.data[i] || (ids && (ids === preview || seen.shows(ids.data[i])) ? ids.data[i] : 0);
      if (id) {
        const [hr, hg, hb] = colors.palette[slotOf(id, colors)];
        const a = chosen.has(id) ? Math.min(1, opacity + 0.3) : opacity;
        [r, g, b] = [r + (hr - r) * a, g + (hg - g) * a, b + (hb - b) * a];
      }
      out[i] = 0xff000000 | (b << 16) | (g << 8) | r;
    }
    context.putImageData(picture, 0, 0);
  }
}
