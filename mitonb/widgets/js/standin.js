// A page without a kernel (mn.snapshot): a stand-in for the widget model that answers from what the page brings itself.

import { Store } from "./store.js";
import { View } from "./view.js";

/**
 * @typedef {{h: number, w: number, coding: "jpeg" | "zlib", data: string, step?: number, peaks?: [number, number][]}} KeptPart  data in base64
 * @typedef {{
 *   traits: Record<string, any>, hello: Record<string, any>, colors: string, axes: string[],
 *   parts: Record<string, KeptPart>, objects: [number, number[], number[]][],
 * }} Kept  parts by "image/xy/17"; objects as id, start and stop of their boxes
 */

const ONLY = "This is a snapshot: planes can be looked at, and nothing can be changed or computed.";
/** What can be answered by silence. */
const SILENT = ["move", "at", "here", "peek", "why", "noted"];

/** @param {string} text base64 */
const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** The grey values of a compressed picture. @param {KeptPart} part */
async function greyOf({ data, w, h }) {
  const picture = await createImageBitmap(new Blob([bytesOf(data)]), { colorSpaceConversion: "none" });
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(w, h).getContext("2d"));
  context.drawImage(picture, 0, 0);
  const { data: colors } = context.getImageData(0, 0, w, h);
  return Uint8Array.from({ length: w * h }, (_, i) => colors[4 * i]);
}

export class StandIn {
  /** @param {Kept} kept */
  constructor(kept) {
    this.kept = kept;
    this.traits = { ...kept.traits };
    /** @type {Map<string, ((...args: any[]) => void)[]>} */
    this.heard = new Map();
  }

  /** @param {string} name */
  get(name) {
    return this.traits[name];
  }

  /** @param {string | Record<string, any>} name @param {any} [value] */
  set(name, value) {
    const news = typeof name === "string" ? { [name]: value } : name;
    const refused = this.#refusal(news);
    if (refused) {
      this.#post({ kind: "notice", text: refused });
      return;
    }
    const changed = Object.keys(news).filter((key) => news[key] !== this.traits[key]);
    Object.assign(this.traits, news);
    for (const key of changed) this.#tell(`change:${key}`);
  }

  save_changes() {}

  /** @param {string} name @param {(...args: any[]) => void} act */
  on(name, act) {
    this.heard.set(name, [...(this.heard.get(name) ?? []), act]);
  }

  /** A page is closed, never left. */
  off() {}

  /** @param {any} message */
  send(message) {
    // A kernel never answers before it was asked.
    setTimeout(() => this.#answer(message));
  }

  /** @param {Record<string, any>} news */
  #refusal({ axis, panes, tool }) {
    const { axes } = this.kept;
    if (axis !== undefined && !axes.includes(axis)) return `This snapshot holds planes in ${axes.join(", ")} alone.`;
    return panes === 4 || !["look", undefined].includes(tool) ? ONLY : "";
  }

  /** @param {string} name @param {any[]} given */
  #tell(name, ...given) {
    for (const act of this.heard.get(name) ?? []) act(...given);
  }

  /** @param {Record<string, any>} message @param {Uint8Array[]} buffers */
  #post(message, ...buffers) {
    this.#tell("msg:custom", message, buffers.map((bytes) => new DataView(bytes.buffer)));
  }

  /** @param {any} m */
  async #answer(m) {
    if (m.kind === "hello") {
      this.#post({ kind: "colors" }, bytesOf(this.kept.colors));
      const { hello, axes } = this.kept;
      this.#post({ ...hello, info: { ...hello.info, axes }, client: m.client, last: 0 });
    } else if (m.kind === "want") {
      for (const part of m.parts) await this.#send(part, m);
    } else if (m.kind === "step") {
      this.#step(m.to === "next" ? 1 : -1);
    } else if (m.kind === "zoom") {
      this.#zoom(m.id ? [m.id] : this.traits.selected);
    } else if (!SILENT.includes(m.kind)) {
      this.#post({ kind: "notice", text: ONLY });
    }
  }

  /** @param {string} part @param {{client: string, req: number, axis: string, index: number}} question */
  async #send(part, { client, req, axis, index }) {
    const head = { kind: "part", client, req, part, axis, index, seq: 0 };
    const found = this.kept.parts[`${part}/${axis}/${index}`];
    if (!found) {
      this.#post({ ...head, empty: true });
      return;
    }
    const { data, coding, ...facts } = found;
    const grey = coding === "jpeg";
    const bytes = grey ? await greyOf(found) : bytesOf(data);
    this.#post({ ...head, ...facts, coding: grey ? "raw" : coding, y0: 0, rows: facts.h, last: true }, bytes);
  }

  /** To the next object by number, or the one before. @param {number} by */
  #step(by) {
    const { objects } = this.kept;
    if (!objects.length) return;
    const here = this.traits.selected.at(-1) ?? 0;
    const at = by > 0 ? objects.findIndex(([id]) => id > here) : objects.findLastIndex(([id]) => id < here);
    const [id] = objects.at(at < 0 && by > 0 ? 0 : at) ?? [0];
    this.set("selected", [id]);
    this.#zoom([id]);
  }

  /** @param {number[]} ids */
  #zoom(ids) {
    const boxes = this.kept.objects.filter(([id]) => ids.includes(id));
    if (!boxes.length) {
      this.#post({ kind: "notice", text: ids.length === 1 ? `There is no object ${ids[0]} here.` : "Select objects first: click on them.", error: true });
      return;
    }
    const start = [0, 1, 2].map((k) => Math.min(...boxes.map((box) => box[1][k])));
    const stop = [0, 1, 2].map((k) => Math.max(...boxes.map((box) => box[2][k])));
    const point = start.map((low, k) => Math.floor((low + stop[k]) / 2));
    this.set("index", point[["xy", "xz", "yz"].indexOf(this.traits.axis)]);
    this.#post({ kind: "center", point, box: { start, stop } });
  }
}

/** Show what a page has kept. @param {HTMLElement} el @param {Kept} kept */
export function showKept(el, kept) {
  const model = new StandIn(kept);
  return new View(new Store(model), model, el);
}
