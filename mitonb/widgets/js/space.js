// Objects in 3-D beside the planes: surfaces that the kernel sent, turned by a drag, with the place that the planes go through.

import { slotOf } from "./colors.js";
import { element } from "./dom.js";
import { Orbit } from "./orbit.js";
import { collector } from "./packs.js";
import { surfacesOf } from "./solid.js";

/** @typedef {import("./solid.js").Surfaces} Surfaces */

export class Space extends Orbit {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    const [text, state] = [element("span", { attributes: { role: "status" } }), element("div", { class: "mitonb-chip-bar" })];
    super("mitonb-pane mitonb-space", [element("span", { class: "mitonb-tag", text: "3-D" }), element("div", { class: "mitonb-states" }, [state])], 0);
    state.append(text, this.again);
    this.view = view;
    this.state = state;
    this.text = text;
    /** What is said of the surfaces. */
    this.news = { text: "", again: false };
    /** What objects would become, in place of what they are. @type {Surfaces | null} */
    this.proposed = null;
    this.collect = collector();
    view.ui.panes.append(this.node);
    this.ask();
  }

  dispose() {
    super.dispose();
    this.node.remove();
  }

  ask() {
    this.#say("building surfaces …");
    if (this.solid.gl) this.view.tell({ kind: "surfaces" });
  }

  /** Labels changed since. */
  age() {
    if (this.surfaces) this.#say("labels changed", true);
  }

  /** Nothing is proposed any more. */
  withdraw() {
    this.proposed = null;
    this.solid.hold("proposed", null);
    this.redraw();
  }

  /** @param {any} m a piece, or why there is none @param {DataView[]} buffers */
  take(m, [data]) {
    const head = m.failed ? null : this.collect(m, data);
    if (m.failed) this.#say(m.failed, true);
    if (!head) return;
    const surfaces = surfacesOf(head);
    if (m.what === "objects") {
      this.solid.hold("objects", this.surfaces = surfaces);
      this.#say(surfaces.parts.length ? "" : "no objects yet", !surfaces.parts.length);
    } else if (this.view.store.proposal) {  // else it was taken or left while it was built
      this.solid.hold("proposed", this.proposed = surfaces);
      this.redraw();
    }
  }

  /** @param {string} text @param {boolean} [again] */
  #say(text, again = false) {
    this.news = { text, again };
    this.follow();
  }

  follow() {
    const { news, solid: { why } } = this;
    this.text.textContent = why || news.text;
    this.state.hidden = !this.text.textContent;
    this.again.hidden = !!why || !news.again;
    this.redraw();
  }

  volume() {
    const { info } = this.view.store;
    return { shape: info?.shape ?? [1, 1, 1], size: info?.voxel_size ?? null };
  }

  /** @param {boolean} [moves] */
  draw(moves) {
    const { solid, view } = this;
    const { info } = view.store;
    if (!info || !this.begin(moves)) return;
    const now = new Set(this.proposed?.parts.map(({ id }) => id));
    const chosen = new Set(view.get("selected"));
    const color = (/** @type {number} */ id) => info.palette[slotOf(id, info)].map((v) => (chosen.has(id) ? 0.4 * v + 153 : v));
    solid.paint("objects", (id) => (view.seen.shows(id) && !now.has(id) ? color(id) : null));
    solid.paint("proposed", color);
    solid.surfaces("objects");
    solid.surfaces("proposed");
    solid.edges(this.box());
    if (view.place) {
      const { high, middleOf } = this.box();
      const place = middleOf(view.place);
      const cross = [0, 1, 2].flatMap((k) => [0, high[k]].flatMap((v) => place.map((p, i) => (i === k ? v : p))));
      solid.lines(cross, 0.75);
    }
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    const found = this.under(x, y, this.view.seen.shows);
    if (!found) return;
    this.view.set("selected", [found.id]);
    this.view.visit(found.point);
  }
}
