// How the kernel hears of traits that were set here: at once, a little later, or before the next press.

import { perFrame } from "./dom.js";

const PRESSES = ["click", "keydown"];

export class Traits {
  /** @param {import("./store.js").Model} model @param {(message: Record<string, any>) => void} send */
  constructor(model, send) {
    this.model = model;
    this.send = send;
    // Traits set in one frame go to the kernel together.
    this.save = perFrame(() => this.flush());
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.later = undefined;
    /** The plane that was scrolled to and that the kernel has not been told yet. @type {number | undefined} */
    this.wanted = undefined;
    /**
     * Whether the user went to another plane since the last message. Where the kernel went itself it need not hear: Jupyter
     * may give two messages to two threads, and one of an older plane, come late, would take back the kernel's next move.
     */
    this.untold = false;
    // A button elsewhere on the page acts on the plane that the kernel knows: it must be the one on screen.
    this.pressed = (/** @type {Event} */ event) => {
      if (!(event instanceof KeyboardEvent) || event.key === "Enter" || event.key === " ") this.tell();
    };
    for (const type of PRESSES) addEventListener(type, this.pressed, true);
  }

  dispose() {
    clearTimeout(this.later);
    for (const type of PRESSES) removeEventListener(type, this.pressed, true);
  }

  /** Remember that the user went to a plane. @param {number} index */
  went(index) {
    this.wanted = index;
    this.untold = true;
  }

  /** To the kernel, now. */
  flush() {
    clearTimeout(this.later);
    this.later = undefined;
    this.wanted = undefined;
    this.model.save_changes();
  }

  /** To the kernel soon: while planes fly by, it need not hear of each. @param {number} speed planes per second */
  saveSoon(speed) {
    if (speed < 4) this.save();
    else this.later ??= setTimeout(() => this.flush(), 120);
  }

  /** The plane on screen, before whatever is sent next: Jupyter may hold traits back, but never messages. */
  tell() {
    if (!this.untold) return;
    this.untold = false;
    this.flush();
    this.send({ kind: "at", axis: this.model.get("axis"), index: this.model.get("index") });
  }
}
