// A picture in 3-D as it is handled: turned by a drag or the arrows, moved with Shift or the right button, zoomed by the wheel,
// plus and minus, and clicked on. What is in it, and what a click means, says who extends it.

import { button, element, perFrame } from "./dom.js";
import { Solid, along, hit, sheet, turning } from "./solid.js";

/** @typedef {{yaw: number, pitch: number, zoom: number, pan: [number, number]}} Camera */

/** @returns {Camera} */
const start = () => ({ yaw: -0.5, pitch: 0.35, zoom: 1, pan: [0, 0] });
const BY_KEY = /** @type {Record<string, [number, number, number?]>} */ ({
  ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1], "+": [0, 0, 1.2], "=": [0, 0, 1.2], "-": [0, 0, 1 / 1.2],
});
/** Until something that moved is drawn well again, ms. */
const REST = 180;

export class Orbit {
  /** @param {string} className @param {Node[]} over what lies over the picture @param {number} corner where the first voxel begins, in voxels */
  constructor(className, over, corner) {
    this.corner = corner;
    this.camera = start();
    /** @type {import("./solid.js").Surfaces | null} */
    this.surfaces = null;
    this.canvas = element("canvas", { class: "mitonb-picture" });
    this.again = button("refresh", "Build the surfaces again from the labels as they are now", () => this.ask());
    this.node = element("div", {
      class: className, title: "A drag or the arrows turn, Shift moves, the wheel zooms, a click selects, a double click looks at all",
      attributes: { tabindex: "0", role: "application", "aria-label": "Objects in 3-D: the arrows turn them, plus and minus zoom" },
    }, [this.canvas, ...over]);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.rest = undefined;
    this.redraw = perFrame(() => this.draw(false));
    this.roughly = perFrame(() => this.draw(true));
    this.solid = new Solid(this.canvas, () => this.follow());
    this.observer = new ResizeObserver(() => this.draw(false));
    this.observer.observe(this.node);
    this.#listen();
  }

  dispose() {
    this.observer.disconnect();
    clearTimeout(this.rest);
    this.redraw.cancel();
    this.roughly.cancel();
    this.solid.dispose();
  }

  /** Have the surfaces built from the labels as they are. */
  ask() {}

  /** Show what is known now. */
  follow() {}

  /** @param {boolean} [_moves] roughly, for it is drawn again soon */
  draw(_moves) {}

  /** @param {number} _x @param {number} _y @param {boolean} _more */
  click(_x, _y, _more) {}

  /** @returns {{shape: number[], size: number[] | null}} z, y, x */
  volume() {
    return { shape: [1, 1, 1], size: null };
  }

  /** Where the volume lies and how large a voxel is, x, y, z in nm or voxels. */
  box() {
    const { shape, size } = this.volume();
    const unit = [...(size ?? [1, 1, 1])].reverse();
    const low = unit.map((v) => this.corner * v);
    return { unit, low, high: low.map((v, k) => v + shape[2 - k] * unit[k]), middleOf: (/** @type {number[]} */ place) => unit.map((v, k) => low[k] + (place[2 - k] + 0.5) * v) };
  }

  /** How the volume lies in the picture: at first it just fits, and while it is turned its scale stays. Pixels are those of the screen a nm or voxel. */
  frame() {
    const { low, high } = this.box();
    const extent = high.map((v, k) => v - low[k]);
    const { clientWidth: w, clientHeight: h } = this.node;
    const turn = turning(start()).map(Math.abs);
    const pixels = 0.92 * this.camera.zoom * Math.min(w / along(turn, 0, extent), h / along(turn, 1, extent));
    return { w, h, radius: Math.hypot(...extent) / 2, middle: high.map((v, k) => (v + low[k]) / 2), pixels };
  }

  /** Begin a picture; false where it cannot be drawn now. @param {boolean} [moves] @param {import("./solid.js").Cut} [cut] */
  begin(moves, cut) {
    const { w, h, radius, middle, pixels } = this.frame();
    const { camera: { pan } } = this;
    // What is nearer to the viewer lies before the rest.
    return this.solid.begin(w, h, { turn: turning(this.camera), middle, pan, scale: [(2 * pixels) / w, (2 * pixels) / h, -1 / (radius * 1.01)], cut }, moves);
  }

  /**
   * The object that is seen under a point of the picture, and the voxel where it is hit, z, y, x.
   * @param {number} x @param {number} y @param {(id: number) => boolean} shows
   * @param {import("./solid.js").Cut & {axes: number[]}} [cut] with the axes of planes of the image, which hide what is behind them
   */
  under(x, y, shows, cut) {
    const { w, h, middle, pixels, radius } = this.frame();
    const turn = turning(this.camera);
    const [right, up] = [x - w / 2, h / 2 - y].map((v, row) => along(turn, row, middle) + this.camera.pan[row] + v / pixels);
    const found = this.surfaces && hit(this.surfaces, shows, turn, right, up, cut);
    const { image } = this.solid;
    const hides = (/** @type {number} */ k) => {
      const there = image && cut && hit(sheet(k, cut.at[k], image), () => true, turn, right, up);
      return found && there && along(turn, 2, there.point) > along(turn, 2, found.point) + radius * 1e-4;
    };
    if (!found || cut?.axes.some(hides)) return null;
    const [{ unit, low }, { shape }] = [this.box(), this.volume()];
    return { id: found.id, point: shape.map((n, k) => Math.min(Math.max(Math.floor((found.point[2 - k] - low[2 - k]) / unit[2 - k]), 0), n - 1)) };
  }

  moved() {
    this.roughly();
    clearTimeout(this.rest);
    this.rest = setTimeout(this.redraw, REST);
  }

  /** @param {number} yaw @param {number} pitch @param {number} [zoom] */
  turn(yaw, pitch, zoom = 1) {
    const { camera } = this;
    camera.yaw += yaw;
    camera.pitch = Math.min(Math.max(camera.pitch + pitch, -Math.PI / 2), Math.PI / 2);
    camera.zoom = Math.min(Math.max(camera.zoom * zoom, 0.5), 20);
    this.moved();
  }

  #listen() {
    const { node } = this;
    /** @type {{x: number, y: number, moved: boolean, pans: boolean} | null} */
    let drag = null;
    node.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Element && event.target.closest("button, input, select")) return;
      node.focus({ preventScroll: true });
      node.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, moved: false, pans: event.shiftKey || event.button > 0 };
      event.preventDefault();
    });
    node.addEventListener("contextmenu", (event) => event.preventDefault());
    node.addEventListener("pointermove", ({ clientX, clientY }) => {
      if (!drag) return;
      const [dx, dy] = [clientX - drag.x, clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) <= 4) return;
      drag = { ...drag, x: clientX, y: clientY, moved: true };
      if (!drag.pans) return this.turn(dx / 120, dy / 120);
      const { pixels } = this.frame();
      this.camera.pan = [this.camera.pan[0] - dx / pixels, this.camera.pan[1] + dy / pixels];
      this.moved();
    });
    node.addEventListener("pointerup", (event) => {
      const box = node.getBoundingClientRect();
      if (drag && !drag.moved && !event.button) this.click(event.clientX - box.left, event.clientY - box.top, event.ctrlKey || event.metaKey);
      drag = null;
    });
    node.addEventListener("pointercancel", () => { drag = null; });
    node.addEventListener("dblclick", () => {
      this.camera = start();
      this.redraw();
    });
    node.addEventListener("wheel", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.turn(0, 0, Math.exp(-Math.max(-120, Math.min(event.deltaY, 120)) / 300));
    }, { passive: false });
    node.addEventListener("keydown", (event) => {
      const by = BY_KEY[event.key];
      if (!by || event.target !== node) return;
      this.turn(...by);
      event.preventDefault();
      event.stopPropagation();
    });
  }
}
