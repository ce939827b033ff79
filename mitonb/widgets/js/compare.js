// Two label sets on one picture: curtain, blink and difference. The second set is only shown; labels never change by it.

import { button, element, iconButton } from "./dom.js";
import { ICONS } from "./icons.js";

export const WAYS = /** @type {const} */ (["curtain", "blink", "difference"]);
/** What differs, in colours that colour-blind people tell apart, too. */
export const DIFFERENCES = /** @type {const} */ ([["now", "#56b4e9", "only now"], ["then", "#e69f00", "only before"], ["both", "#cc79a7", "another object"]]);
const BLINK = 700;
const STEP = 0.02;

/** The way after another one; "" after the last. @param {string} way */
export function nextWay(way) {
  return WAYS[WAYS.indexOf(/** @type {any} */ (way)) + 1] ?? "";
}

/** The other label set at a pixel, in words. @param {number} now @param {number} then @param {string} name */
export function otherText(now, then, name) {
  if (now === then) return "";
  return `${name}: ${then ? (now ? "another object" : "an object") : "background"}`;
}

export class Comparison {
  /**
   * @param {{
   *   way: () => string, name: () => string, redraw: () => void, set: (way: string) => void, leave: () => void,
   * }} facts  the way of comparing ("" is none), what the other labels are called, and how to end it
   */
  constructor(facts) {
    this.facts = facts;
    /** Where the curtain hangs, from 0 to 1; left of it are the labels as they are. */
    this.at = 0.5;
    /** Which set blinking shows. */
    this.then = false;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    this.line = element("div", {
      class: "mitonb-divider", title: "Drag, or move with the arrows",
      attributes: { role: "slider", tabindex: "0", "aria-label": "Curtain between two label sets", "aria-valuemin": "0", "aria-valuemax": "100" },
    });
    this.sides = [element("span"), element("span")];
    this.line.append(...this.sides);
    this.ways = WAYS.map((way) => button(way, "", () => facts.set(way)));
    this.text = element("span", { attributes: { role: "status" } });
    this.swap = button("swap", "Show the other one (Shift-A)", () => this.turn());
    this.key = element("span", { class: "mitonb-differences" }, DIFFERENCES.map(([, color, said]) => {
      const square = element("i");
      square.style.background = color;
      return element("span", {}, [square, element("span", { text: said })]);
    }));
    const end = iconButton(ICONS.close, "End the comparison (Esc)", () => facts.leave());
    this.node = element("div", { class: "mitonb-chip-bar", attributes: { role: "group", "aria-label": "Comparison" } }, [...this.ways, this.text, this.swap, this.key, end]);
    this.#listen();
    this.show();
  }

  /** Show the other set, or the first one again. By hand it stays so until the next time. */
  turn() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.#turn();
  }

  /** Follow the facts. */
  show() {
    const [way, name] = [this.facts.way(), this.facts.name()];
    this.node.hidden = !way;
    this.line.hidden = way !== "curtain";
    this.swap.hidden = way !== "blink";
    this.key.hidden = way !== "difference";
    for (const button of this.ways) button.setAttribute("aria-pressed", `${button.textContent === way}`);
    this.key.children[1].lastElementChild?.replaceChildren(`only ${name}`);
    this.sides.forEach((side, k) => { side.textContent = k ? name : "now"; });
    if (way !== "blink") this.#still();
    // Whoever wants things to keep still swaps them by hand.
    else if (!this.timer && !this.node.dataset.blinks && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.timer = setInterval(() => this.#turn(), BLINK);
    }
    this.node.dataset.blinks = way === "blink" ? "true" : "";
    this.#say();
  }

  dispose() {
    clearInterval(this.timer);
  }

  /** How many pixels of a width show the labels as they are; the rest shows the others. @param {number} width */
  edge(width) {
    return this.facts.way() === "curtain" ? this.at * width : this.then ? -1 : width + 1;
  }

  #still() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.then = false;
  }

  #turn() {
    this.then = !this.then;
    this.#say();
    this.facts.redraw();
  }

  #say() {
    const text = this.facts.way() === "blink" ? (this.then ? this.facts.name() : "now") : "";
    if (this.text.textContent !== text) this.text.textContent = text;
    this.text.hidden = !text;
    this.line.style.left = `${100 * this.at}%`;
    this.line.setAttribute("aria-valuenow", `${Math.round(100 * this.at)}`);
    this.line.setAttribute("aria-valuetext", `${Math.round(100 * this.at)} % now, the rest ${this.facts.name()}`);
  }

  /** @param {number} at */
  #move(at) {
    this.at = Math.min(Math.max(at, 0), 1);
    this.#say();
    this.facts.redraw();
  }

  #listen() {
    const { line } = this;
    line.addEventListener("pointerdown", (down) => {
      if (down.button) return;
      down.stopPropagation();
      line.focus({ preventScroll: true });
      line.setPointerCapture(down.pointerId);
    });
    line.addEventListener("pointermove", (event) => {
      if (!line.hasPointerCapture(event.pointerId)) return;
      const box = /** @type {HTMLElement} */ (line.parentElement).getBoundingClientRect();
      this.#move((event.clientX - box.left) / box.width);
    });
    line.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -STEP, ArrowRight: STEP, Home: -1, End: 1 }[event.key];
      if (!step) return;
      this.#move(this.at + step);
      event.preventDefault();
      event.stopPropagation();
    });
  }
}
