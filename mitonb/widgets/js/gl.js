// Drawing with WebGL2: one texture per part, one quad, one shader variant per set of layers.

import { idTable, slotTable } from "./colors.js";
import { FINE, HEADS } from "./protocol.js";
import { boxIn, same } from "./scope.js";
import { VERTEX, fragment, programOf } from "./shader.js";

/**
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./geometry.js").Camera} Camera
 * @typedef {import("./geometry.js").Sheet} Sheet
 * @typedef {import("./strokes.js").Rect} Rect
 * @typedef {Record<string, {visible: boolean, opacity: number, low: number, high: number, views: Record<string, number[]>, style: string, peaks: boolean,
 *   arrows: boolean, width: number}>} Layers
 * @typedef {{camera: Camera, sheet: Sheet, view: import("./geometry.js").Size, layers: Layers, selected: number[], seen: import("./seen.js").Seen,
 *   comparison: import("./compare.js").Comparison | null, colors: import("./colors.js").Colors, bare: boolean, window: number[]}} Scene  bare: there is no image
 */

const UNITS = ["image", "labels", ...HEADS, "preview", "selected", "moved", "hidden", "other"];

export class Renderer {
  /** @param {HTMLCanvasElement} canvas @throws {Error} without WebGL2 */
  constructor(canvas) {
    // preserveDrawingBuffer: a stroke redraws only the box that it touched.
    const gl = canvas.getContext("webgl2", {
      antialias: false, depth: false, preserveDrawingBuffer: true, powerPreference: "high-performance",
    });
    if (!gl) throw new Error("This browser does not offer WebGL2.");
    this.gl = gl;
    this.canvas = canvas;
    this.limit = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    /** @type {Map<string, WebGLProgram>} */
    this.programs = new Map();
    /** @type {Map<WebGLProgram, Map<string, WebGLUniformLocation | null>>} */
    this.places = new Map();
    /** @type {Record<string, {texture: WebGLTexture, entry: Entry | null, w: number, h: number, mipmaps: boolean}>} */
    this.parts = {};
    this.selection = "";
    /** The colours that the table "moved" was made of. @type {Map<number, number> | undefined} */
    this.moved = undefined;
    this.shift = 22;
    /** What the table "hidden" was made of. @type {import("./seen.js").Seen | undefined} */
    this.seen = undefined;
    this.far = 22;
    /** @type {import("./colors.js").Colors | null} */
    this.colors = null;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.bindVertexArray(gl.createVertexArray());
    this.#upload("selected", new Uint32Array(1024), 32, 32);
  }

  /**
   * Show an entry of the cache as its part; null shows nothing.
   * @param {string} part @param {Entry | null} entry
   * @returns {boolean} whether there is something new to draw
   */
  set(part, entry) {
    const old = this.parts[part];
    const next = entry?.empty ? null : entry;
    if ((old?.entry ?? null) === next) return false;
    if (!next || !entry) {
      old.entry = null;
      return true;
    }
    if (entry.w > this.limit || entry.h > this.limit) {
      throw new Error(`This plane is ${entry.w} x ${entry.h} pixels; the graphics here show at most ${this.limit} a side.`);
    }
    this.#upload(part, entry.data, entry.w, entry.h);
    this.parts[part].entry = entry;
    return true;
  }

  /** Take over a changed box of a part that is shown. @param {string} part @param {Entry} entry @param {Rect} box */
  patch(part, entry, box) {
    const own = this.parts[part];
    if (!own || own.entry !== entry) return;
    if (entry.scope) box = boxIn(entry, box);
    if (box.x1 <= box.x0 || box.y1 <= box.y0) return;
    const gl = this.gl;
    this.#bind(part);
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, entry.w);
    gl.pixelStorei(gl.UNPACK_SKIP_PIXELS, box.x0);
    gl.pixelStorei(gl.UNPACK_SKIP_ROWS, box.y0);
    gl.texSubImage2D(
      gl.TEXTURE_2D, 0, box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0, gl.RED_INTEGER, gl.UNSIGNED_INT, entry.data,
    );
    for (const name of [gl.UNPACK_ROW_LENGTH, gl.UNPACK_SKIP_PIXELS, gl.UNPACK_SKIP_ROWS]) gl.pixelStorei(name, 0);
  }

  /**
   * Draw; with a box (plane pixels), only there.
   * @param {Scene} scene @param {Rect} [box]
   */
  draw(scene, box) {
    const gl = this.gl;
    if (gl.isContextLost()) return;
    const { width, height } = this.canvas;
    const unit = width / scene.view.w;
    const scale = [scene.camera.scale * unit, scene.camera.scale * scene.sheet.aspect * unit];
    gl.viewport(0, 0, width, height);
    if (box) {
      const margin = 4 * unit;
      const x0 = (box.x0 - scene.camera.x) * scale[0] + width / 2 - margin;
      const x1 = (box.x1 - scene.camera.x) * scale[0] + width / 2 + margin;
      const y0 = (box.y0 - scene.camera.y) * scale[1] + height / 2 - margin;
      const y1 = (box.y1 - scene.camera.y) * scale[1] + height / 2 + margin;
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(Math.floor(x0), Math.floor(height - y1), Math.ceil(x1 - x0) + 1, Math.ceil(y1 - y0) + 1);
    }
    const on = this.#variant(scene.layers);
    if (scene.selected.length && on.has("LABELS")) on.add("SELECTED");
    if (scene.colors.moved?.size && (on.has("LABELS") || on.has("PREVIEW"))) on.add("MOVED");
    if (on.has("MOVED")) this.#recolor(/** @type {Map<number, number>} */ (scene.colors.moved));
    if (!scene.seen.all && on.has("LABELS")) on.add(scene.seen.alone ? "ALONE" : "HIDDEN");
    if (!scene.seen.all) this.#hide(scene.seen);
    const [labels, other, preview] = ["labels", "other", "preview"].map((part) => this.parts[part]?.entry ?? null);
    // Labels that came in different windows are not compared: where one of them ends they would differ.
    const both = other && (!other.scope || !labels?.scope || same(other.scope, labels.scope));
    if (scene.comparison && on.has("LABELS") && both) on.add(scene.comparison.facts.way() === "difference" ? "DIFFERENCE" : "CURTAIN");
    const window = (this.parts.image?.entry ?? labels ?? preview)?.scope;
    if (window) on.add("WINDOWED");
    const program = this.#program(on);
    gl.useProgram(program);
    const at = (/** @type {string} */ name) => this.#place(program, name);
    const l = scene.layers;
    // In a huge plane places count from its window: 32 bits tell no tenth of a pixel apart beyond a million of them.
    const [left, top] = [window?.left ?? 0, window?.top ?? 0];
    gl.uniform2f(at("u_middle"), scene.camera.x - left, scene.camera.y - top);
    gl.uniform2f(at("u_low"), -left, -top);
    for (const entry of [labels, preview]) {
      if (entry?.scope) gl.uniform3f(at(entry === labels ? "u_labels_at" : "u_preview_at"), entry.scope.left - left, entry.scope.top - top, entry.scope.step);
    }
    gl.uniform2f(at("u_scale"), scale[0], scale[1]);
    gl.uniform2f(at("u_size"), width, height);
    gl.uniform2f(at("u_sheet"), scene.sheet.w, scene.sheet.h);
    gl.uniform2f(at("u_window"), scene.window[0], scene.window[1]);
    gl.uniform1f(at("u_paper"), scene.bare ? 0.3 : 0);
    gl.uniform1fv(at("u_opacity"), ["labels", ...HEADS].map((name) => l[name].opacity));
    gl.uniform1f(at("u_shown"), l.preview.opacity);
    gl.uniform1f(at("u_unit"), unit);
    gl.uniform1f(at("u_rim"), l.labels.width);
    gl.uniform1f(at("u_curtain"), scene.comparison?.edge(width) ?? 0);
    gl.uniform1f(at("u_step"), this.parts.offsets?.entry?.step ?? this.parts.center?.entry?.step ?? 1);
    gl.uniform1f(at("u_grain"), this.parts.image?.entry?.step ?? 1);
    gl.uniform1ui(at("u_hash"), scene.colors.hash);
    gl.uniform1ui(at("u_shift"), this.shift);
    gl.uniform1ui(at("u_far"), this.far);
    gl.uniform1ui(at("u_slots"), scene.colors.palette.length);
    gl.uniform3fv(at("u_palette"), scene.colors.palette.flat().map((v) => v / 255));
    // A head without colours of its own has those of the semantic map.
    const ramps = HEADS.map((name) => scene.colors.ramps[name] ?? scene.colors.ramps.semantic);
    const counts = ramps.map(({ stops }) => stops.length);
    const stops = ramps.flatMap((ramp) => ramp.stops.flat().map((v) => v / 255));
    if (stops.length) gl.uniform3fv(at("u_stops"), stops);
    gl.uniform2iv(at("u_ramp"), counts.flatMap((n, k) => [counts.slice(0, k).reduce((a, b) => a + b, 0), n]));
    gl.uniform2fv(at("u_fade"), ramps.flatMap(({ fade }) => fade));
    this.#choose(scene.selected);
    this.#filter(scale[0]);
    UNITS.forEach((part, i) => {
      if (this.parts[part]) {
        gl.activeTexture(gl.TEXTURE0 + i);
        gl.bindTexture(gl.TEXTURE_2D, this.parts[part].texture);
      }
      gl.uniform1i(at(`u_${part}`), i);
    });
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
  }

  /** Wait until all is really drawn (for measuring). */
  finish() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  /** Give the context back: a page has only 16. */
  dispose() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** @param {Layers} layers */
  #variant(layers) {
    const has = (/** @type {string} */ part) => Boolean(this.parts[part]?.entry);
    const on = new Set();
    if (layers.em.visible && has("image")) on.add("IMAGE");
    for (const name of HEADS) if (layers[name].visible && has(name)) on.add(name.toUpperCase());
    if (on.has("OFFSETS") && has("semantic")) on.add("MASK");
    if (layers.labels.visible && has("labels")) on.add("LABELS");
    const proposed = this.parts.preview?.entry?.part === "proposal";
    if (has("preview") && (layers.preview.visible || proposed)) on.add("PREVIEW");
    if (proposed) on.add("PROPOSED");
    // Under a preview or maps the labels step back to outlines: fills would mix with what is to be seen.
    const above = [...(proposed ? [] : ["preview"]), ...HEADS].some((name) => on.has(name.toUpperCase()));
    if (on.has("LABELS") && (layers.labels.style === "outline" || above)) on.add("OUTLINE");
    return on;
  }

  /** @param {Set<string>} on @returns {WebGLProgram} */
  #program(on) {
    const key = [...on].sort().join();
    const known = this.programs.get(key);
    if (known) return known;
    const program = programOf(this.gl, VERTEX, fragment(on));
    this.programs.set(key, program);
    this.places.set(program, new Map());
    return program;
  }

  /** @param {WebGLProgram} program @param {string} name */
  #place(program, name) {
    const places = /** @type {Map<string, WebGLUniformLocation | null>} */ (this.places.get(program));
    if (!places.has(name)) places.set(name, this.gl.getUniformLocation(program, name));
    return places.get(name) ?? null;
  }

  /** @param {number[]} selected */
  #choose(selected) {
    const key = selected.join();
    if (key === this.selection) return;
    this.selection = key;
    this.#upload("selected", idTable(selected), 32, 32);
  }

  /** @param {Map<number, number>} moved */
  #recolor(moved) {
    if (moved === this.moved) return;
    this.moved = moved;
    const { table, shift } = slotTable(moved);
    this.shift = shift;
    this.#upload("moved", table, 1024, table.length / 2048);
  }

  /** @param {import("./seen.js").Seen} seen */
  #hide(seen) {
    if (seen === this.seen) return;
    this.seen = seen;
    const { table, shift } = slotTable(new Map(seen.ids.map((id) => [id, 1])));
    this.far = shift;
    this.#upload("hidden", table, 1024, table.length / 2048);
  }

  /** Far out, the image is averaged; near, its pixels are shown as they are. @param {number} scale device px per pixel */
  #filter(scale) {
    const own = this.parts.image;
    if (!own?.entry) return;
    scale *= own.entry.step;
    const gl = this.gl;
    this.#bind("image");
    // Half size needs no averages yet: the four pixels between which a sample lies are all that it covers.
    const far = scale < 0.45;
    if (far && !own.mipmaps) {
      gl.generateMipmap(gl.TEXTURE_2D);
      own.mipmaps = true;
    }
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, far ? gl.LINEAR_MIPMAP_NEAREST : gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, scale > 3 ? gl.NEAREST : gl.LINEAR);
  }

  /** @param {string} part */
  #bind(part) {
    this.gl.activeTexture(this.gl.TEXTURE0 + UNITS.indexOf(part));
    this.gl.bindTexture(this.gl.TEXTURE_2D, this.parts[part].texture);
  }

  /** @param {string} part @param {ArrayBufferView} data @param {number} w @param {number} h */
  #upload(part, data, w, h) {
    const gl = this.gl;
    const formats = /** @type {Record<string, [number, number, number]>} */ ({
      ...Object.fromEntries(["image", ...FINE].map((name) => [name, [gl.R8, gl.RED, gl.UNSIGNED_BYTE]])),
      center: [gl.R16F, gl.RED, gl.HALF_FLOAT], offsets: [gl.RG16F, gl.RG, gl.HALF_FLOAT],
      ...Object.fromEntries(["moved", "hidden"].map((name) => [name, [gl.RG32UI, gl.RG_INTEGER, gl.UNSIGNED_INT]])),
    });
    const [inner, format, type] = formats[part] ?? [gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT];
    const old = this.parts[part];
    const filter = inner === gl.R32UI || inner === gl.RG32UI ? gl.NEAREST : gl.LINEAR;
    const fits = old && old.w === w && old.h === h;
    if (old && !fits) gl.deleteTexture(old.texture);
    if (!fits) {
      this.parts[part] = { texture: /** @type {WebGLTexture} */ (gl.createTexture()), entry: null, w, h, mipmaps: false };
    }
    this.#bind(part);
    if (fits) {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, w, h, format, type, data);
    } else {
      gl.texImage2D(gl.TEXTURE_2D, 0, inner, w, h, 0, format, type, data);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    }
    this.parts[part].mipmaps = false;
  }
}
