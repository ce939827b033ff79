// Objects in 3-D beside the planes: surfaces that the kernel sent, turned by a drag, with the place that the planes go through.

import { slotOf } from "./colors.js";
import { element } from "./dom.js";
import { EDGES, Solid, hit, joined, orbit, pixelsOf, rough, turnCamera, turning } from "./solid.js";

/** @typedef {import("./solid.js").Surfaces} Surfaces */

/** @returns {import("./solid.js").Camera} */
const start = () => ({ yaw: -0.5, pitch: 0.35, zoom: 1, pan: [0, 0] });

export class Space {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    this.camera = start();
    /** @type {Surfaces | null} */
    this.surfaces = null;
    /** What objects would become, in place of what they are. @type {Surfaces | null} */
    this.proposed = null;
    /** @type {any[]} */
    this.pieces = [];
    this.canvas = element("canvas", { class: "mitonb-picture" });
    this.text = element("span", { attributes: { role: "status" } });
    this.refresh = element("button", { text: "refresh", title: "Build the surfaces again from the labels as they are now", attributes: { type: "button" } });
    this.refresh.addEventListener("click", () => this.ask());
    this.state = element("div", { class: "mitonb-chip-bar" }, [this.text, this.refresh]);
    const tag = element("span", { class: "mitonb-tag", text: "3-D" });
    this.node = element("div", {
      class: "mitonb-pane mitonb-space", title: "A drag or the arrows turn, the wheel zooms, a click selects and goes there",
      attributes: { tabindex: "0", role: "application", "aria-label": "Objects in 3-D: the arrows turn them, plus and minus zoom" },
    }, [this.canvas, tag, element("div", { class: "mitonb-states" }, [this.state])]);
    view.ui.panes.append(this.node);
    this.drawing = rough((moves) => this.#draw(moves));
    this.redraw = this.drawing.well;
    this.solid = new Solid(this.canvas);
    if (!this.solid.gl) this.#say("This browser does not offer WebGL2: the tab 3D shows a still picture.");
    this.observer = new ResizeObserver(() => this.#draw(false));
    this.observer.observe(this.node);
    orbit(this.node, {
      turn: (yaw, pitch, zoom) => this.turn(yaw, pitch, zoom), click: (x, y) => this.#click(x, y),
      move: (dx, dy) => {
        const { pixels } = this.frame();
        this.camera.pan = [this.camera.pan[0] - dx / pixels, this.camera.pan[1] + dy / pixels];
        this.drawing.moved();
      },
      reset: () => {
        this.camera = start();
        this.redraw();
      },
    });
    this.ask();
  }

  dispose() {
    this.observer.disconnect();
    this.drawing.cancel();
    this.solid.dispose();
    this.node.remove();
  }

  /** Have the surfaces built from the labels as they are. */
  ask() {
    if (!this.solid.gl) return;
    this.#say("building surfaces …");
    this.view.tell({ kind: "surfaces" });
  }

  /** Labels changed since. */
  age() {
    if (this.solid.gl && this.surfaces) this.#say("labels changed", true);
  }

  /** Nothing is proposed any more. */
  withdraw() {
    this.proposed = null;
    this.solid.hold("proposed", null);
    this.redraw();
  }

  /** @param {{meshes: [number, number, number][], first: boolean, last: boolean, failed?: string, proposed?: boolean}} m @param {DataView[]} buffers */
  take(m, buffers) {
    const [points, corners] = buffers.map((b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength));
    if (m.proposed) {
      // It may have been taken or left while it was built.
      if (this.view.store.proposal) this.solid.hold("proposed", this.proposed = joined([{ meshes: m.meshes, points: new Float32Array(points), corners: new Uint32Array(corners) }]));
      this.redraw();
      return;
    }
    if (m.first) this.pieces = [];
    if (m.failed) {
      this.#say(m.failed, true);
      return;
    }
    this.pieces.push({ meshes: m.meshes, points: new Float32Array(points), corners: new Uint32Array(corners) });
    if (!m.last) return;
    this.solid.hold("objects", this.surfaces = joined(this.pieces));
    this.pieces = [];
    this.#say(this.surfaces.parts.length ? "" : "no objects yet", !this.surfaces.parts.length);
    this.redraw();
  }

  /** @param {string} text @param {boolean} [again] */
  #say(text, again = false) {
    this.state.hidden = !text;
    this.text.textContent = text;
    this.refresh.hidden = !again;
  }

  /** Edges of the volume, x, y, z. */
  get #extent() {
    const { info } = this.view.store;
    const size = info?.voxel_size ?? [1, 1, 1];
    return [2, 1, 0].map((k) => (info?.shape[k] ?? 1) * size[k]);
  }

  /** How the volume lies in the picture: pixels are those of the screen a nm or voxel. */
  frame() {
    const extent = this.#extent;
    const { clientWidth: w, clientHeight: h } = this.node;
    const pixels = pixelsOf(extent, this.camera, start(), w, h);
    return { w, h, radius: Math.hypot(...extent) / 2, middle: extent.map((v) => v / 2), pixels };
  }

  /** @param {boolean} moves */
  #draw(moves) {
    const { solid, view } = this;
    const { info } = view.store;
    const { w, h, radius, middle, pixels } = this.frame();
    if (!info) return;
    // Right, up, and what is nearer to the viewer lies before the rest.
    const look = { turn: turning(this.camera), middle, pan: this.camera.pan, scale: /** @type {[number, number, number]} */ ([(2 * pixels) / w, (2 * pixels) / h, -1 / radius]) };
    if (!solid.begin(w, h, look, moves)) return;
    const now = new Set(this.proposed?.parts.map(({ id }) => id));
    const chosen = new Set(view.get("selected"));
    const color = (/** @type {number} */ id) => info.palette[slotOf(id, info)].map((v) => (chosen.has(id) ? 0.4 * v + 153 : v));
    solid.paint("objects", (id) => (view.seen.shows(id) && !now.has(id) ? color(id) : null));
    solid.paint("proposed", color);
    solid.surfaces("objects");
    solid.surfaces("proposed");
    const extent = this.#extent;
    const box = Float32Array.from({ length: 24 }, (_, i) => ((Math.floor(i / 3) >> (i % 3)) & 1) * extent[i % 3]);
    solid.lines(box, EDGES, 0.5);
    if (view.place) {
      const size = info.voxel_size ?? [1, 1, 1];
      const place = [2, 1, 0].map((k) => (/** @type {number[]} */ (view.place)[k] + 0.5) * size[k]);
      const cross = [0, 1, 2].flatMap((k) => [0, extent[k]].flatMap((v) => place.map((p, i) => (i === k ? v : p))));
      solid.lines(cross, [0, 1, 2, 3, 4, 5], 0.75);
    }
  }

  /** @param {number} yaw @param {number} pitch @param {number} [zoom] */
  turn(yaw, pitch, zoom = 1) {
    turnCamera(this.camera, yaw, pitch, zoom);
    this.drawing.moved();
  }

  /** @param {number} x @param {number} y */
  #click(x, y) {
    const { view, surfaces } = this;
    const { info } = view.store;
    if (!surfaces || !info) return;
    const { w, h, middle, pixels } = this.frame();
    const turn = turning(this.camera);
    const [right, up] = [0, 3].map((row) => turn[row] * middle[0] + turn[row + 1] * middle[1] + turn[row + 2] * middle[2]);
    const found = hit(surfaces, view.seen.shows, turn, right + this.camera.pan[0] + (x - w / 2) / pixels, up + this.camera.pan[1] - (y - h / 2) / pixels);
    if (!found) return;
    const size = info.voxel_size ?? [1, 1, 1];
    const point = [0, 1, 2].map((k) => Math.min(Math.max(Math.floor(found.point[2 - k] / size[k]), 0), info.shape[k] - 1));
    view.set("selected", [found.id]);
    view.visit(point);
  }
}
