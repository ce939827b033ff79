// The tool that says why: what decoding makes of the pixel under the pointer; and what a moved slider would change.

import { VERDICTS } from "./overlay.js";
import { crosshair, stepped } from "./split.js";

/**
 * @typedef {import("./view.js").View} View
 * @typedef {import("./tools.js").Spot} Spot
 * @typedef {{axis: string, index: number, row: number, column: number, text: string, taken: boolean,
 *   vote: [number, number] | null, centers: [number, number][]}} Answer  centers and vote as row, column
 * @typedef {{axis: string, index: number, text: string, marks: [string, "low" | "high", number, number][]}} Foreseen
 */

/** ms after which a question is taken to be lost, and ms that the pointer rests on a slider before it is asked about. */
const [LOST, RESTED] = [2000, 200];
const SIGNS = /** @type {Record<string, string>} */ ({ appear: "+", vanish: "−", merge: "∪", split: "÷" });

export class Why {
  /** What is pointed at, as the kernel is asked. @type {{axis: string, index: number, row: number, column: number} | null} */
  wanted = null;
  /** @type {Answer | null} */
  answer = null;
  /** Where the keyboard's cursor is, row and column, once an arrow was pressed. @type {[number, number] | null} */
  cursor = null;
  /** @type {Foreseen | null} */
  foreseen = null;
  /** The setting that the user is about to move. */
  field = "";
  asked = "";
  sent = -Infinity;

  /** @param {View} view */
  constructor(view) {
    this.view = view;
    const { signal } = view.off;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let rest;
    const near = (/** @type {Event} */ { target }) => {
      const side = view.frame.main?.querySelector(":scope > .mnb-side");
      const found = [target, document.activeElement].map((node) => (node instanceof Element && side?.contains(node) ? fieldOf(node) : ""));
      clearTimeout(rest);
      rest = setTimeout(() => this.#peek(found[0] || found[1]), RESTED);
    };
    document.addEventListener("pointerover", (event) => { if (!event.buttons) near(event); }, { signal });
    document.addEventListener("focusin", near, { signal });
  }

  get on() {
    return this.view.get("tool") === "why";
  }

  /** The pointer is on a pixel of a plane, or nowhere. @param {Spot | null} spot @param {string} axis @param {number} index */
  at(spot, axis, index) {
    const here = this.on && spot?.inside ? { axis, index, row: spot.row, column: spot.column } : null;
    if (keyOf(here) === keyOf(this.wanted)) return;
    this.wanted = here;
    if (here) this.#ask();
    else {
      this.asked = "";
      this.#show(null);
    }
  }

  /** Maps or recipe are new. */
  renew() {
    this.asked = "";
    if (this.wanted) this.#ask();
  }

  /** Another tool is on. */
  leave() {
    this.cursor = null;
    this.at(null, "", 0);
  }

  /** One question at a time: the pointer moves faster than the kernel answers. */
  #ask() {
    const { view, wanted } = this;
    if (!wanted || keyOf(wanted) === this.asked || performance.now() - this.sent < LOST || view.store.outbox.cut) return;
    this.asked = keyOf(wanted);
    this.sent = performance.now();
    view.tell({ kind: "why", ...wanted });
  }

  /** @param {Answer} answer */
  told(answer) {
    this.sent = -Infinity;
    if (this.wanted && keyOf(answer) === keyOf(this.wanted)) this.#show(answer);
    this.#ask();
  }

  /** @param {Answer | null} answer */
  #show(answer) {
    this.answer = answer;
    this.#said();
  }

  /** @param {Foreseen} foreseen */
  foresaw(foreseen) {
    this.foreseen = foreseen.text ? foreseen : null;
    this.#said();
  }

  #said() {
    const { view, answer, foreseen } = this;
    const here = foreseen?.axis === view.get("axis") && foreseen?.index === view.get("index");
    const ahead = (here ? foreseen?.text ?? "" : "").replace(/(\d+) (appear|vanish|merge|split)/g, (said, _, kind) => `${SIGNS[kind]} ${said}`);
    // The words must not lie on the pixel that they are about.
    const low = answer ? view.picture.screen(answer.column, answer.row)[1] > view.picture.size.h / 2 : false;
    view.ui.showSaid([answer?.text ?? "", ...ahead.split("\n")].filter(Boolean), low);
    view.picture.redraw();
  }

  /** @param {string} field */
  #peek(field) {
    if (field === this.field || !this.view.store.state.listens || this.view.store.outbox.cut) return;
    this.field = field;
    this.view.tell({ kind: "peek", field });
  }

  /** Move the cursor, by an arrow key. @param {number} dx @param {number} dy */
  step(dx, dy) {
    this.cursor = stepped(this.view, this.cursor, dx, dy);
    this.view.follow(this.cursor);
  }

  /** Whether anything of it is to be drawn over a plane. */
  get drawn() {
    return Boolean(this.answer || this.foreseen || (this.on && this.cursor));
  }

  /**
   * The way of the offset, the centers, the cursor; and marks where a moved slider would change something.
   * @param {CanvasRenderingContext2D} c @param {string} axis @param {number} index @param {(column: number, row: number) => [number, number]} put
   */
  draws(c, axis, index, put) {
    const { answer, foreseen, cursor } = this;
    const on = (/** @type {number[]} */ [row, column]) => put(column + 0.5, row + 0.5);
    if (foreseen?.axis === axis && foreseen.index === index) {
      for (const [kind, side, row, column] of foreseen.marks) sign(c, ...on([row, column]), SIGNS[kind], side);
    }
    if (answer?.axis === axis && answer.index === index) {
      const color = VERDICTS[answer.taken ? "right" : "false"];
      const start = on([answer.row, answer.column]);
      answer.centers.slice(1).forEach((center) => ring(c, ...on(center), 6, "rgba(255,255,255,.6)"));
      if (answer.centers.length) ring(c, ...on(answer.centers[0]), 9, color);
      if (answer.vote) arrow(c, start, on(answer.vote), color);
      ring(c, ...start, 3, color);
    }
    if (this.on && cursor && axis === this.view.get("axis")) crosshair(c, ...on(cursor));
  }
}

/** The field of the recipe that an element belongs to. @param {Element} node */
function fieldOf(node) {
  const row = node.closest(".mnb-field");
  return /mnb-field-(\w+)/.exec(row?.querySelector("[class*='mnb-field-']")?.className ?? "")?.[1] ?? "";
}

/** @param {{axis: string, index: number, row: number, column: number} | null} place */
function keyOf(place) {
  return place ? [place.axis, place.index, place.row, place.column].join() : "";
}

/** Lines that are seen on light and dark. @param {CanvasRenderingContext2D} c @param {string} color @param {() => void} path */
function lines(c, color, path) {
  for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.75)", 4.5], [color, 2]])) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.beginPath();
    path();
    c.stroke();
  }
}

/** @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {number} r @param {string} color */
function ring(c, x, y, r, color) {
  lines(c, color, () => c.arc(x, y, r, 0, 2 * Math.PI));
}

/** @param {CanvasRenderingContext2D} c @param {[number, number]} from @param {[number, number]} to @param {string} color */
function arrow(c, [x, y], [u, v], color) {
  const angle = Math.atan2(v - y, u - x);
  lines(c, color, () => {
    c.moveTo(x, y);
    c.lineTo(u, v);
    for (const side of [2.6, -2.6]) {
      c.moveTo(u, v);
      c.lineTo(u + 8 * Math.cos(angle + side), v + 8 * Math.sin(angle + side));
    }
  });
}

/** A dark disc with what would happen, and a tip to the side that the slider would have to go. @param {CanvasRenderingContext2D} c
 * @param {number} x @param {number} y @param {string} text @param {"low" | "high"} side */
function sign(c, x, y, text, side) {
  const to = side === "low" ? -1 : 1;
  const color = side === "low" ? VERDICTS.right : VERDICTS.false;
  // Of an object that both ways change, the two signs stand beside each other.
  const at = x + 11 * to;
  c.fillStyle = "rgba(0,0,0,.8)";
  c.beginPath();
  c.arc(at, y, 9, 0, 2 * Math.PI);
  c.fill();
  lines(c, color, () => {
    c.arc(at, y, 9, 0, 2 * Math.PI);
    c.moveTo(at + 10 * to, y - 4);
    c.lineTo(at + 15 * to, y);
    c.lineTo(at + 10 * to, y + 4);
  });
  c.fillStyle = "#fff";
  c.font = "700 14px system-ui, sans-serif";
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(text, at, y + 0.5);
}
