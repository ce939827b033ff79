// What the pages of one widget model share: the cache of planes, the outbox, and what the kernel has said.

import { Cache } from "./cache.js";
import { pixelOf, sheetOf } from "./geometry.js";
import { Outbox } from "./outbox.js";
import { Assembler, PROTOCOL, inflate } from "./protocol.js";
import { drawStroke, fillLasso } from "./strokes.js";
import { Traits } from "./traits.js";
import { WINDOWED, boxIn, pointsIn } from "./scope.js";
import { STEPS, Wants, around, keyOf, reachFor, wantList } from "./wants.js";

/**
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./protocol.js").Info} Info
 * @typedef {import("./protocol.js").State} State
 * @typedef {import("./scope.js").Scope} Scope
 * @typedef {import("./strokes.js").Rect} Rect
 * @typedef {{axis: string, index: number, points: number[], radius: number, rule: import("./strokes.js").Rule | null, closed?: boolean, op?: string, sides?: number[]}} Stroke
 *   without a rule it teaches, and changes no label
 * @typedef {{
 *   get: (name: string) => any, set: (name: string | Record<string, any>, value?: any) => void, save_changes: () => void,
 *   send: (content: any, callbacks?: any, buffers?: ArrayBuffer[]) => void,
 *   on: (name: string, callback: (...args: any[]) => void) => void,
 *   off: (name?: string | null, callback?: ((...args: any[]) => void) | null) => void,
 * }} Model
 */

/** Seconds without an answer until the user is told. */
const PATIENCE = 10;
// JupyterLab sends messages of widgets to a thread of the kernel, and goes on doing so when a new kernel has none.
const SILENT = "The kernel does not answer. If it is busy, wait. If it was restarted from elsewhere, reload this page in the browser; saved edits are kept.";
const CACHE_BYTES = 384 * 2 ** 20;
/** Parts that every plane has; the others are asked for only where the kernel said that there are some. */
const PLAIN = ["image", "labels"];
/** Strokes longer than this are sent in pieces, so that no message comes near the limit of 1 MB. */
export const LONGEST = 20000;

/**
 * All stores of this page, also of notebooks whose kernel is gone: each module is loaded once for each widget, so they
 * meet in the window. @type {Set<Store>}
 */
const STORES = (/** @type {any} */ (globalThis)[Symbol.for("mitonb.stores")] ??= new Set());

export class Store extends EventTarget {
  /** @param {Model} model */
  constructor(model) {
    super();
    this.model = model;
    this.client = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    /** @type {Info | null} */
    this.info = null;
    /** How often this page has said hello without an answer; whether the user knows that the kernel is silent. */
    this.hellos = 0;
    this.silent = false;
    /** @type {State} */
    this.state = { save: { kind: "saving", text: "connecting" }, can_undo: false, can_redo: false, read_only: false, fresh: 0, listens: false, project: "", kernel: "" };
    this.seq = 0;
    /** Slots of objects whose colour is not that of their hash. @type {Map<number, number>} */
    this.moved = new Map();
    this.direction = 1;
    /** Planes per second that are scrolled, and ms that an answer takes: both smoothed. */
    this.speed = 0;
    this.wait = 100;
    this.scrolled = -Infinity;
    this.counters = { received: 0, largestIn: 0, largestOut: 0, sent: 0, planes: 0, strokes: 0, resent: 0, waitMs: /** @type {number[]} */ ([]) };
    /** @type {Cache<Entry>} */
    this.cache = new Cache(CACHE_BYTES);
    this.assembler = new Assembler();
    this.outbox = new Outbox({ client: this.client, transmit: (m, b) => this.send(m, b) });
    /** The outboxes that this store empties: its own, and those of a kernel that is gone. @type {Outbox[]} */
    this.outboxes = [this.outbox];
    this.wants = new Wants({
      ask: (want, req) =>
        this.send({
          kind: "want", client: this.client, req, parts: want.parts, axis: want.axis, index: want.index, step: want.scope?.step ?? want.step,
          ...(want.scope ? { window: [want.scope.top, want.scope.left, want.scope.bottom, want.scope.right] } : {}),
        }),
    });
    this.traits = new Traits(model, (message) => this.send(message));
    /** The stroke that is being drawn and not yet in the outbox. @type {Stroke | null} */
    this.open = null;
  /** Planes that have more: "semantic/xy/17", "preview/xy/17". @type {Set<string>} */
    this.extras = new Set();
    /** Where something is proposed that is no label yet. @type {{start: number[], stop: number[]} | null} */
    this.proposal = null;
    /** What the other labels are called that can be compared with; "" where there are none. */
    this.compared = "";
    /** Incoming messages are handled one after the other, though inflating takes turns. @type {Promise<void>} */
    this.queue = Promise.resolve();
    const receive = (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => this.#receive(message, buffers ?? []);
    model.on("msg:custom", receive);
    // Jupyter tells so when the kernel restarts.
    model.on("comm_live_update", () => this.#hello());
    STORES.add(this);
    this.timer = setInterval(() => this.#tick(), 1000);
    this.leave = (/** @type {BeforeUnloadEvent} */ event) => {
      if (this.waiting) event.preventDefault();
    };
    addEventListener("beforeunload", this.leave);
    this.#hello();
  }

  dispose() {
    clearInterval(this.timer);
    if (!this.waiting) STORES.delete(this);
    this.traits.dispose();
    removeEventListener("beforeunload", this.leave);
    this.model.off("msg:custom", null);
  }

  /** @param {Record<string, any>} message @param {ArrayBuffer[]} [buffers] */
  send(message, buffers = []) {
    // Whoever acts on a message must know the plane that it was sent from.
    if (message.kind !== "want") this.traits.tell();
    const bytes = buffers.reduce((sum, b) => sum + b.byteLength, 0) + JSON.stringify(message).length;
    this.counters.sent += 1;
    this.counters.largestOut = Math.max(this.counters.largestOut, bytes);
    this.model.send(message, undefined, buffers);
  }

  /** Edits without an answer. */
  get waiting() {
    return this.outboxes.reduce((sum, box) => sum + box.size, 0);
  }

  get late() {
    return this.outboxes.some((box) => box.late);
  }

  /** @param {string} name @param {any} [detail] */
  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // --- looking -----------------------------------------------------------------------------------------------------

  /**
   * The cached part of a plane, if there is one; of images the finest, of huge planes the first of some windows.
   * @param {string} part @param {string} axis @param {number} index @param {import("./scope.js").Scope[] | null} [scopes]
   */
  get(part, axis, index, scopes) {
    if (scopes && WINDOWED.includes(part)) {
      const key = scopes.map((scope) => keyOf(part, axis, index, 1, scope)).find((one) => this.cache.peek(one));
      return key ? this.cache.get(key) : undefined;
    }
    for (const step of part === "image" ? STEPS : [1]) {
      const entry = this.cache.get(keyOf(part, axis, index, step));
      if (entry) return entry;
    }
    return undefined;
  }

  /**
   * Say what is looked at: it is asked for first, then its neighbours.
   * @param {string} axis @param {number} index @param {string[]} parts @param {number} step of images
   * @param {boolean} still nobody scrolls: the finest image of the plane itself is wanted too
   * @param {{axis: string, index: number, step: number, scope?: Scope | null, overview?: Scope | null}[]} [beside] planes of other directions that are seen, too
   * @param {Scope | null} [scope] the window of a huge plane @param {Scope | null} [overview] all of it, coarsely
   * @param {boolean} [held] it is not being moved: windows of its neighbours are wanted, too
   */
  look(axis, index, parts, step, still, beside = [], scope = null, overview = null, held = true) {
    if (!this.info) return;
    const { count, w, h } = sheetOf(this.info.shape, null, axis);
    const pixels = scope ? ((scope.bottom - scope.top) / scope.step) * ((scope.right - scope.left) / scope.step) : w * h;
    // Around a huge plane fewer neighbours fit into the cache without pushing out the plane itself.
    const most = Math.max(0, Math.floor((CACHE_BYTES / (pixels * 6) - 1) / 3));
    const reach = reachFor(still ? 0 : this.speed, this.wait, most);
    const planes = held ? around(index, count, this.direction, reach) : [index];
    const missing = (/** @type {string} */ part, /** @type {number} */ i) => this.#missing(part, axis, i, step, scope);
    /** @type {import("./wants.js").Want[]} */
    const list = wantList(axis, planes, parts, step, missing).map((want) => ({ ...want, scope }));
    if (scope && overview) {
      // At once where there is nothing to see yet, else when there is time.
      const whole = { axis, index, parts: ["image", "labels"].filter((part) => this.#missing(part, axis, index, overview.step, overview)), step: 1, scope: overview };
      if (whole.parts.length) list.splice(still && this.get("image", axis, index, [scope]) ? list.length : 0, 0, whole);
    }
    if (still && !scope && step > 1 && this.#missing("image", axis, index, 1)) {
      list.splice(list[0]?.index === index ? 1 : 0, 0, { axis, index, parts: ["image"], step: 1 });
    }
    const others = beside.flatMap((one) => {
      const list = wantList(one.axis, [one.index], parts, one.step, (part, i) => this.#missing(part, one.axis, i, one.step, one.scope));
      return list.map((want) => ({ ...want, scope: one.scope }));
    });
    list.splice(list[0]?.index === index ? 1 : 0, 0, ...others);
    this.wants.set(list);
  }

  /** Planes are being scrolled, by so many. @param {number} by */
  scroll(by) {
    const now = performance.now();
    const speed = Math.abs(by) <= 4 ? Math.abs(by) / Math.max((now - this.scrolled) / 1000, 0.02) : 0;
    this.speed += (Math.min(speed, 60) - this.speed) / 4;
    this.scrolled = now;
    this.direction = by > 0 ? 1 : -1;
  }

  /** @param {string} part @param {string} axis @param {number} index @param {number} step @param {Scope | null} [scope] */
  #missing(part, axis, index, step, scope) {
    if (part === "other" ? !this.compared : part === "proposal" ? !this.#proposedOn(axis, index) : !PLAIN.includes(part) && !this.extras.has(`${part}/${axis}/${index}`)) return false;
    if (scope && WINDOWED.includes(part)) return this.cache.peek(keyOf(part, axis, index, 1, scope))?.stale ?? true;
    const steps = part === "image" ? STEPS.filter((s) => s <= step) : [1];
    const known = steps.map((s) => this.cache.peek(keyOf(part, axis, index, s))).find(Boolean);
    return !known || known.stale;
  }

  // --- correcting --------------------------------------------------------------------------------------------------

  /** The cached labels of a plane: one entry, or its windows. @param {string} axis @param {number} index @returns {Entry[]} */
  labelsOf(axis, index) {
    /** @type {Entry[]} */
    const found = [];
    this.cache.forEach((entry) => { if (entry.part === "labels" && entry.axis === axis && entry.index === index) found.push(entry); });
    return found;
  }

  /**
   * Draw a piece of a stroke into the cached labels.
   * @param {Stroke} stroke @param {Entry[]} [entries] by default all of its plane @returns {Rect | null} in pixels of the plane
   */
  draw(stroke, entries = this.labelsOf(stroke.axis, stroke.index)) {
    const { rule } = stroke;
    /** @type {Rect | null} */
    let all = null;
    for (const entry of rule ? entries : []) {
      if (entry.empty || entry.step > 1 || !rule) continue;
      const [x0, y0] = [entry.scope?.left ?? 0, entry.scope?.top ?? 0];
      const plane = { data: /** @type {Uint32Array} */ (entry.data), w: entry.w, h: entry.h, x0, y0 };
      const points = entry.scope ? pointsIn(entry, stroke.points) : stroke.points;
      const box = stroke.closed ? fillLasso(plane, points, rule) : drawStroke(plane, points, stroke.radius, rule, stroke.sides);
      if (box.x1 <= box.x0 || box.y1 <= box.y0) continue;
      const moved = { x0: box.x0 + x0, y0: box.y0 + y0, x1: box.x1 + x0, y1: box.y1 + y0 };
      all = all ? { x0: Math.min(all.x0, moved.x0), y0: Math.min(all.y0, moved.y0), x1: Math.max(all.x1, moved.x1), y1: Math.max(all.y1, moved.y1) } : moved;
    }
    return all;
  }

  /** Hand a finished stroke to the kernel. @param {Stroke} stroke @param {Record<string, any>} fields */
  commit(stroke, fields) {
    const points = new Int32Array(stroke.points);
    const { axis, index, radius } = stroke;
    const size = { axis, index, radius, points: points.length / 2 };
    const entry = this.outbox.add({ ...size, seen: this.seq, ...fields }, [points.buffer]);
    /** @type {any} */ (entry).stroke = stroke;
    this.counters.strokes += 1;
    this.emit("save");
  }

  /** Show what the kernel has where a stroke was drawn that it never had. @param {Stroke} stroke */
  drop({ axis, index }) {
    for (const drawn of this.labelsOf(axis, index)) {
      drawn.stale = true;
      if (drawn.step === 1) this.wants.first({ axis, index, parts: ["labels"], step: 1, scope: drawn.scope });
    }
  }

  /** Any other edit. @param {Record<string, any>} fields */
  edit(fields) {
    this.outbox.add({ seen: this.seq, ...fields });
    this.emit("save");
  }

  /** Strokes that teach, and of which the kernel has not told yet. @returns {Stroke[]} */
  get teaching() {
    const sent = this.outboxes.flatMap((box) => box.entries).map((e) => /** @type {any} */ (e).stroke);
    return [...sent, this.open].filter((stroke) => stroke && !stroke.rule);
  }

  // --- hearing -----------------------------------------------------------------------------------------------------

  #hello() {
    try {
      this.send({ kind: "hello", client: this.client, protocol: PROTOCOL });
      this.outbox.cut = false;
    } catch {
      // No comm yet or no more: #tick says hello again.
      this.outbox.cut = Boolean(this.info);
      this.emit("save");
    }
  }

  /**
   * Send what was drawn into this project while its kernel was gone. It keeps the numbers of its page, by which the
   * project knows what had reached it before.
   */
  #inherit() {
    const { project, kernel, read_only } = this.state;
    for (const store of STORES) {
      if (!project || store.state.project !== project || store.state.kernel === kernel || !store.waiting) continue;
      if (read_only) {
        this.emit("notice", { text: `${edits(store.waiting)} made while the kernel was gone cannot be sent: these labels are read-only here.`, error: true });
        continue;
      }
      this.emit("notice", { text: `${edits(store.waiting)} made while the kernel was gone ${store.waiting > 1 ? "are" : "is"} sent now.` });
      const waiting = store.outboxes.filter((box) => box.size);
      // What is drawn there later waits in its own outbox.
      store.outboxes = store.outboxes.filter((box) => !box.size);
      for (const box of waiting) {
        // Changes are counted anew by each kernel, and of this one's it had seen none.
        for (const entry of box.entries) if ("seen" in entry.message) entry.message.seen = 0;
        box.transmit = (m, b) => this.send(m, b);
        this.outboxes.push(box);
        this.send({ kind: "hello", client: box.client, protocol: PROTOCOL, first: box.entries[0].cseq });
        box.gap(0);
      }
    }
  }

  #tick() {
    if (!this.info) {
      this.#hello();
      this.hellos += 1;
    }
    const silent = this.info ? this.wants.lost > 0 : this.hellos > PATIENCE;
    if (silent !== this.silent) this.emit("notice", silent ? { text: SILENT, error: true } : { text: "The kernel answers again." });
    this.silent = silent;
    for (const box of this.outboxes) if (box.tick()) this.counters.resent += 1;
    this.wants.pump();
    this.emit("save");
  }

  /** @param {any} message @param {DataView[]} buffers */
  #receive(message, buffers) {
    const bytes = buffers.reduce((sum, b) => sum + b.byteLength, 0) + JSON.stringify(message).length;
    this.counters.received += 1;
    this.counters.largestIn = Math.max(this.counters.largestIn, bytes);
    this.queue = this.queue.then(() => this.#handle(message, buffers)).catch((error) => {
      this.emit("notice", { text: `The viewer could not read a message: ${error.message}`, error: true });
    });
  }

  /** @param {any} m @param {DataView[]} buffers */
  async #handle(m, buffers) {
    if (m.save) {
      const { save, can_undo, can_redo, read_only, fresh, listens, project, kernel } = m;
      this.state = { save, can_undo, can_redo, read_only, fresh, listens, project, kernel };
      if (this.info && `${this.info.voxel_size}` !== `${m.voxel_size}`) {
        this.info.voxel_size = m.voxel_size;
        this.emit("resized");
      }
    }
    const own = m.client === this.client;
    const box = this.outboxes.find((b) => b.client === m.client);
    if (m.kind === "state") {
      if (m.info && own) {
        this.info = { ...m.info, moved: this.moved };
        this.seq = m.seq;
        this.extras = new Set(m.extras);
        this.compared = m.compared;
        this.outbox.next = Math.max(this.outbox.next, m.last + 1);
        this.emit("info");
        this.#inherit();
      }
    } else if (m.kind === "part") {
      if (m.client === "" && !m.empty && m.part === "preview") this.extras.add(`preview/${m.axis}/${m.index}`);
      if (own || m.client === "") await this.#part(m, buffers);
    } else if (m.kind === "changed") {
      await this.#changed(m, buffers);
    } else if (m.kind === "compared") {
      this.compared = m.name;
      this.cache.forEach((entry, key) => { if (entry.part === "other") this.cache.delete(key); });
      this.emit("compared");
    } else if (m.kind === "surfaces") {
      this.emit("surfaces", { m, buffers });
    } else if (m.kind === "stale") {
      this.#stale(m);
    } else if (m.kind === "colors") {
      this.#colors(buffers[0]);
    } else if (m.kind === "ack" && box) {
      box.settle(m.cseq);
    } else if (m.kind === "gap" && box) {
      box.gap(m.expected);
    } else if (m.kind === "proposal" || (m.kind === "nack" && m.ask)) {
      this.#proposed(m, own);
    } else if (m.kind === "nack" && box) {
      this.#refused(m, box);
    } else if (m.kind === "where") {
      this.send({ kind: "here", client: this.client, question: m.question });
    } else if (["notice", "center", "foreseen"].includes(m.kind) || (["why", "note"].includes(m.kind) && own)) {
      this.emit(m.kind, m);
    }
    this.emit("save");
  }

  /** @param {import("./protocol.js").PartMessage} m @param {DataView[]} buffers */
  async #part(m, buffers) {
    this.wants.touch(m.req);
    const entry = await this.assembler.add(m, buffers);
    if (!entry) return;
    this.#arrived(m.req, m.part);
    const key = keyOf(entry.part, entry.axis, entry.index, entry.step, entry.scope);
    const old = this.cache.peek(key);
    // Cut before an edit that we have heard of already: ask again, and keep what is there meanwhile.
    entry.stale = entry.part === "labels" && entry.seq < this.#lastChange(entry.axis, entry.index);
    if (entry.stale) this.wants.first({ axis: entry.axis, index: entry.index, parts: ["labels"], step: 1, scope: entry.scope });
    if (old && entry.part === "labels" && (entry.stale || entry.seq < old.seq)) return;
    this.counters.planes += entry.part === "image" ? 1 : 0;
    this.cache.set(key, entry, entry.data.byteLength + 200);
    if (entry.part === "labels") this.#restamp(entry);
    this.emit("part", entry);
  }

  /** @param {number} request @param {string} part */
  #arrived(request, part) {
    const wait = this.wants.done(request, part);
    if (wait === undefined) return;
    this.counters.waitMs.push(wait);
    if (this.counters.waitMs.length > 500) this.counters.waitMs.shift();
    this.wait += (wait - this.wait) / 8;
  }

  /** Changes that came lately, for planes that were cut before them. @type {{seq: number, start: number[], stop: number[]}[]} */
  #changes = [];

  /** @param {string} axis @param {number} index */
  #lastChange(axis, index) {
    return this.#changes.reduce((last, c) => {
      const a = pixelOf(axis, c.start).index;
      const b = pixelOf(axis, c.stop).index;
      return index >= a && index < b ? Math.max(last, c.seq) : last;
    }, 0);
  }

  /** @param {any} m @param {DataView[]} buffers */
  async #changed(m, buffers) {
    this.seq = Math.max(this.seq, m.seq);
    this.#changes.push({ seq: m.seq, start: m.start, stop: m.stop });
    if (this.#changes.length > 500) this.#changes.shift();
    const patched = m.patch ? this.labelsOf(m.patch.axis, m.patch.index).filter((entry) => entry.step === 1) : [];
    /** @type {Entry[]} */
    const touched = [];
    this.cache.forEach((entry) => {
      if (entry.part !== "labels" || patched.includes(entry)) return;
      const a = pixelOf(entry.axis, m.start).index;
      const b = pixelOf(entry.axis, m.stop).index;
      if (entry.index >= a && entry.index < b) {
        entry.stale = true;
        touched.push(entry);
      }
    });
    if (this.info) this.info.empty = this.info.empty && m.what === "undo";
    if (patched.length) await this.#patch(m, buffers, patched);
    const moved = m.start.every((/** @type {number} */ v, /** @type {number} */ i) => v < m.stop[i]);
    this.emit("changed", { what: m.what, touched, moved });
  }

  /** @param {DataView} pairs of id and slot */
  #colors(pairs) {
    // A new map each time: the renderer sees by that whether its table is old.
    this.moved = new Map();
    for (let at = 0; at < pairs.byteLength; at += 8) this.moved.set(pairs.getUint32(at, true), pairs.getUint32(at + 4, true));
    if (this.info) this.info.moved = this.moved;
    this.emit("colors");
  }

  /** @param {any} m @param {DataView[]} buffers @param {Entry[]} entries of the plane */
  async #patch(m, buffers, entries) {
    const { y0, x0, h, w } = m.patch;
    const bytes = await inflate(buffers[0]);
    const ids = new Uint32Array(bytes.buffer, bytes.byteOffset, h * w);
    const box = { x0, y0, x1: x0 + w, y1: y0 + h };
    for (const entry of entries) {
      if (entry.empty) continue;
      const own = boxIn(entry, box);
      for (let row = own.y0; row < own.y1 && own.x0 < own.x1; row++) {
        const at = (row + (entry.scope?.top ?? 0) - y0) * w + own.x0 + (entry.scope?.left ?? 0) - x0;
        entry.data.set(ids.subarray(at, at + own.x1 - own.x0), row * entry.w + own.x0);
      }
      entry.seq = Math.max(entry.seq, m.seq);
      this.#restamp(entry);
      this.emit("patch", { entry, box });
    }
  }

  /** Strokes that the kernel has not answered yet lie above what it sent. @param {Entry} entry */
  #restamp(entry) {
    const entries = this.outboxes.flatMap((box) => box.entries);
    const waiting = entries.map((e) => /** @type {any} */ (e).stroke).filter(Boolean);
    for (const stroke of [...waiting, this.open]) {
      if (!stroke || stroke.axis !== entry.axis || stroke.index !== entry.index) continue;
      const box = this.draw(stroke, [entry]);
      if (box) this.emit("patch", { entry, box });
    }
  }

  /** @param {any} m @param {boolean} own the answer to a question of this page */
  #proposed(m, own) {
    if (m.kind === "proposal") {
      this.proposal = m.start ? { start: m.start, stop: m.stop } : null;
      this.cache.forEach((entry, key) => {
        if (entry.part !== "proposal") return;
        // What is on screen stays until the new pixels have come.
        entry.stale = true;
        if (!this.#proposedOn(entry.axis, entry.index)) this.cache.delete(key);
      });
    }
    this.emit("proposal", own ? m : { kind: m.kind, start: m.start });
  }

  /** @param {string} axis @param {number} index */
  #proposedOn(axis, index) {
    const box = this.proposal;
    return Boolean(box && pixelOf(axis, box.start).index <= index && index < pixelOf(axis, box.stop).index);
  }

  /** @param {any} m */
  #stale(m) {
    for (const part of m.parts) {
      const extra = `${part}/${m.axis}/${m.index}`;
      if (m.present.includes(part)) this.extras.add(extra);
      else this.extras.delete(extra);
    }
    this.cache.forEach((entry, key) => {
      if (m.parts.includes(entry.part) && entry.axis === m.axis && entry.index === m.index) this.cache.delete(key);
    });
    this.emit("stale", m);
  }

  /** The kernel refused: show what it has, and say why. @param {any} m @param {Outbox} box */
  #refused(m, box) {
    const entry = m.cseq ? box.settle(m.cseq) : undefined;
    if (m.req) this.wants.done(m.req);
    const stroke = /** @type {any} */ (entry)?.stroke;
    if (stroke) this.drop(stroke);
    this.emit("notice", { text: m.reason, error: true });
  }
}

/** @param {number} n */
function edits(n) {
  return n === 1 ? "1 edit" : `${n} edits`;
}
