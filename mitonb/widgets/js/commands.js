// What keys, buttons and clicks do, by name.

import { pan, pixelOf } from "./geometry.js";
import { FLAT } from "./bars.js";
import { nextWay } from "./compare.js";
import { copyText, placeOf } from "./goto.js";
import { nextBrush } from "./keys.js";
import { pointsIn } from "./scope.js";
import { nextSelection } from "./seen.js";
import { patchSize } from "./strokes.js";

/** @typedef {import("./view.js").View} View */

const MOST = 4294967295;
/** Pixels of a patch that is not filled without asking, where a tenth of the plane is not less. */
const HUGE = 50_000;

/** What keys say while something is asked. @type {Record<string, string>} */
const ANSWERS = { suggest: "yes", "object:next": "no", "verdict:mark_unsure": "skip", enter: "enough", "do:undo": "back", "do:look": "leave" };

export class Commands {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    /** The painting tool to return to after a pick. */
    this.before = "paint";
    /** @type {Record<string, (what: string) => void>} */
    this.table = {
      do: (name) => this.#do(name),
      plane: (what) => view.go(what === "first" ? 0 : what === "last" ? view.sheet.count - 1 : view.get("index") + +what),
      pan: (what) => this.#pan(.../** @type {[number, number]} */ (what.split(",").map(Number))),
      split: (what) => view.splitter.run(what),
      fit: () => view.picture.fit(),
      axis: (axis) => this.#volume() && view.turn(axis),
      panes: () => this.#volume() && view.set("panes", view.get("panes") === 4 ? 1 : 4),
      go: () => view.ui.status.askPlace(),
      hush: () => view.ui.hush(),
      copy: () => this.#copyPlace(),
      zoom: () => this.#selection("zoom to") && view.tell({ kind: "zoom" }),
      hide: () => this.#hide(),
      isolate: () => (view.get("isolated").length ? this.showAll() : this.#selection("show alone") && view.set("isolated", view.get("selected"))),
      all: () => {
        this.showAll();
        view.setLayer("labels", { visible: true });
      },
      brush: (step) => view.set("brush", nextBrush(view.radius, +step)),
      id: (step) => view.set("active_id", Math.min(Math.max(view.get("active_id") + +step, 1), MOST)),
      new: () => this.#newId(),
      swap: () => this.#tool(view.get("tool") === "erase" ? "paint" : "erase"),
      opacity: (by) => this.#change("opacity", +by, 0, 1),
      outline: (by) => this.#change("width", +by, 1, 5),
      compare: () => this.#compare(),
      "swap-labels": () => view.get("comparison") === "blink" && view.comparison.turn(),
      above: () => view.set("above", view.get("above") ? 0 : view.ui.top.above()),
      ball: () => (view.get("tool") === "paint" && view.above ? view.ui.say({ text: `${FLAT} (Shift-P).` }) : view.set("ball", !view.get("ball"))),
      extrude: (by) => this.#selected("extrude", view.get("selected"), +by),
      preserve: () => view.set("preserve", !view.get("preserve")),
      labels: () => view.setLayer("labels", { visible: !view.get("layers").labels.visible }),
      enter: () => (view.splitter.on ? view.splitter.enter() : view.ui.accept() || view.hand.enter() || this.#run()),
      close: (how) => view.hand.enter(how),
      take: () => this.#take(view.here()),
      object: (to) => view.tell({ kind: "step", to }),
      verdict: (verb) => this.#judge(verb),
      suggest: () => view.tell({ kind: "suggest", take: view.suggested }),
      menu: () => {
        if (!view.ui.menu.toggle()) view.ui.say({ text: "Select an object first: click on it with the look tool (Z)." });
      },
      help: () => this.#help(view.ui.help.hidden),
      panel: (name) => view.frame.toggle(/** @type {import("./frame.js").Panel} */ (name)),
      full: () => view.frame.toggleFull(),
    };
  }

  /** Do "verb" or "verb:what". @param {string} command */
  run(command) {
    const says = this.view.asking && ANSWERS[command];
    if (says && (says === "leave" || this.view.question?.answers.some(([one]) => one === says))) {
      this.view.answer(says);
      return;
    }
    const [verb, what = ""] = command.split(":");
    this.table[verb]?.(what);
  }

  /** True when labels may be changed; else it says why not. */
  writable() {
    const { state, outbox } = this.view.store;
    if (outbox.cut && state.save.kind === "memory") {
      this.view.ui.say({ text: "The kernel was restarted, and these labels were in memory only: they are lost. Run the cell again.", error: true });
      return false;
    }
    if (state.read_only) this.view.ui.say({ text: `These labels are read-only: ${state.save.text}`, error: true });
    return !state.read_only;
  }

  /** A click with the tool that is on. @param {number[]} point z, y, x @param {number} id @param {boolean} more */
  click(point, id, more) {
    const { view } = this;
    const tool = view.get("tool");
    if (tool === "look") {
      view.set("selected", nextSelection(view.get("selected"), id, more));
      if (!view.store.outbox.cut) view.tell({ kind: "move", point });
    } else if (tool === "pick") this.pick(id);
    else if (tool === "why") view.why.cursor = null;  // arrows go on from where it was clicked
    else if (view.verbs.gesture(tool) === "take") this.#take(point);
    else if (view.verbs.gesture(tool) === "click") this.#fill(tool, point, id);
    else if (view.verbs.gesture(tool) === "pair") this.#pair(tool, id);
  }

  /** Whether a tool or verb can be used now. @param {string} name */
  can(name) {
    const { view } = this;
    if (view.store.info?.only_looks) return name === "look";
    const gesture = view.verbs.gesture(name);
    const ready = gesture === "selected" ? view.get("selected").length > 0 : gesture !== "now" || this.#possible(name);
    return !gesture || (ready && !view.store.state.read_only);
  }

  /** Whether there is something to undo or redo; other verbs need nothing. @param {string} name */
  #possible(name) {
    return /** @type {Record<string, any>} */ (this.view.store.state)[`can_${name}`] ?? true;
  }

  /** Do a verb, or take its tool. @param {string} name */
  #do(name) {
    const { view } = this;
    const gesture = view.verbs.gesture(name);
    const selected = /** @type {number[]} */ (view.get("selected"));
    if (gesture === "now") this.#now(name);
    else if (gesture === "typed" && this.writable()) (name === "relabel" ? this.#rename(selected) : this.#note(selected));
    else if (gesture === "selected") this.#selected(name, selected);
    else if (gesture === "pair" && selected.length > 1) {
      this.#edit({ op: name, keep: selected[0], gone: selected.slice(1) });
      view.set("selected", selected.slice(0, 1));
    } else this.#tool(name);
  }

  /** Take what the model finds in a place. @param {number[]} point z, y, x */
  #take(point) {
    if (!this.writable()) return;
    this.view.tell({ kind: "move", point });
    this.#ask("take-object");
  }

  /** Fill a patch; a huge one, such as the background around everything, is asked about first. @param {string} op @param {number[]} point @param {number} old */
  #fill(op, point, old) {
    const { view } = this;
    const [axis, id, entry] = [view.get("axis"), view.get("active_id"), view.entry("labels")];
    if (!entry || !this.writable()) return;
    const fill = () => this.#edit({ op, point, id, axis, ...(view.above ? { above: view.above } : {}) });
    const { row, column } = pixelOf(axis, point);
    if (view.tooCoarse(entry)) return;
    const plane = entry.empty ? { data: new Uint32Array(view.sheet.w * view.sheet.h), w: view.sheet.w, h: view.sheet.h } : entry;
    const size = patchSize(/** @type {any} */ (plane), ...(/** @type {[number, number]} */ (pointsIn(entry, [row, column]))));
    if (old === id || size <= Math.min(HUGE, plane.w * plane.h / 10)) return fill();
    const share = Math.max(1, Math.round((100 * size) / (plane.w * plane.h)));
    const what = old ? `this patch of object ${old}` : "this patch of background";
    view.ui.say({
      text: `Fill ${what} with object ${id}? It is ${share} % of the plane (${size.toLocaleString("en").replaceAll(",", " ")} pixels).`,
      actions: [{ label: "Fill (Enter)", run: fill }, { label: "Cancel (Esc)", run: () => {} }], accepts: true,
    });
  }

  /** Take an id to paint with. @param {number} id */
  pick(id) {
    const { view } = this;
    if (!id) {
      view.ui.say({ text: "That is background: click on an object to pick its label." });
      return;
    }
    view.set("active_id", id);
    if (view.get("tool") === "pick") view.set("tool", this.before);
  }

  /** The keys scroll the help while it is open. @param {boolean} open */
  #help(open) {
    const { help, root } = this.view.ui;
    help.hidden = !open;
    (open ? help : root).focus({ preventScroll: true });
  }

  /** @param {string} tool */
  #tool(tool) {
    const { view } = this;
    const old = view.get("tool");
    if (tool === "look") view.ui.hush();
    if (tool === "look" && !view.ui.help.hidden) this.#help(false);
    else if (tool === "look" && view.pen.cancel()) return;
    else if (tool === "look" && view.suggested !== null) view.leaveSuggestion();
    else if (tool === "look" && old === "look") this.#letGo();
    else {
      if (["stroke", "click"].includes(view.verbs.gesture(old))) this.before = old;
      view.ui.notice.hidden = true;
      view.set("tool", tool);
    }
  }

  /** In a review: judge the doubt that the kernel led to, and go on. @param {string} verb */
  #judge(verb) {
    const { view } = this;
    if (!this.writable()) return;
    if (view.doubt) view.tell({ kind: "verdict", verb, at: view.doubt });
    else view.ui.say({ text: "Go to a doubt first (N): then say whether it is right." });
  }

  /** Esc when already looking: first the preview goes, then the comparison, then what stands alone is among the others again, then the selection, then what is hidden. */
  #letGo() {
    const { view } = this;
    if (view.has("preview") && view.store.state.listens) this.#ask("discard-preview");
    else if (view.get("comparison")) view.set("comparison", "");
    else if (view.get("isolated").length) this.showAll();
    else if (view.get("selected").length) view.set("selected", []);
    else this.showAll();
  }

  /** Say where this is so that a cell of another notebook can go there. */
  async #copyPlace() {
    const { ui } = this.view;
    const name = ui.root.closest(".mnb-app") ? "app" : "viewer";
    const line = `${name}.session.move_to(${this.view.here().join(", ")})`;
    ui.say({ text: await copyText(line) ? `Copied: ${line}` : `This page may not copy; the line is: ${line}` });
  }

  /** Go to what was typed; without such a place, say why. @param {string} text */
  goTo(text) {
    const { view } = this;
    const { info } = view.store;
    if (!info) return false;
    const place = placeOf(text, info.shape);
    if ("error" in place) view.ui.say({ text: place.error, error: true });
    else if ("id" in place) view.tell({ kind: "zoom", id: place.id });
    else view.visit(place.point);
    return !("error" in place);
  }

  /** The number of the last note that was asked for. */
  #asked = 0;

  /** Ask for a note on the selected objects, or on the place under the pointer or the cursor. @param {number[]} ids */
  #note(ids) {
    const { view } = this;
    const point = view.here();
    const about = ids.length ? { ids } : { point };
    const on = ids.length > 1 ? `${ids.length} objects` : ids.length ? `object ${ids[0]}` : `this place, ${point.join(", ")}`;
    view.ui.status.askPlace({
      said: `Note on ${on}`, tip: `Note on ${on}; Enter keeps it, an empty one goes, Esc closes`, keep: true,
      take: (text) => {
        this.#edit({ op: "note", ...about, text });
        return true;
      },
    });
    view.tell({ kind: "noted", ask: this.#asked += 1, ...(ids.length ? { id: ids[0] } : { point }) });
  }

  /** The note that there is, of what was asked about last. @param {{ask: number, text: string}} m */
  recall({ ask, text }) {
    if (ask === this.#asked) this.view.ui.status.recall(text);
  }

  /** Ask for another id of the selected object. @param {number[]} ids */
  #rename(ids) {
    const { view } = this;
    if (ids.length !== 1) {
      view.ui.say({ text: `Select the one object to give another id${ids.length ? `; ${ids.length} are selected` : ": click on it with the look tool (Z)"}.` });
      return;
    }
    const { fresh } = view.store.state;
    const said = `New id of object ${ids[0]}`;
    this.#asked += 1;
    view.ui.status.askPlace({
      said, tip: `${said}: any that no object has; Enter gives it, Esc closes`, short: `${said} (Enter: ${fresh || "a free one"})`,
      take: (text) => {
        // What cannot be seen is not nothing: only an empty field takes the free id.
        const to = text ? Number(text) : fresh;
        const fine = !text || (/^\s*\d+\s*$/.test(text) && to > 0 && to <= MOST);
        if (fine && to === ids[0]) {
          view.ui.say({ text: `Object ${to} has this id already: give it one that is free.`, error: true });
          return false;
        }
        if (fine) this.#edit({ op: "relabel", id: ids[0], ...(to ? { to } : {}) });
        else view.ui.say({ text: `An id is a whole number from 1 to ${MOST}, got "${text.trim().slice(0, 40)}".`, error: true });
        return fine;
      },
    });
  }

  /** Whether there are planes of other directions; a single section has none, and it says so. */
  #volume() {
    const { store, ui } = this.view;
    const volume = (store.info?.shape[0] ?? 1) > 1;
    if (!volume) ui.say({ text: "This is a single section: there are no planes of other directions." });
    return volume;
  }

  /** The selected objects; without any, it says what they are needed for. @param {string} what */
  #selection(what) {
    const selected = /** @type {number[]} */ (this.view.get("selected"));
    if (!selected.length) this.view.ui.say({ text: `Select the objects to ${what} first: click on them with the look tool (Z).` });
    return selected.length ? selected : null;
  }

  /** Change how labels are drawn; shown, so that something is seen of it. @param {string} name @param {number} by @param {number} least @param {number} most */
  #change(name, by, least, most) {
    const { labels } = this.view.get("layers");
    const value = Math.round(100 * Math.min(Math.max(labels[name] + by, least), most)) / 100;
    this.view.setLayer("labels", { [name]: value, visible: true });
  }

  /** The next way of comparing; where there is nothing to compare with yet, the kernel looks for it. */
  #compare() {
    const { view } = this;
    const way = view.get("comparison");
    if (way || view.store.compared) view.set("comparison", nextWay(way));
    else view.tell({ kind: "compare" });
  }

  /** Hide what is selected; with nothing selected, show what was hidden. */
  #hide() {
    const { view } = this;
    if (!view.get("selected").length && !view.seen.all) {
      this.showAll();
      return;
    }
    const selected = this.#selection("hide");
    if (!selected) return;
    view.set("hidden", [...new Set([...view.get("hidden"), ...selected])]);
    view.set("selected", []);
  }

  showAll() {
    const { view } = this;
    if (view.get("hidden").length) view.set("hidden", []);
    if (view.get("isolated").length) view.set("isolated", []);
  }

  /** @param {number} dx @param {number} dy */
  #pan(dx, dy) {
    const { picture, sheet, splitter, why, hand } = this.view;
    const cursor = [splitter, why, hand].find((tool) => tool.on);
    if (cursor) {
      cursor.step(-dx, -dy);
      return;
    }
    picture.look(pan(picture.camera, sheet, dx, dy));
  }

  #newId() {
    const { store } = this.view;
    const { fresh } = store.state;
    if (!fresh) return;
    // What was selected before is not what Delete and Join should mean now.
    this.view.set("selected", []);
    this.view.set("active_id", fresh);
    // Another one is reserved for the next time, so that nobody has to wait for it.
    store.state = { ...store.state, fresh: 0 };
    if (!store.outbox.cut) this.view.tell({ kind: "take", id: fresh });
  }

  /** @param {Record<string, any>} fields */
  #edit(fields) {
    if (this.writable()) this.view.store.edit(fields);
  }

  /** @param {string} op */
  #now(op) {
    this.view.pen.end();
    if (op === "undo" && (this.view.splitter.back() || this.view.hand.back())) return;
    // What waits in the outbox can be taken back, too.
    if (this.#possible(op) || (op === "undo" && this.view.store.outbox.size)) this.#edit({ op });
    else this.view.ui.say({ text: `There is nothing to ${op}.` });
  }

  /** @param {string} op @param {number[]} ids @param {number} by planes, of an outline that is copied */
  #selected(op, ids, by = 1) {
    const { view } = this;
    if (op === "delete" && (view.splitter.back() || view.hand.back())) return;
    if (this.#selection(op.replaceAll("_", " ")) && this.writable()) {
      // Some of them are about the plane on screen.
      view.store.edit({ op, ids, axis: view.get("axis"), index: view.get("index"), ...(op === "extrude" ? { by } : {}) });
      // What is locked will be refused: it stays in view, and selected.
      if (ids.some((id) => view.get("marks").locked?.includes(id))) return;
      if (op === "extrude") view.go(view.get("index") + by);
      // What is only marked stays selected: N goes on from there.
      if (op === "delete") view.set("selected", []);
    }
  }

  /** A click with a tool that takes two objects. @param {string} op @param {number} id */
  #pair(op, id) {
    const { view } = this;
    const selected = /** @type {number[]} */ (view.get("selected"));
    if (!id) return;
    if (selected.length !== 1) view.set("selected", [id]);
    else if (selected[0] !== id) this.#edit({ op, keep: selected[0], gone: [id] });
  }

  /** Enter: take the preview, or segment the plane; not out of a tool, where it was meant for that. */
  #run() {
    const { view } = this;
    if (view.has("preview")) this.#ask("apply-preview");
    else if (!(view.store.info?.has_image ?? true)) view.ui.say({ text: "There is no image to segment: open the stack that these labels belong to." });
    else if (view.get("tool") === "look") this.#ask("segment-plane");
    else view.ui.say({ text: "Enter segments this plane with the look tool (Z)." });
  }

  /** @param {string} command */
  #ask(command) {
    const { store, ui } = this.view;
    if (store.state.listens) this.view.tell({ kind: "ask", command });
    else ui.say({ text: "That key works in the workbench: open the stack with mn.explore(stack)." });
  }
}
