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
    /** Whether the plane on screen may be another than the last one of a message. */
    this.untold = false;
    this.turned = () => {
      this.untold = true;
    };
    model.on("change:index", this.turned);
    model.on("change:axis", this.turned);
    // A button elsewhere on the page acts on the plane that the kernel knows: it must be the one on screen.
    this.pressed = (/** @type {Event} */ event) => {
      if (!(event instanceof KeyboardEvent) || event.key === "Enter" || event.key === " ") this.tell();
    };
    for (const type of PRESSES) addEventListener(type, this.pressed, true);
  }

  dispose() {
    clearTimeout(this.later);
    for (const type of PRESSES) removeEventListener(type, this.pressed, true);
    this.model.off("change:index", this.turned);
    this.model.off("change:axis", this.turned);
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
