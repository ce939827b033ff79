// Go to an object or a position by typing, and a place as a line of code.

import { element, iconButton } from "./dom.js";
import { ICONS } from "./icons.js";

const ASKED = "Type an object, such as 42, or a position z y x, such as 17 512 88";

/**
 * What was typed: an object, a voxel z, y, x, or a sentence that says why it is neither.
 * @param {string} text "42", "17 512 88", "x 88 y 512 z 17", or a line of code that moves there
 * @param {number[]} shape z, y, x @returns {{id: number} | {point: number[]} | {error: string}}
 */
export function placeOf(text, shape) {
  const numbers = (text.match(/-?\d+(\.\d+)?/g) ?? []).map(Number);
  if (numbers.length === 1 && Number.isInteger(numbers[0]) && numbers[0] > 0) return { id: numbers[0] };
  // A single section has no z.
  if (numbers.length === 2 && shape[0] === 1) numbers.unshift(0);
  if (numbers.length !== 3) return { error: `${ASKED}${text.trim() ? `; "${text.trim().slice(0, 40)}" is neither` : ""}.` };
  const letters = /^\W*([xyz])\W*[\d.-]+\W+([xyz])\W*[\d.-]+\W+([xyz])\W*[\d.-]+\W*$/i.exec(text)?.slice(1).map((l) => l.toLowerCase());
  const named = letters && new Set(letters).size === 3 ? letters : ["z", "y", "x"];
  const point = ["z", "y", "x"].map((letter) => Math.round(numbers[named.indexOf(letter)]));
  const out = point.findIndex((v, i) => v < 0 || v >= shape[i]);
  return out < 0 ? { point } : { error: `${"zyx"[out]} is 0 to ${shape[out] - 1} in this volume, got ${point[out]}.` };
}

/** Put a text on the clipboard; returns whether the page may do that. @param {string} text */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * What a text is asked for: its name, what keys do, and what takes it, which says whether that was well.
 * @typedef {{said: string, tip: string, short?: string, take: (text: string) => boolean, keep?: boolean}} Asked
 *   keep: Enter leaves it as it is where nothing was typed
 */

/**
 * The field of the status line, and the button that opens it.
 * @param {{run: (command: string) => void, go: (text: string) => boolean, opened: (on: boolean) => void, leave: () => void}} does
 *   `go` says whether there is such a place, `leave` gives the keys back to the picture
 */
export function goField({ run, go, opened, leave }) {
  const button = iconButton(ICONS.target, "Go to an object or a position (/)", () => run("go"));
  const input = element("input", { class: "mitonb-goto", attributes: { type: "text", maxlength: "500", spellcheck: "false", autocomplete: "off" } });
  /** @type {Asked} */
  const place = { said: "Go to an object, or to a position z y x", tip: `${ASKED}; Enter goes there, Esc closes`, short: "object, or z y x", take: go };
  let asked = place;
  let touched = false;
  const copy = iconButton(ICONS.copy, "Copy this place as a line of code (Shift-Y)", () => run("copy"));
  const node = element("span", { class: "mitonb-group" }, [input, copy]);
  node.hidden = true;
  const open = (/** @type {boolean} */ on) => {
    node.hidden = !on;
    opened(on);
    button.setAttribute("aria-expanded", `${on}`);
    input.removeAttribute("aria-invalid");
    if (!on) return;
    input.setAttribute("aria-label", asked.said);
    input.placeholder = asked.short ?? asked.said;
    input.classList.toggle("mitonb-noting", asked !== place);
    input.title = asked.tip;
    copy.hidden = asked !== place;
    input.focus({ preventScroll: true });
    input.select();
  };
  const close = () => {
    open(false);
    leave();
  };
  input.addEventListener("input", () => {
    touched = true;
    input.removeAttribute("aria-invalid");
  });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      close();
      run("hush");
    }
    else if (event.key === "Enter" && event.target === input) {
      // A note that was only looked at stays as it is.
      if ((asked.keep && !touched) || asked.take(input.value)) close();
      else {
        // Enter has given the keys back to the picture (guard.js), as in any field.
        open(true);
        input.setAttribute("aria-invalid", "true");
      }
    } else return;
    event.stopPropagation();
    event.preventDefault();
  });
  // Who goes on elsewhere sees the values under the pointer again.
  node.addEventListener("focusout", ({ relatedTarget }) => {
    const next = /** @type {Node | null} */ (relatedTarget);
    if (document.hasFocus() && !node.contains(next) && next !== button) open(false);
  });
  return {
    button, node,
    /** @param {Asked} [what] without, a place is asked for */
    toggle(what = place) {
      if (!node.hidden && asked.said === what.said) return close();
      if (asked !== what || what !== place) input.value = "";
      asked = what;
      touched = false;
      open(true);
    },
    /** What there is, to be changed. @param {string} text */
    recall(text) {
      if (touched || node.hidden) return;
      input.value = text;
      input.select();
    },
  };
}
