// Verbs, tools and keys. The kernel says what corrects labels (mitonb/edit/verbs.py), the rest is here; toolbar, help and
// key handler are all drawn from it. Keys are napari's where they exist.

import { AXES } from "./geometry.js";

/**
 * @typedef {{
 *   name: string, gesture: "stroke" | "teach" | "click" | "take" | "pair" | "split" | "selected" | "typed" | "now" | "", keys: string, codes: string[], does: string,
 *   title: string, icon: string, cursor: string, menu?: boolean,
 * }} Verb
 * @typedef {{keys: string, does: string, command?: string, codes?: string[], asks?: boolean}} Key  asks: what does nothing without a kernel
 */

/** Tools that correct nothing. @type {Verb[]} */
const TOOLS = [
  {
    name: "look", gesture: "", keys: "Z, Esc", codes: ["z", "escape"], does: "", cursor: "",
    title: "Look: a click selects an object and makes it the label to paint with; a drag pans", icon: "M4 3l4.5 13 2-5.5L16 8.5zM11 11l5 5",
  },
  {
    name: "pick", gesture: "", keys: "L", codes: ["l"], does: "pick a label from the picture", cursor: "crosshair",
    title: "Pick the label under the pointer to paint with", icon: "M12.5 3.5l4 4M11 5l4 4M13 7L6 14l-3 1 1-3 7-7M3 17h5",
  },
  {
    name: "why", gesture: "", keys: "I", codes: ["i"], does: "", cursor: "crosshair",
    title: "Inspect: what the network says of the pixel under the pointer, and why it belongs to its object or to none",
    icon: "M8.500 3a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11M12.500 12.500L17 17M8.500 5.500v3.500M8.500 11v.3",
  },
];

/** The keys of the kernel's verbs stand before those of "Correct". @type {{title: string, keys: Key[], asks?: boolean}[]} */
const KEYS = [
  { title: "Look", keys: [
    { keys: "Z  Esc", does: "look: a click selects, a drag pans" },
    { keys: ",  .", does: "plane down, up" },
    { keys: "Wheel", does: "planes; with Ctrl: zoom" },
    { keys: "Space-drag  Right-drag", does: "pan with any tool" },
    { keys: "Double-click  0", does: "fit the plane into the view", command: "fit", codes: ["0"] },
    { keys: "4", does: "planes of all directions at once, and one again", command: "panes", codes: ["4"], asks: true },
    ...AXES.map((axis, k) => ({ keys: `${k + 1}`, does: `planes in ${axis}`, command: `axis:${axis}`, codes: [`${k + 1}`] })),
    { keys: "9", does: "zoom to the selected objects", command: "zoom", codes: ["9"] },
    { keys: "/", does: "go to an object or a position by typing", command: "go", codes: ["/"] },
    { keys: "Shift-Y", does: "copy this place as a line of code", command: "copy", codes: ["shift+y"], asks: true },
    { keys: "H", does: "hide the selected objects; with none selected, show all again", command: "hide", codes: ["h"] },
    { keys: "Shift-H", does: "show the selected objects alone; again (or Esc): all", command: "isolate", codes: ["shift+h"] },
    { keys: "A", does: "compare with other labels: curtain, blink, difference, none", command: "compare", codes: ["a"], asks: true },
    { keys: "Shift-A", does: "while they blink: show the other ones", command: "swap-labels", codes: ["shift+a"], asks: true },
    { keys: "{  }", does: "labels fainter, stronger" },
    { keys: "<  >", does: "outlines thinner, thicker" },
    { keys: "I", does: "inspect: why a pixel belongs to its object or to none", asks: true },
    { keys: "Arrows", does: "move the picture; with a tool, its cursor" },
    { keys: "N  Shift-N", does: "go and zoom to the next, previous object", command: "object:next", codes: ["n"] },
    { keys: "V", does: "hide or show the labels", command: "labels", codes: ["v"] },
    { keys: "Shift-F", does: "full screen, and back (also Esc)", command: "full", codes: ["shift+f"] },
    { keys: "?", does: "these keys", command: "help", codes: ["?", "shift+?"] },
  ] },
  { title: "Correct", asks: true, keys: [
    { keys: "Shift-Q", does: "copy the outline to the plane before, and go there", command: "extrude:-1", codes: ["shift+q"] },
    { keys: "Shift-D", does: "take what the model finds under the pointer", command: "take", codes: ["shift+d"] },
    { keys: "O", does: "what else can be done with the selected objects", command: "menu", codes: ["o"] },
  ] },
  { title: "By keyboard, and by corners", asks: true, keys: [
    { keys: "Arrows  Enter", does: "with a tool: move the cursor; do there what a click does, put the pen down or lift it" },
    { keys: "Click  Enter", does: "lasso (G): a corner; Enter without moving, or a click on the first, closes" },
    { keys: "Shift-Enter  Ctrl-Enter", does: "lasso: close to take away, to select" },
    { keys: "Drag  Shift-Enter", does: "merge (J): a line across objects makes them one" },
  ] },
  { title: "Split (S)", asks: true, keys: [
    { keys: "Click  Drag", does: "a seed in each part; with Shift: one more of the same part" },
    { keys: "C  Ctrl-drag", does: "cut along a line", command: "split:line", codes: ["c"] },
    { keys: "Shift-S", does: "split where it is narrow; again: one part more", command: "split:necks", codes: ["shift+s"] },
    { keys: "Arrows  Enter", does: "move the cursor, set a seed; Enter again takes the parts" },
    { keys: "Ctrl-Z  Esc", does: "take the last seed back; leave the object as it was" },
  ] },
  { title: "Review", asks: true, keys: [
    { keys: "N  Shift-N", does: "go to the next, previous doubt, once there is a queue" },
    { keys: "Y", does: "show what would mend it; again: do so", command: "suggest", codes: ["y"] },
    { keys: "Shift-C", does: "it is right; go on", command: "verdict:mark_right", codes: ["shift+c"] },
    { keys: "Shift-X", does: "it is to be mended; go on", command: "verdict:mark_fix", codes: ["shift+x"] },
    { keys: "Shift-U", does: "nobody can say; go on", command: "verdict:mark_unsure", codes: ["shift+u"] },
  ] },
  { title: "Label and brush", asks: true, keys: [
    { keys: "M", does: "new label", command: "new", codes: ["m"] },
    { keys: "-  =", does: "label id down, up" },
    { keys: "X", does: "swap label and background", command: "swap", codes: ["x"] },
    { keys: "[  ]", does: "brush smaller, larger" },
    { keys: "Shift-B", does: "ball: the brush paints and erases in all planes around", command: "ball", codes: ["shift+b"] },
    { keys: "Shift-P", does: "paint and fill only where the semantic map says more than so much", command: "above", codes: ["shift+p"] },
    { keys: "B", does: "preserve other labels", command: "preserve", codes: ["b"] },
  ] },
  { title: "Decide", asks: true, keys: [
    { keys: "Enter", does: "segment this plane, or take the preview", command: "enter", codes: ["enter"] },
    { keys: "Y  N  Shift-U", does: "while something is asked: yes, no, can't say" },
    { keys: "Ctrl-Z", does: "while Tune asks: the question before again" },
  ] },
];

/** @type {Record<string, string>} */
const MORE = {
  ",": "plane:-1", ".": "plane:1", "pagedown": "plane:-1", "pageup": "plane:1",
  "arrowleft": "pan:40,0", "arrowright": "pan:-40,0", "arrowup": "pan:0,40", "arrowdown": "pan:0,-40",
  "-": "id:-1", "=": "id:1", "{": "opacity:-0.1", "}": "opacity:0.1", "<": "outline:-0.5", ">": "outline:0.5", "[": "brush:-1", "]": "brush:1", "shift+n": "object:previous",
  "shift+enter": "close:subtract", "ctrl+enter": "close:select", "home": "plane:first", "end": "plane:last",
};

/** What the user can do: the tools of the rail, its buttons, the keys of the help, and the command of each key. */
export class Verbs {
  /** @param {Verb[]} verbs of the kernel @param {readonly string[]} [axes] the only ones that there are planes of, in a page without a kernel */
  constructor(verbs, axes) {
    this.tools = [...TOOLS, ...verbs.filter((verb) => ["stroke", "teach", "click", "take", "pair", "split"].includes(verb.gesture))];
    /** In the menu of the selected objects. */
    this.menu = verbs.filter((verb) => verb.menu);
    this.actions = verbs.filter((verb) => !this.tools.includes(verb) && !verb.menu);
    const all = [...this.tools, ...this.actions, ...this.menu];
    this.named = new Map(all.map((verb) => [verb.name, verb]));
    const correct = all.filter((verb) => verb.does && verb.keys);
    const there = (/** @type {{asks?: boolean, command?: string}} */ { asks, command = "" }) => !axes || (!asks && (!command.startsWith("axis:") || (axes.length > 1 && axes.includes(command.slice(5)))));
    this.help = KEYS.filter(there).map(({ title, keys }) => ({ title, keys: title === "Correct" ? [...correct, ...keys] : keys.filter(there) }));
    const pairs = [...KEYS.flatMap((group) => group.keys), ...all.map((verb) => ({ ...verb, command: `do:${verb.name}` }))]
      .flatMap(({ codes, command }) => (codes ?? []).map((code) => /** @type {[string, string]} */ ([code, command ?? ""])));
    this.commands = new Map([...Object.entries(MORE), ...pairs]);
  }

  /** How a tool or verb is asked for. @param {string} name */
  gesture(name) {
    return this.named.get(name)?.gesture ?? "";
  }

  /** Whether a drag with a tool draws. @param {string} name */
  draws(name) {
    return ["stroke", "teach", "pair", "split"].includes(this.gesture(name));
  }

  /**
   * The command of a key event, or "" when the key is none of ours.
   * @param {{key: string, ctrlKey: boolean, metaKey: boolean, shiftKey: boolean, altKey: boolean}} event
   */
  commandOf({ key, ctrlKey, metaKey, shiftKey, altKey }) {
    if (altKey) return "";
    const name = key.toLowerCase();
    const shifted = shiftKey && (/^[a-z]$/.test(name) || name === "enter") ? "shift+" : "";
    return this.commands.get(`${ctrlKey || metaKey ? "ctrl+" : ""}${shifted}${name}`) ?? "";
  }
}

/** Next brush radius: single pixels when small, a tenth when large. @param {number} radius @param {number} step 1 or -1 */
export function nextBrush(radius, step) {
  const by = Math.max(1, Math.round(radius / 10));
  return Math.min(Math.max(radius + step * by, 0), 256);
}
