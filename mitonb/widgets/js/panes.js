// Planes of all three directions at once, through one place. One pane is worked in: there stands the stage with its tools;
// the others look on, and a press on one of them makes it that pane.

import { element } from "./dom.js";
import { AXES, bring, fitBox, clamp, pixelOf, sheetOf } from "./geometry.js";
import { Picture } from "./picture.js";
import { overviewOf } from "./scope.js";
import { Space } from "./space.js";
import { stepFor } from "./wants.js";

/** @typedef {{axis: string, node: HTMLElement, tag: HTMLElement, picture: Picture}} Pane */

const KIND = /** @type {Record<string, string>} */ ({ xy: "z", xz: "y", yz: "x" });

export class Panes {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    /** Empty while one plane has all the room. @type {Pane[]} */
    this.list = [];
    /** @type {Space | null} */
    this.space = null;
  }

  get on() {
    return this.list.length > 0;
  }

  /** Those that look on. */
  get beside() {
    return this.list.filter(({ axis }) => axis !== this.view.get("axis"));
  }

  /** Follow the trait. */
  show() {
    const { view } = this;
    const on = view.get("panes") === 4;
    if (on === this.on) return;
    view.ui.panes.classList.toggle("mitonb-four", on);
    // The planes go through the place where the user works.
    if (on) view.place = view.here();
    if (on) this.space = new Space(view);
    if (on) this.list = AXES.map((axis) => this.#open(axis));
    else this.dispose();
    this.turn();
  }

  dispose() {
    for (const { picture, node } of this.list) {
      picture.dispose();
      node.remove();
    }
    this.list = [];
    this.space?.dispose();
    this.space = null;
  }

  /** The index of the plane of an axis through the place. @param {string} axis */
  index(axis) {
    const { view } = this;
    return axis === view.get("axis") || !view.place ? view.get("index") : pixelOf(axis, view.place).index;
  }

  /** What to ask the kernel for besides the plane that is worked on. */
  wants() {
    return this.beside.map(({ axis, picture }) => ({
      axis, index: this.index(axis), scope: picture.scope, overview: overviewOf(this.#sheet(axis)), step: stepFor(picture.camera.scale * Math.max(1, this.#sheet(axis).aspect) * picture.unit),
    }));
  }

  /** The plane that is worked on has another axis or index. */
  turn() {
    const { view } = this;
    const axis = view.get("axis");
    view.ui.stage.dataset.pane = axis;
    if (view.place) {
      const { row, column } = pixelOf(axis, view.place);
      view.place = view.voxel(row, column);
    }
    for (const pane of this.list) {
      const index = this.index(pane.axis);
      pane.node.hidden = pane.axis === axis;
      pane.tag.textContent = `${pane.axis}  ${KIND[pane.axis]} ${index}`;
      pane.node.setAttribute("aria-label", `${pane.axis} plane ${index}; press to work on it`);
    }
    view.ui.tag.textContent = this.on ? `${axis}  ${KIND[axis]} ${view.get("index")}` : "";
    this.take();
  }

  take() {
    this.space?.redraw();
    for (const { picture } of this.beside) {
      picture.take();
      picture.redraw();
    }
  }

  redraw() {
    this.space?.redraw();
    for (const { picture } of this.beside) picture.redraw();
  }

  /** @param {import("./protocol.js").Entry} entry @param {import("./strokes.js").Rect} box */
  patch(entry, box) {
    for (const { axis, picture } of this.beside) if (axis === entry.axis) picture.patch(entry, box, false);
  }

  /** Bring the place into view, with the box of an object all of that. @param {{start: number[], stop: number[]}} [box] */
  center(box) {
    const { view } = this;
    for (const { axis, picture } of this.beside) {
      const sheet = this.#sheet(axis);
      if (box) picture.look(clamp(fitBox(box, axis, sheet, picture.size), sheet));
      if (view.place) bring(picture, axis, sheet, view.place);
    }
    this.turn();
  }

  /** @param {string} axis */
  #sheet(axis) {
    const { info } = this.view.store;
    return info ? sheetOf(info.shape, info.voxel_size, axis, info.widest) : { w: 1, h: 1, aspect: 1, count: 1 };
  }

  /** The windows of a pane, once it is there. @param {string} axis */
  #scopes(axis) {
    return this.list.find((pane) => pane.axis === axis)?.picture.scopes ?? null;
  }

  /** @param {string} axis @returns {Pane} */
  #open(axis) {
    const { view } = this;
    const { store } = view;
    const lines = element("canvas", { class: "mitonb-lines" });
    const tag = element("span", { class: "mitonb-tag" });
    const node = element("div", { class: "mitonb-pane", attributes: { "data-pane": axis, role: "img" } }, [lines, tag]);
    view.ui.panes.append(node);
    const nothing = () => {};
    const picture = new Picture(/** @type {any} */ ({ root: node, stage: node, lines, showScale: nothing, showMarks: nothing }), {
      ...view.picture.facts, axis: () => axis, index: () => this.index(axis), sheet: () => this.#sheet(axis), lasso: () => null,
      entry: (part, index = this.index(axis)) => store.get(part, axis, index, this.#scopes(axis)) ?? null, drawn: nothing,
    });
    // As large as the stage where that stands in this pane: what one sees stays where it is.
    picture.cameras = view.picture.cameras;
    picture.fitted = view.picture.fitted;
    const forward = (/** @type {PointerEvent | WheelEvent} */ event) => {
      event.preventDefault();
      event.stopPropagation();
      if (!(event instanceof WheelEvent) || event.ctrlKey || event.metaKey || view.ui.root.contains(document.activeElement)) {
        view.ui.root.focus({ preventScroll: true });
        view.turn(axis);
        view.ui.stage.dispatchEvent(event instanceof WheelEvent ? new WheelEvent(event.type, event) : new PointerEvent(event.type, event));
      }
    };
    node.addEventListener("pointerdown", forward);
    node.addEventListener("wheel", forward, { passive: false });
    node.addEventListener("pointermove", (event) => {
      const box = node.getBoundingClientRect();
      view.hoverIn(picture, event.clientX - box.left, event.clientY - box.top);
    });
    node.addEventListener("pointerleave", () => view.hoverIn(null));
    return { axis, node, tag, picture };
  }
}
