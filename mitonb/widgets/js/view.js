// One view of the widget: puts store, picture, bars and tools together. Several views may share a store.

import { bring, clamp, fitBox, pan, pixelOf, sheetOf, sidesOf, toScreen, voxelOf, zoomAt } from "./geometry.js";
import { GONE, guard } from "./guard.js";
import { Hand } from "./hand.js";
import { describe, idAt } from "./hover.js";
import { Commands } from "./commands.js";
import { Comparison, otherText } from "./compare.js";
import { Frame } from "./frame.js";
import { Verbs } from "./keys.js";
import { layout } from "./layout.js";
import { USUAL, histogramOf } from "./panel.js";
import { Panes } from "./panes.js";
import { Pen } from "./pen.js";
import { Picture } from "./picture.js";
import { pillOf } from "./pill.js";
import { HEADS } from "./protocol.js";
import { seenOf, seenText } from "./seen.js";
import { Splitter } from "./split.js";
import { overviewOf } from "./scope.js";
import { radiusOf } from "./strokes.js";
import { listen } from "./tools.js";
import { stepFor } from "./wants.js";
import { Why } from "./why.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./store.js").Model} Model
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./tools.js").Spot} Spot
 * @typedef {import("./gl.js").Layers} Layers
 */

const TRAITS = ["axis", "index", "tool", "brush", "active_id", "selected", "preserve", "ball", "above", "layers", "height", "running", "marks", "strokes", "hidden", "isolated", "comparison", "panes"];
/** Voxels to each side of a place that a link leads to. */
const SHOWN = 128;
/** After so many ms without scrolling the finest image is asked for too. */
const RESTED = 250;

export class View {
  /** @param {Store} store @param {Model} model @param {HTMLElement} el */
  constructor(store, model, el) {
    this.store = store;
    this.model = model;
    this.off = new AbortController();
    /** @type {[number, number] | null} */
    this.pointer = null;
    this.space = false;
    this.seen = seenOf(model.get("hidden"), model.get("isolated"));
    /** Where the user clicked last or was brought to, z, y, x: planes of the other axes go through it. @type {number[] | null} */
    this.place = null;
    /** The doubt of a review that the kernel led to, z, y, x. @type {number[] | null} */
    this.doubt = null;
    /** The place of that doubt where an object may be missing. @type {number[] | null} */
    this.missing = null;
    /** What was asked last, with the answers that it takes. @type {{text: string, answers: [string, string][], places: number[][]} | null} */
    this.question = null;
    /** The version of the labels that a shown suggestion is about. @type {number | null} */
    this.suggested = null;
    /** A pane that the pointer is in, and where. @type {{picture: Picture, at: [number, number]} | null} */
    this.over = null;
    /** When planes were scrolled last. */
    this.moved = -Infinity;
    /** When a huge plane was moved or zoomed last. */
    this.panned = -Infinity;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.rest = undefined;
    /** The image whose histogram is shown, and since when. @type {{image: Entry | null, at: number}} */
    this.binned = { image: null, at: 0 };
    this.verbs = new Verbs([]);
    this.commands = new Commands(this);
    this.run = (/** @type {string} */ command) => this.commands.run(command);
    this.ui = layout({
      run: this.run,
      set: (name, value) => {
        if (name === "index") this.go(value);
        else if (name === "axis") this.turn(value);
        else this.set(name, value);
      },
      setLayer: (name, change) => this.setLayer(name, change),
      goTo: (text) => this.commands.goTo(text),
    });
    el.append(this.ui.root);
    this.comparison = new Comparison({
      way: () => this.get("comparison"), name: () => store.compared || "before", redraw: () => this.#redraw(),
      set: (way) => this.set("comparison", way), leave: () => { this.set("comparison", ""); this.ui.root.focus({ preventScroll: true }); },
    });
    this.ui.hold(this.comparison);
    this.frame = new Frame(this.ui, { height: () => this.get("height"), setHeight: (height) => this.set("height", height) });
    this.picture = new Picture(this.ui, {
      axis: () => this.get("axis"), index: () => this.get("index"), sheet: () => this.sheet, layers: () => this.get("layers"),
      selected: () => this.get("selected"), seen: () => this.seen, comparison: () => (this.get("comparison") ? this.comparison : null), marks: () => this.get("marks"),
      taught: () => [...this.get("strokes"), ...store.teaching], info: () => store.info,
      entry: (part, index) => this.entry(part, index), sketches: () => [this.splitter, this.why, this.hand],
      cross: () => (this.panes?.on ? this.place : null), asked: () => (this.asking ? this.question?.places ?? [] : []), missing: () => (this.get("selected").length ? null : this.missing),
      lasso: () => this.hand?.line ?? null, drawn: () => this.#drawn(), looked: () => { this.panned = performance.now(); this.#look(); }, say: (message) => this.ui.say(message),
    });
    this.panes = new Panes(this);
    this.pen = new Pen(store, this.picture);
    this.splitter = new Splitter(this);
    this.why = new Why(this);
    this.hand = new Hand(this);
    /** @type {any} */ (this.ui.root).mitonb = this;
    this.#connect();
    this.#learn();
  }

  dispose() {
    this.pen.end();
    clearTimeout(this.rest);
    this.off.abort();
    this.unlisten?.();
    this.observer?.disconnect();
    this.frame.dispose();
    this.themes?.disconnect();
    this.comparison.dispose();
    for (const [name, act] of this.heard ?? []) this.model.off(name, act);
    this.panes.dispose();
    this.picture.dispose();
    this.ui.dispose();
  }

  // --- facts ---------------------------------------------------------------------------------------------------------

  /** @param {string} name */
  get(name) {
    return this.model.get(name);
  }

  /** Set a trait here at once and in the kernel soon. @param {string} name @param {any} value */
  set(name, value) {
    const { traits, speed } = this.store;
    if (name === "index") traits.went(value);
    this.model.set(name, value);
    if (name === "index") traits.saveSoon(speed);
    else traits.save();
  }

  /** @param {string} name @param {Record<string, any>} change */
  setLayer(name, change) {
    const layers = this.get("layers");
    this.set("layers", { ...layers, [name]: { ...layers[name], ...change } });
    if ("visible" in change) this.#look();
  }

  get sheet() {
    const info = this.store.info;
    return info ? sheetOf(info.shape, info.voxel_size, this.get("axis"), info.widest) : { w: 1, h: 1, aspect: 1, count: 1 };
  }

  /** Send what is of no use later; without a kernel, say so. @param {Record<string, any>} message */
  tell(message) {
    const { store, ui } = this;
    if (store.outbox.cut) ui.say({ text: GONE, error: true });
    else store.send({ ...message, client: store.client });
  }

  /** A part of the plane that is looked at, or of another one, if it is here. @param {string} part @param {number} [index] */
  entry(part, index = this.get("index")) {
    return this.store.get(part, this.get("axis"), index, this.picture?.scopes) ?? null;
  }

  /** Whether there is a map or a preview of this plane. @param {string} part */
  has(part) {
    return this.store.extras.has(`${part}/${this.get("axis")}/${this.get("index")}`);
  }

  // --- following the model -------------------------------------------------------------------------------------------

  #connect() {
    const { signal } = this.off;
    const { store, ui: { root, stage } } = this;
    const on = (/** @type {string} */ name, /** @type {(detail: any) => void} */ act) =>
      store.addEventListener(name, (event) => act(/** @type {CustomEvent} */ (event).detail), { signal });
    on("info", () => this.#learn());
    on("resized", () => {
      this.#refresh();
      this.picture.resize();
    });
    on("part", (entry) => this.#arrived(entry));
    on("patch", ({ entry, box }) => { this.picture.patch(entry, box, false); this.panes.patch(entry, box); });
    on("drawn", ({ entry, box, by }) => by !== this.pen && this.picture.patch(entry, box, false));
    on("surfaces", ({ m, buffers }) => this.panes.space?.take(m, buffers));
    on("changed", ({ moved, what }) => {
      if (what === "dismiss") this.missing = null;
      // A mark changes no voxel.
      if (moved) this.panes.space?.age();
      // What it offers to undo is no longer the last edit.
      if (this.ui.notice.dataset.offers === "true") this.ui.notice.hidden = true;
      this.#look();
    });
    on("stale", () => { this.#refresh(); this.why.renew(); });
    on("why", (m) => this.why.told(m));
    on("foreseen", (m) => this.why.foresaw(m));
    on("compared", () => { this.#look(); this.#take(); this.showState(); });
    on("proposal", (m) => {
      if (!store.proposal) this.panes.space?.withdraw();
      this.splitter.told(m);
      if (!m.start) this.suggested = null;
      this.#look();
      // Where there is something new, its pixels are on their way.
      if (!m.start) this.#take();
    });
    on("save", () => this.showState());
    on("colors", () => { this.#redraw(); this.showState(); });
    on("notice", (m) => this.#say(m));
    on("note", (m) => this.commands.recall(m));
    on("center", (m) => {
      this.doubt = m.doubt ?? null;
      this.missing = m.missing ? m.point : null;
      this.leaveSuggestion();
      this.center(m.point, m.box);
      // Arrows go on from there.
      this.splitter.rest();
      this.why.cursor = null;
      this.hand.rest();
    });
    /** @type {[string, () => void][]} */
    this.heard = TRAITS.map((name) => [`change:${name}`, () => this.#trait(name)]);
    for (const [name, act] of this.heard) this.model.on(name, act);
    this.unlisten = listen(stage, this.#actions());
    guard(root);
    root.addEventListener("keyup", (event) => {
      if (event.key === " ") this.holdSpace(false);
      event.stopPropagation();
    }, { signal });
    root.addEventListener("focusout", () => this.holdSpace(false), { signal });
    this.observer = new ResizeObserver(() => this.#look());
    this.observer.observe(root);
    // The histogram is drawn in the theme's colours.
    this.themes = new MutationObserver(() => this.ui.panel.histogram.paint());
    this.themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
  }

  /** Whether the question is on the screen still. */
  get asking() {
    const { notice } = this.ui;
    return !notice.hidden && notice.firstChild?.textContent === this.question?.text;
  }

  /** Answer the question. @param {string} says */
  answer(says) {
    this.question = null;
    this.ui.notice.hidden = true;
    this.tell({ kind: "answer", says });
    this.#redraw();
  }

  /** A sentence of the kernel, with what can be done about it. @param {{text: string, error?: boolean, undo?: number, suggests?: number, answers?: [string, string][], places?: number[][]}} m */
  #say({ text, error, undo, suggests, answers, places = [] }) {
    /** @type {{label: string, run: () => void}[]} */
    let actions = undo ? [{ label: "Undo", run: () => this.tell({ kind: "take-back", edit: undo }) }] : [];
    if (suggests !== undefined) {
      this.suggested = suggests;
      actions = [{ label: "Yes (Y)", run: () => this.run("suggest") }, { label: "No (Esc)", run: () => this.leaveSuggestion() }];
    }
    this.question = answers ? { text, answers, places } : null;
    if (answers) actions = answers.map(([says, label]) => ({ label, run: () => this.answer(says) }));
    this.ui.say({ text, error, actions });
    if (answers) this.#redraw();
  }

  /** Leave what was suggested as it is. */
  leaveSuggestion() {
    if (this.suggested === null) return;
    this.suggested = null;
    this.ui.notice.hidden = true;
    this.splitter.propose();
  }

  /** @param {string} name */
  #trait(name) {
    const { wanted } = this.store.traits;
    if (name === "index" && wanted !== undefined && this.get("index") !== wanted) {
      // The kernel's echo of a plane that was scrolled past: the newer one has not been told yet, and stays.
      this.model.set("index", wanted);
      return;
    }
    if (name === "tool" || name === "index" || name === "axis") {
      this.pen.end();
      this.splitter.drag = null;
      if (this.hand.corners.length && name !== "tool") this.ui.say({ text: "The corners are gone with their plane: an outline is drawn on one." });
      this.hand.leave();
      if (name === "tool" && !this.splitter.on) this.splitter.leave();
      if (name === "tool" && !this.why.on) this.why.leave();
      // A question is about what was on screen when it was asked.
      if (name === "tool") this.leaveSuggestion();
      // What would mend an object is looked at on all its planes.
      if (this.ui.notice.dataset.asks === "true" && this.suggested === null && (!this.asking || name === "tool")) this.ui.notice.hidden = true;
    }
    if (name === "panes") {
      this.panes.show();
      this.#look();
    }
    if (name === "index" || name === "axis") {
      this.moved = performance.now();
      if (this.panes.on) this.panes.turn();
      this.#refresh();
      return;
    }
    if (["layers", "comparison", "above", "tool"].includes(name)) this.#look();
    if (name === "comparison") this.#take();
    // What is selected is what is painted with next, wherever it was selected.
    if (name === "selected" && this.get("selected").length) this.set("active_id", this.get("selected").at(-1));
    if (name === "selected") this.splitter.follow();
    if (name === "hidden" || name === "isolated") this.seen = seenOf(this.get("hidden"), this.get("isolated"));
    if (name === "height") this.frame.place();
    this.showState();
    if (["layers", "selected", "marks", "strokes", "hidden", "isolated", "comparison"].includes(name)) this.#redraw();
  }

  /** What the kernel told first: which volume, and what can be done with it. */
  #learn() {
    this.verbs = new Verbs(this.store.info?.verbs ?? [], this.store.info?.axes);
    this.ui.rail.fill(this.verbs);
    this.ui.help.fill(this.verbs);
    this.ui.menu.fill(this.verbs);
    this.#refresh();
    const focus = this.store.info?.focus;
    if (focus && !this.place) this.center(focus, { start: focus.map((v) => v - SHOWN), stop: focus.map((v) => v + SHOWN) });
  }

  #redraw() {
    this.picture.redraw();
    this.panes.redraw();
  }

  #take() {
    this.picture.take();
    this.panes.take();
  }

  /** Everything that depends on the plane. */
  #refresh() {
    const info = this.store.info;
    if (!info) return;
    this.ui.top.showInfo(info);
    this.ui.panel.histogram.setRange(info.intensity);
    this.ui.panel.showRamps(info.ramps);
    this.ui.status.showPlane(this.get("axis"), this.get("index"), this.sheet.count, info);
    if (this.get("panes") === 4 && !this.panes.on) this.panes.show();
    this.#look();
    this.#take();
    this.showState();
  }

  /** Ask for what is looked at and not here. */
  #look() {
    if (!this.picture) return;
    const layers = /** @type {Layers} */ (this.get("layers"));
    const maps = HEADS.filter((part) => layers[part].visible);
    // The semantic map masks the offsets' garbage outside of objects.
    if (this.above && !maps.includes("semantic")) maps.push("semantic");
    if (maps.includes("offsets") && !maps.includes("semantic")) maps.push("semantic");
    const { camera, unit } = this.picture;
    const step = stepFor(camera.scale * Math.max(1, this.sheet.aspect) * unit);
    const still = performance.now() - this.moved > RESTED;
    const held = performance.now() - this.panned > RESTED;
    this.store.look(this.get("axis"), this.get("index"), ["image", "labels", "preview", "proposal", ...(this.get("comparison") ? ["other"] : []), ...maps], step, still, this.panes?.wants() ?? [], this.picture.scope, overviewOf(this.sheet), held);
    clearTimeout(this.rest);
    if (!still || !held) this.rest = setTimeout(() => this.#look(), RESTED + 20);
  }

  /** @param {Entry} entry */
  #arrived(entry) {
    const { shown, current } = this.picture;
    if (this.panes.beside.some(({ axis }) => axis === entry.axis && this.panes.index(axis) === entry.index)) this.panes.take();
    const here = entry.axis === this.get("axis") && (entry.index === this.get("index") || entry.index === shown.index);
    // Neighbours come on reserve; while the plane itself is missing they may be nearer to it than what is shown.
    if (!here && (current || !["image", "labels"].includes(entry.part))) return;
    this.picture.take();
    if (here) this.showState();
  }

  /** Bars, rail and panel. */
  showState() {
    const { ui, store: { info, state, outbox, waiting, late, extras } } = this;
    const tool = this.get("tool");
    const selected = /** @type {number[]} */ (this.get("selected"));
    ui.top.show({
      tool, gesture: this.verbs.gesture(tool), brush: this.radius, id: this.get("active_id"), preserve: this.preserve, ball: this.get("ball"), above: this.get("above"), selected, colors: info, split: this.splitter.shown, labelled: !info?.only_looks,
    });
    ui.showSeen(seenText(this.seen, info?.only_looks || this.get("layers").labels.visible));
    ui.showKeys(this.hand?.hint ?? "");
    this.comparison.show();
    ui.status.showPanes(this.panes.on);
    ui.rail.show(tool, (name) => this.commands.can(name));
    ui.menu.show(selected.length, (name) => this.commands.can(name));
    ui.panel.show(this.get("layers"), this.get("axis"), this.panes.on);
    const layers = /** @type {Layers} */ (this.get("layers"));
    const maps = HEADS.filter((part) => this.has(part));
    const anywhere = new Set([...extras].map((extra) => extra.split("/")[0]));
    const image = info?.has_image ?? true;
    const kept = info?.axes ? "not kept" : "not run here";
    for (const part of HEADS) ui.panel.enable(part, maps.includes(part), maps.includes(part) ? "" : kept, anywhere.has(part) || (!info?.axes && USUAL.includes(part)));
    ui.panel.enable("preview", this.has("preview"), this.has("preview") ? "not saved yet" : "none", !info?.axes);
    ui.panel.enable("em", image, image ? "" : "no image");
    const above = maps.some((part) => layers[part].visible) || (this.has("preview") && layers.preview.visible);
    ui.panel.enable("labels", true, above && layers.labels.style === "fill" ? "outlined below" : "");
    if (info?.only_looks) ui.panel.showImageAlone();
    const pill = pillOf(state.save, waiting, late, state.read_only, outbox.cut);
    ui.top.save(pill.kind, pill.text, pill.title);
    Object.assign(ui.root.dataset, { pending: `${waiting}`, save: pill.kind, tool });
    ui.empty.hidden = !info?.empty || state.read_only || this.has("preview") || Boolean(this.store.open) || this.get("running") || outbox.cut;
    ui.empty.textContent = state.listens && image ? "No labels yet: segment this plane (Enter) or paint (P)." : "No labels yet: paint (P).";
    this.#moveCursor();
  }

  #drawn() {
    this.ui.status.showZoom(this.picture.camera.scale);
    const image = this.entry("image");
    // While planes fly by, the histogram need not keep up.
    if (image && image !== this.binned.image && !image.empty && performance.now() - this.binned.at > 250) {
      image.bins ??= histogramOf(image.data);
      this.ui.panel.histogram.setBins(image.bins);
      this.binned = { image, at: performance.now() };
    }
    this.#hover();
  }

  // --- pointer -------------------------------------------------------------------------------------------------------

  /** @returns {import("./tools.js").Actions} */
  #actions() {
    const { picture, pen } = this;
    const hover = (/** @type {[number, number] | null} */ at) => {
      this.pointer = at;
      this.#hover();
    };
    return {
      tool: () => this.get("tool"), draws: () => this.verbs.draws(this.get("tool")), panning: () => this.space, spot: (x, y) => picture.spot(x, y),
      focus: () => this.ui.root.focus({ preventScroll: true }),
      pan: (dx, dy) => picture.look(pan(picture.camera, this.sheet, dx, dy)),
      zoom: (x, y, factor) => {
        picture.look(zoomAt(picture.camera, this.sheet, picture.size, x, y, factor));
        this.#look();
      },
      planes: (steps) => this.go(this.get("index") + steps),
      hover: (x, y) => hover([x, y]), leave: () => hover(null), click: (spot, more) => this.click(spot, more),
      pick: (spot) => this.commands.pick(this.idAt(spot)), fit: () => picture.fit(),
      moved: () => this.hand.rest(), double: () => this.hand.corners.length && this.hand.close(),
      begin: (spot, event) => this.#begin(spot, event), draw: (points) => this.#drawing.draw(points),
      end: () => this.#drawing.end(), cancel: () => {
        // What a pen has drawn is there; a line that was not ended does nothing.
        if (this.#drawing !== this.hand) return this.#drawing.end();
        this.hand.leave();
        this.picture.redraw();
        this.showState();
      },
    };
  }

  /** What is not seen is not changed: while objects are hidden, strokes leave others as they are. */
  get preserve() {
    return this.get("preserve") || !this.seen.all;
  }

  /** What the semantic map must say more than where the tool writes; 0 where that does not count. */
  get above() {
    return ["paint", "fill"].includes(this.get("tool")) ? this.get("above") : 0;
  }

  /** The sides of a pixel where the brush is a ball. */
  get sides() {
    const balls = this.get("ball") && !this.above && ["paint", "erase"].includes(this.get("tool"));
    return balls ? sidesOf(this.get("axis"), this.store.info?.voxel_size ?? null) : undefined;
  }

  /** What is painted with, in pixels. */
  get radius() {
    return radiusOf(this.get("brush"), this.sides);
  }

  /** Whether a hidden object lies at a pixel; then it says so. @param {Spot} spot */
  #covers(spot) {
    const id = idAt(this.entry("labels"), spot);
    if (this.seen.shows(id)) return false;
    this.ui.say({ text: `Object ${id} lies here, and is hidden: show all objects (Esc) to change it.` });
    return true;
  }

  /** What a drag is for. */
  get #drawing() {
    return this.splitter.on ? this.splitter : this.hand.outlines ? this.hand : this.pen;
  }

  /** A press of the keyboard, where its cursor is. @param {Spot} spot */
  press(spot) {
    if (!this.verbs.draws(this.get("tool")) || this.hand.crosses) this.click(spot, false);
    else if (this.#begin(spot, { shiftKey: false, ctrlKey: false, metaKey: false })) this.pen.draw([spot.row, spot.column]);
  }

  /** Whether labels are shown so coarsely that nobody sees what would be drawn; then it says so. @param {Entry | null} labels */
  tooCoarse(labels) {
    if (!labels || labels.step === 1) return false;
    const side = Math.max(labels.step, Math.round(1 / this.picture.camera.scale));
    this.ui.say({ text: `Zoom in to paint: one pixel here stands for ${side} x ${side} of the labels (Ctrl and the wheel).` });
    return true;
  }

  /** Give the label to what a line encloses, or take it away there. @param {number[]} points row, column, ... @param {boolean} subtract */
  outline(points, subtract) {
    if (!this.commands.writable() || this.tooCoarse(this.entry("labels"))) return;
    this.#lower(subtract);
    this.pen.draw(points);
    this.pen.end();
  }

  /** @param {Spot} spot @param {{shiftKey: boolean, ctrlKey: boolean, metaKey: boolean}} event */
  #begin(spot, event) {
    if (!this.commands.writable() || this.#covers(spot)) return false;
    if (!this.picture.current || !this.entry("labels")) {
      this.ui.say({ text: "The labels of this plane are still on their way." });
      return false;
    }
    if (this.tooCoarse(this.entry("labels"))) return false;
    if (this.above && !this.entry("semantic")) {
      const way = this.has("semantic") ? "The semantic map of this plane is still on its way." : "The network has not seen this plane yet: segment it, or look at its maps.";
      this.ui.say({ text: `${way} Or turn "only above" off (Shift-P).` });
      return false;
    }
    if (this.#drawing === this.pen) this.#lower(false);
    else this.#drawing.begin(/** @type {any} */ (event));
    return true;
  }

  /** Put the pen down. @param {boolean} subtract */
  #lower(subtract) {
    // Under a curtain nobody sees what is painted.
    if (this.get("comparison")) this.set("comparison", "");
    const stroke = this.verbs.gesture(this.get("tool")) === "stroke";
    // What is painted is seen.
    if (stroke && this.get("isolated").length) this.set("isolated", [...new Set([...this.get("isolated"), this.get("active_id")])]);
    if (stroke && this.get("hidden").length) this.set("hidden", this.get("hidden").filter((/** @type {number} */ id) => id !== this.get("active_id")));
    this.pen.begin({
      axis: this.get("axis"), index: this.get("index"), tool: this.get("tool"), id: this.get("active_id"),
      radius: this.radius, preserve: this.preserve, subtract, locked: this.get("marks").locked ?? [],
      sides: this.sides, above: this.above, semantic: this.entry("semantic"),
    });
    this.ui.empty.hidden = true;
  }

  /** The object that is seen at a pixel. @param {Spot} spot */
  idAt(spot) {
    const id = idAt(this.entry("labels"), spot);
    return this.seen.shows(id) ? id : 0;
  }

  #hover() {
    this.#moveCursor();
    const { info } = this.store;
    const { picture } = this.over ?? this;
    const spot = this.over ? picture.spot(...this.over.at) : this.pointer ? picture.spot(...this.pointer) : null;
    const known = spot?.inside && info && picture.current;
    this.why?.at(known ? spot : null, picture.facts.axis(), picture.facts.index());
    this.ui.status.showHover(known ? describe({
      axis: picture.facts.axis(), index: picture.facts.index(), spot, info, layers: this.get("layers"), entry: (part) => picture.facts.entry(part), shows: this.seen.shows,
      other: (now, then) => (this.get("comparison") ? otherText(now, then, this.store.compared) : ""),
    }) : null);
  }

  /** Go to a voxel, and have the kernel know. @param {number[]} point z, y, x */
  visit(point) {
    this.go(pixelOf(this.get("axis"), point).index);
    this.center(point);
    this.tell({ kind: "move", point });
  }

  /** The pointer is in a pane that looks on; null: no more. @param {import("./picture.js").Picture | null} picture */
  hoverIn(picture, x = 0, y = 0) {
    this.over = picture && { picture, at: /** @type {[number, number]} */ ([x, y]) };
    this.#hover();
  }

  /** The voxel of a pixel of the plane that is looked at. @param {number} row @param {number} column */
  voxel(row, column) {
    return voxelOf(this.get("axis"), this.get("index"), row, column);
  }

  /** The pointer of the tool, and the ring of the brush. */
  #moveCursor() {
    const { cursor, stage } = this.ui;
    const tool = this.space ? "look" : this.get("tool");
    stage.style.cursor = this.verbs.named.get(tool)?.cursor ?? "";
    const painting = ["stroke", "teach"].includes(this.verbs.gesture(tool)) && tool !== "lasso";
    cursor.hidden = !painting || !this.pointer;
    if (cursor.hidden || !this.pointer) return;
    const { column, row } = this.picture.spot(...this.pointer);
    const [x, y] = this.picture.screen(column, row);
    const [high, wide] = this.sides ?? [1, 1];
    const { scale } = this.picture.camera;
    const w = ((2 * this.radius) / wide + 1) * scale;
    const h = ((2 * this.radius) / high + 1) * scale * this.sheet.aspect;
    Object.assign(cursor.style, { width: `${w}px`, height: `${h}px`, transform: `translate(${x - w / 2}px, ${y - h / 2}px)` });
    cursor.dataset.tool = this.get("tool");
  }

  /** @param {Spot} spot @param {boolean} more */
  click(spot, more) {
    if (!spot.inside || !this.picture.current) return;
    if (this.get("tool") !== "look" && this.#covers(spot)) return;
    const point = voxelOf(this.get("axis"), this.get("index"), spot.row, spot.column);
    this.place = point;
    this.panes.turn();
    this.#redraw();
    this.#look();
    this.commands.click(point, this.idAt(spot), more);
  }

  /** Do what a key says, if it says anything here; wherever in the workbench it was pressed. @param {KeyboardEvent} event */
  key(event) {
    // A browser that leaves full screen by itself keeps this key.
    const command = event.key === "Escape" && this.frame.full && this.ui.help.hidden ? "full" : this.verbs.commandOf(event);
    if (event.key === " ") {
      // Here its release is heard, too.
      this.ui.root.focus({ preventScroll: true });
      this.holdSpace(true);
    } else if (command) this.run(command);
    else return;
    event.preventDefault();
  }

  /** @param {boolean} on */
  holdSpace(on) {
    if (this.space === on) return;
    this.space = on;
    this.#moveCursor();
  }

  // --- moving --------------------------------------------------------------------------------------------------------

  /** Go to a plane. @param {number} index */
  go(index) {
    const next = Math.min(Math.max(index, 0), this.sheet.count - 1);
    const old = this.get("index");
    if (next === old) return;
    this.store.scroll(next - old);
    this.set("index", next);
  }

  /** Cut along another axis, through the place that was clicked or gone to, else through the middle of the view. @param {string} axis */
  turn(axis) {
    const { info } = this.store;
    if (!info || axis === this.get("axis")) return;
    const point = this.#crossing();
    const { index } = pixelOf(axis, point);
    // Both at once: between them there might be no such plane.
    const { traits } = this.store;
    const next = Math.min(Math.max(index, 0), sheetOf(info.shape, null, axis).count - 1);
    traits.went(next);
    this.model.set({ axis, index: next });
    traits.save();
    if (this.place && !this.panes.on) this.center(point);
  }

  /** The voxel that planes of the other axes go through: on this plane, and where the user works if that is in view. */
  #crossing() {
    const { camera, size } = this.picture;
    const [axis, index] = [this.get("axis"), this.get("index")];
    if (this.panes.on && this.place) return this.place;
    if (this.place) {
      const { row, column } = pixelOf(axis, this.place);
      const [x, y] = toScreen(camera, this.sheet, size, column + 0.5, row + 0.5);
      if (x >= 0 && y >= 0 && x <= size.w && y <= size.h) return voxelOf(axis, index, row, column);
    }
    return voxelOf(axis, index, Math.floor(camera.y), Math.floor(camera.x));
  }

  /** The voxel under the pointer, else the one where the user works, z, y, x. */
  here() {
    const spot = this.pointer ? this.picture.spot(...this.pointer) : null;
    return spot?.inside ? voxelOf(this.get("axis"), this.get("index"), spot.row, spot.column) : this.#crossing();
  }

  /** Keep the keyboard's cursor in view, and say what is under it. @param {[number, number]} at row and column */
  follow([row, column]) {
    const { picture } = this;
    const [x, y] = picture.screen(column, row);
    const { w, h } = picture.size;
    if (Math.min(x, y, w - x, h - y) < 20) picture.look(clamp({ ...picture.camera, x: column, y: row }, this.sheet));
    this.pointer = picture.screen(column, row);
    this.#hover();
  }

  /**
   * Bring a voxel into view and mark it for a moment; with the box of an object, zoom to that.
   * @param {number[]} point z, y, x @param {{start: number[], stop: number[]}} [box]
   */
  center(point, box) {
    const { picture } = this;
    this.place = point;
    if (box) picture.look(clamp(fitBox(box, this.get("axis"), this.sheet, picture.size), this.sheet));
    bring(picture, this.get("axis"), this.sheet, point);
    this.panes.center(box);
    this.#look();
    picture.mark = point;
    picture.redraw();
    setTimeout(() => {
      if (picture.mark === point) picture.mark = null;
      picture.redraw();
    }, 1500);
  }
}
