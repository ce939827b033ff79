// The tool that splits an object: seeds, a line or its necks; what would come of it is shown before it is taken.

import { cssOf } from "./colors.js";
import { button, checkbox, chip, element } from "./dom.js";
import { pixelOf, voxelOf } from "./geometry.js";

/**
 * @typedef {import("./view.js").View} View
 * @typedef {import("./tools.js").Spot} Spot
 * @typedef {{points: number[][], part: number}} Seed  z, y, x of a point, or of the corners of a scribble
 * @typedef {{edit: Record<string, any>, ids: number[], owners: number[]}} Proposal
 * @typedef {{id: number, seeds: Seed[], line: number[][], lining: boolean, through: boolean, asking: boolean, proposal: Proposal | null,
 *   armed: boolean}} Shown
 */

/** Pixels between the corners of a scribble: a journal keeps each. */
const APART = 3;
/** Pixels of the screen that an arrow key moves the cursor by. */
const STRIDE = 6;

export class Splitter {
  /** @type {Seed[]} */
  seeds = [];
  /** Corners of the line to cut along, on a plane of this axis. @type {number[][]} */
  line = [];
  axis = "xy";
  lining = false;
  through = true;
  /** How many parts necks shall give; 0 leaves that to the shape, null asks for none. @type {number | null} */
  parts = null;
  /** The object that seeds, line or necks are of. */
  target = 0;
  /** Number of the last question; answers to older ones are of no use any more. */
  ask = 0;
  asking = false;
  /** @type {Proposal | null} */
  proposal = null;
  /** Where the keyboard's cursor is, row and column, once an arrow was pressed. @type {[number, number] | null} */
  cursor = null;
  /** Whether Enter sets a seed (the cursor was moved since the last one) or takes what is shown. */
  armed = false;
  /** @type {{points: number[][], more: boolean, cuts: boolean} | null} */
  drag = null;

  /** @param {View} view */
  constructor(view) {
    this.view = view;
  }

  #clear() {
    this.#drop(["seeds", "line", "parts"]);
    this.lining = this.asking = this.armed = false;
    this.proposal = this.cursor = this.drag = null;
  }

  get on() {
    return this.view.get("tool") === "split";
  }

  /** The object to split; 0 when none is chosen. */
  get id() {
    const selected = /** @type {number[]} */ (this.view.get("selected"));
    return selected.length === 1 ? selected[0] : 0;
  }

  get busy() {
    return this.seeds.length > 0 || this.line.length > 0 || this.parts !== null;
  }

  /** @returns {Shown} */
  get shown() {
    const { id, seeds, line, lining, through, asking, proposal, armed } = this;
    return { id, seeds, line, lining, through, asking, proposal, armed };
  }

  // --- pointer -----------------------------------------------------------------------------------------------------

  /** @param {{shiftKey: boolean, ctrlKey: boolean, metaKey: boolean}} event */
  begin({ shiftKey, ctrlKey, metaKey }) {
    this.drag = { points: [], more: shiftKey, cuts: this.lining || ctrlKey || metaKey };
  }

  /** @param {number[]} points row, column, row, column, ... */
  draw(points) {
    if (!this.drag) return;
    for (let i = 0; i + 1 < points.length; i += 2) this.drag.points.push([points[i], points[i + 1]]);
    this.view.picture.redraw();
  }

  end() {
    const { drag } = this;
    this.drag = null;
    if (!drag?.points.length) return;
    const [axis, index] = [this.view.get("axis"), this.view.get("index")];
    const corners = thinned(drag.points);
    const points = corners.map(([row, column]) => voxelOf(axis, index, row, column));
    if (drag.cuts && points.length > 1) this.#cut(points);
    else this.#press(points, drag.points[0], drag.more);
  }

  /** A seed, or the choice of an object. @param {number[][]} points @param {number[]} at row and column @param {boolean} more of the part before */
  #press(points, [row, column], more) {
    const { view } = this;
    const { w, h } = view.sheet;
    const under = view.idAt({ row, column, inside: row >= 0 && column >= 0 && row < h && column < w });
    if (this.lining && this.id) {
      this.#corner(points[0]);
      return;
    }
    if (under !== this.id) {
      if (this.busy && this.id) view.ui.say({ text: `That is ${under ? `object ${under}` : "background"}: a seed lies in object ${this.id}. Esc leaves it.` });
      else if (under) {
        view.set("selected", [under]);
        view.place = points[0];
      }
      return;
    }
    if (!this.id) return;
    this.#drop(["line", "parts"]);
    const last = this.seeds.at(-1)?.part ?? 0;
    this.seeds.push({ points, part: more && last ? last : last + 1 });
    this.propose();
  }

  /** One more corner of the line, which begins beside the object. @param {number[]} point */
  #corner(point) {
    if (!this.line.length) this.axis = this.view.get("axis");
    this.line = [...this.line, point];
    this.propose();
  }

  /** @param {number[][]} points */
  #cut(points) {
    if (!this.id) {
      this.view.ui.say({ text: "Click the object to cut first." });
      return;
    }
    this.#drop(["seeds", "parts"]);
    this.line = points;
    this.axis = this.view.get("axis");
    this.lining = true;
    this.propose();
  }

  /** Only one way to split at a time. @param {("seeds" | "line" | "parts")[]} others */
  #drop(others) {
    if (others.includes("seeds")) this.seeds = [];
    if (others.includes("line")) this.line = [];
    if (others.includes("parts")) this.parts = null;
  }

  // --- keys --------------------------------------------------------------------------------------------------------

  /** Do "necks", "line" or "plane". @param {string} what */
  run(what) {
    if (!this.on) this.view.run("do:split");
    if (what === "plane") {
      this.through = !this.through;
      if (this.line.length > 1) this.propose();
    } else if (what === "line") {
      this.lining = !this.lining;
      this.#drop(this.lining ? ["seeds", "parts"] : ["line"]);
      this.propose();
    } else if (!this.id) {
      this.view.ui.say({ text: "Click the object to split first." });
    } else {
      this.#drop(["seeds", "line"]);
      this.lining = false;
      // Once more: one part more than there are.
      this.parts = this.parts === null ? 0 : (this.proposal?.ids.length ?? this.parts) + 1;
      this.propose();
    }
    this.#show();
  }

  /** Enter: a seed at the cursor, or what is shown becomes so. */
  enter() {
    if (this.cursor && this.armed) {
      this.armed = false;
      const [row, column] = this.cursor;
      const point = voxelOf(this.view.get("axis"), this.view.get("index"), row, column);
      if (this.lining && this.id) this.#corner(point);
      else this.#press([point], [row, column], false);
      this.#show();
    } else if (this.proposal) {
      const { edit } = this.proposal;
      if (!this.view.commands.writable()) return;
      this.#clear();
      // What is shown stays until the labels are so, or the kernel refuses it.
      this.view.store.edit(edit);
      this.#show();
    } else if (!this.asking) this.view.ui.say({ text: "There is nothing to take yet: set a seed in each part." });
  }

  /** Move the cursor, by an arrow key. @param {number} dx @param {number} dy */
  step(dx, dy) {
    this.cursor = stepped(this.view, this.cursor, dx, dy);
    this.armed = true;
    this.view.follow(this.cursor);
    this.#show();
  }

  /** The user works elsewhere now. */
  rest() {
    this.cursor = null;
    this.armed = false;
  }

  /** Take the last seed or corner back; false when there is none. */
  back() {
    if (!this.on || !this.busy) return false;
    if (this.seeds.length) this.seeds.pop();
    else if (this.line.length) this.line = this.line.slice(0, this.line.length > 2 ? -1 : 0);
    else this.parts = null;
    this.propose();
    return true;
  }

  /** Whether the object is still the one that seeds were set in; else they go. */
  follow() {
    if (this.busy && this.id !== this.target) this.leave();
  }

  /** Leave everything as it is. */
  leave() {
    const told = this.busy;
    this.#clear();
    if (told) this.#ask({});
  }

  // --- asking ------------------------------------------------------------------------------------------------------

  /** Ask what would come of it, if there is enough to say so. */
  propose() {
    const { id, seeds, line, parts, through } = this;
    this.proposal = null;
    this.target = id;
    const groups = [...new Set(seeds.map((seed) => seed.part))].map((part) => seeds.filter((seed) => seed.part === part));
    if (groups.length > 1) this.#ask({ op: "split", id, seeds: groups.map((group) => (group.length > 1 ? group.map((seed) => seed.points) : group[0].points)) });
    else if (line.length > 1) this.#ask({ op: "cut", id, line, axis: this.axis, through });
    else if (parts !== null) this.#ask({ op: "split_at_necks", id, ...(parts ? { parts } : {}) });
    else this.#ask({});
    this.#show();
  }

  /** @param {Record<string, any>} edit */
  #ask(edit) {
    const { view } = this;
    this.ask += 1;
    this.asking = "op" in edit;
    view.tell({ kind: "propose", ask: this.ask, axis: view.get("axis"), index: view.get("index"), ...edit });
  }

  /** The kernel's answer. @param {any} m */
  told(m) {
    // What was shown is no more, because labels changed.
    if (m.kind === "proposal" && !m.start && this.proposal && this.busy) this.propose();
    if (m.ask !== this.ask || !this.asking) return;
    this.asking = false;
    this.proposal = m.reason ? null : { edit: m.edit, ids: m.ids, owners: m.owners };
    if (m.reason) this.view.ui.say({ text: m.reason, error: true });
    this.#show();
  }

  #show() {
    this.view.showState();
    this.view.picture.redraw();
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  /** Whether anything of it is to be drawn over a plane. */
  get drawn() {
    return this.on && Boolean(this.busy || this.cursor || this.drag);
  }

  /**
   * Seeds, line and cursor on a plane.
   * @param {CanvasRenderingContext2D} c @param {string} axis @param {number} index @param {(column: number, row: number) => [number, number]} put
   */
  draws(c, axis, index, put) {
    const colors = this.view.store.info;
    const here = (/** @type {number[][]} */ points) => points.map((point) => pixelOf(axis, point)).filter((at) => at.index === index);
    const on = (/** @type {{row: number, column: number}} */ { row, column }) => put(column + 0.5, row + 0.5);
    const path = (/** @type {[number, number][]} */ points, /** @type {string} */ color, /** @type {number[]} */ dash = []) => {
      for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.75)", 5], [color, 2.5]])) {
        c.strokeStyle = style;
        c.lineWidth = width;
        c.setLineDash(width < 5 ? dash : []);
        c.beginPath();
        points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
        c.stroke();
      }
      c.setLineDash([]);
    };
    for (const { points, part } of this.seeds) {
      const id = this.proposal?.owners[part - 1];
      const color = id && colors ? cssOf(id, colors) : "#fff";
      const places = here(points).map(on);
      if (places.length > 1) path(places, color);
      if (places.length) badge(c, ...places[0], `${part}`, color);
    }
    const line = here(this.line).map(on);
    if (line.length) path(line.length > 1 ? line : [line[0], line[0]], "#fff", [7, 5]);
    if (this.line.length === 1 && line.length) badge(c, ...line[0], "", "#fff");
    if (this.drag) path(this.drag.points.map(([row, column]) => on({ row, column })), "#fff", this.drag.cuts ? [7, 5] : []);
    if (this.cursor) crosshair(c, ...on({ row: this.cursor[0], column: this.cursor[1] }));
  }
}

/**
 * Where a cursor goes by an arrow key; the first one begins where the user works, else in the middle.
 * @param {View} view @param {[number, number] | null} cursor row and column @param {number} dx @param {number} dy
 * @returns {[number, number]}
 */
export function stepped(view, cursor, dx, dy) {
  const { sheet: { w, h, aspect }, picture: { camera }, place } = view;
  const begin = () => (place ? pixelOf(view.get("axis"), place) : { row: Math.floor(camera.y), column: Math.floor(camera.x) });
  const [row, column] = cursor ?? [begin().row, begin().column];
  const by = (/** @type {number} */ scale) => Math.max(1, Math.round(STRIDE / scale));
  const [y, x] = [row + Math.sign(dy) * by(camera.scale * aspect), column + Math.sign(dx) * by(camera.scale)];
  return [Math.min(Math.max(y, 0), h - 1), Math.min(Math.max(x, 0), w - 1)];
}

/** Corners of a line of pixels, some pixels apart; both ends stay. @param {number[][]} points */
export function thinned(points) {
  const kept = [points[0]];
  for (const point of points.slice(1)) {
    const [row, column] = /** @type {number[]} */ (kept.at(-1));
    if (Math.max(Math.abs(point[0] - row), Math.abs(point[1] - column)) >= APART) kept.push(point);
  }
  const last = /** @type {number[]} */ (points.at(-1));
  if (kept.length > 1 && `${kept.at(-1)}` !== `${last}`) kept.push(last);
  return kept;
}

/** A numbered disc. @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {string} text @param {string} color */
export function badge(c, x, y, text, color) {
  c.beginPath();
  c.arc(x, y, text ? 9 : 4, 0, 2 * Math.PI);
  c.fillStyle = "rgba(0,0,0,.85)";
  c.fill();
  c.strokeStyle = color;
  c.lineWidth = 2.5;
  c.stroke();
  c.fillStyle = "#fff";
  c.font = "600 11px system-ui, sans-serif";
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(text, x, y + 0.5);
}

/** @param {CanvasRenderingContext2D} c @param {number} x @param {number} y */
export function crosshair(c, x, y) {
  for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.8)", 4], ["#fff", 1.5]])) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      c.moveTo(x + 4 * dx, y + 4 * dy);
      c.lineTo(x + 14 * dx, y + 14 * dy);
    }
    c.stroke();
  }
}

/** What the bar above says and offers while the tool is on. @param {(command: string) => void} run */
export function splitBar(run) {
  const text = element("span", { attributes: { role: "status", "aria-live": "polite" } });
  const chips = element("span", { class: "mitonb-group" });
  const choice = (/** @type {string} */ name, /** @type {string} */ title, /** @type {string} */ command) => button(name, title, () => run(command), "mitonb-choice");
  const take = choice("Take", "The parts become objects (Enter); Esc leaves the object as it was", "enter");
  const necks = choice("at necks", "Where the object is narrow, or by the network's centers (Shift-S); again: one part more", "split:necks");
  const line = choice("line", "Draw a line to cut along (C, or hold Ctrl)", "split:line");
  const alone = checkbox("this plane only", "Cut on this plane; else through all planes of the object", () => run("split:plane"));
  const node = element("span", { class: "mitonb-group mitonb-split" }, [necks, line, alone.label, take, chips, text]);
  take.classList.add("mitonb-take");
  return {
    node,
    /** @param {Shown} s @param {import("./colors.js").Colors | null} colors */
    show(s, colors) {
      const said = sentence(s);
      if (text.textContent !== said) text.textContent = said;
      const ids = s.proposal ? s.proposal.ids : s.id ? [s.id] : [];
      chips.replaceChildren(...ids.slice(0, 5).map((id) => chip(id, colors ? cssOf(id, colors) : "")), ...(ids.length > 5 ? [document.createTextNode("…")] : []));
      take.disabled = !s.proposal;
      for (const one of [necks, line]) one.disabled = !s.id;
      line.setAttribute("aria-pressed", `${s.lining}`);
      alone.label.hidden = !s.lining;
      alone.input.checked = !s.through;
    },
  };
}

/** What to do next. @param {Shown} s */
export function sentence({ id, seeds, line, lining, asking, proposal, armed }) {
  if (!id) return "Click the object to split";
  if (asking) return "…";
  if (armed) return lining ? "Enter: a corner of the line here" : `Enter: seed ${new Set(seeds.map((seed) => seed.part)).size + 1} here`;
  if (proposal) return `${proposal.ids.length} parts: Enter takes, Esc leaves`;
  if (lining) return line.length === 1 ? "Now the other end" : "Draw a line across it";
  return seeds.length ? "Now a seed in another part" : "Click a seed in each part, or draw it";
}
