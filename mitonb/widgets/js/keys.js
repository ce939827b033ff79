// Keys: napari's where they exist; see SCREEN in the project's docs. One table serves the handler and the help.

/** @typedef {{keys: string, does: string, command: string, codes: string[]}} Key */

/** @type {{title: string, keys: Key[]}[]} */
export const KEYS = [
  { title: "Look", keys: [
    { keys: "Z  Esc", does: "look: a click selects (and paints with it next), a drag pans", command: "tool:look", codes: ["z", "escape"] },
    { keys: ",  .", does: "plane down, up", command: "", codes: [] },
    { keys: "Wheel", does: "planes; with Ctrl: zoom", command: "", codes: [] },
    { keys: "Space-drag  Right-drag", does: "pan with any tool", command: "", codes: [] },
    { keys: "Double-click  0", does: "fit the plane into the view", command: "fit", codes: ["0"] },
    { keys: "Arrows", does: "move the picture", command: "", codes: [] },
    { keys: "N  Shift-N", does: "go and zoom to the next, previous object", command: "object:next", codes: ["n"] },
  ] },
  { title: "Correct", keys: [
    { keys: "P", does: "paint", command: "tool:paint", codes: ["p"] },
    { keys: "E", does: "erase", command: "tool:erase", codes: ["e"] },
    { keys: "F", does: "fill a patch with the label", command: "tool:fill", codes: ["f"] },
    { keys: "L", does: "pick a label from the picture", command: "tool:pick", codes: ["l"] },
    { keys: "J", does: "merge the selected, or click two", command: "merge", codes: ["j"] },
    { keys: "Delete", does: "delete the selected", command: "delete", codes: ["delete", "backspace"] },
    { keys: "Ctrl-Z", does: "undo", command: "undo", codes: ["ctrl+z"] },
    { keys: "Shift-Ctrl-Z", does: "redo", command: "redo", codes: ["ctrl+shift+z", "ctrl+y"] },
  ] },
  { title: "Label and brush", keys: [
    { keys: "M", does: "new label", command: "new", codes: ["m"] },
    { keys: "-  =", does: "label id down, up", command: "", codes: [] },
    { keys: "X", does: "swap label and background", command: "swap", codes: ["x"] },
    { keys: "[  ]", does: "brush smaller, larger", command: "", codes: [] },
    { keys: "B", does: "preserve other labels", command: "preserve", codes: ["b"] },
  ] },
  { title: "Decide", keys: [
    { keys: "Enter", does: "segment this plane, or take the preview", command: "enter", codes: ["enter"] },
    { keys: "V", does: "hide or show the labels", command: "labels", codes: ["v"] },
    { keys: "Shift-F", does: "full screen, and back (also Esc)", command: "full", codes: ["shift+f"] },
    { keys: "?", does: "these keys", command: "help", codes: ["?", "shift+?"] },
  ] },
];

/** @type {Record<string, string>} */
const MORE = {
  ",": "plane:-1", ".": "plane:1", "pagedown": "plane:-1", "pageup": "plane:1",
  "arrowleft": "pan:40,0", "arrowright": "pan:-40,0", "arrowup": "pan:0,40", "arrowdown": "pan:0,-40",
  "-": "id:-1", "=": "id:1", "[": "brush:-1", "]": "brush:1", "shift+n": "object:previous",
  "home": "plane:first", "end": "plane:last",
};

const TABLE = new Map(Object.entries(MORE));
for (const group of KEYS) for (const key of group.keys) for (const code of key.codes) TABLE.set(code, key.command);

/**
 * The command of a key event, or "" when the key is none of ours.
 * @param {{key: string, ctrlKey: boolean, metaKey: boolean, shiftKey: boolean, altKey: boolean}} event
 */
export function commandOf({ key, ctrlKey, metaKey, shiftKey, altKey }) {
  if (altKey) return "";
  const name = key.toLowerCase();
  const shifted = shiftKey && (/^[a-z]$/.test(name) || name === "enter") ? "shift+" : "";
  return TABLE.get(`${ctrlKey || metaKey ? "ctrl+" : ""}${shifted}${name}`) ?? "";
}

/** Next brush radius: single pixels when small, a tenth when large. @param {number} radius @param {number} step 1 or -1 */
export function nextBrush(radius, step) {
  const by = Math.max(1, Math.round(radius / 10));
  return Math.min(Math.max(radius + step * by, 0), 256);
}
