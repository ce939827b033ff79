// The menu of the selected objects: verbs that are done with them at once and have no button of their own.

import { button as makeButton, element } from "./dom.js";

/** How the selected objects are looked at; labels do not change by it. */
const LOOKS = [["zoom", "Zoom there (9)"], ["hide", "Hide (H)"], ["isolate", "Show alone (Shift-H)"]];

/** @param {(command: string) => void} run @param {() => void} leave gives the keys back to the picture */
export function objectMenu(run, leave) {
  const button = element("button", {
    class: "mitonb-choice", text: "Object ▾", title: "What can be done with the selected objects (O)",
    attributes: { type: "button", "aria-haspopup": "menu", "aria-expanded": "false" },
  });
  const list = element("div", { class: "mitonb-menu", attributes: { role: "menu", "aria-label": "Selected objects" } });
  list.hidden = true;
  /** @type {[string, HTMLButtonElement][]} */
  let items = [];
  let count = 0;
  const open = (/** @type {boolean} */ on) => {
    if (list.hidden === !on) return;
    list.hidden = !on;
    button.setAttribute("aria-expanded", `${on}`);
    if (!on) {
      leave();
      return;
    }
    const place = button.offsetParent ? button.getBoundingClientRect() : null;
    const around = list.parentElement?.getBoundingClientRect();
    list.style.left = place && around ? `${Math.max(4, Math.min(place.left - around.left, around.width - list.offsetWidth - 4))}px` : "";
    items.find(([, item]) => !item.disabled)?.[1].focus();
  };
  button.addEventListener("click", () => open(list.hidden));
  list.addEventListener("keydown", (event) => {
    // Enter and Space press what has the focus; no key goes on to picture or notebook.
    event.stopPropagation();
    const there = items.map(([, item]) => item).filter((item) => !item.disabled);
    const at = there.indexOf(/** @type {any} */ (document.activeElement));
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: there.length - 1 }[event.key];
    if (next !== undefined) there[(next + there.length) % there.length]?.focus();
    else if (["Escape", "Tab", "o"].includes(event.key)) open(false);
    else return;
    event.preventDefault();
  });
  list.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget !== button && !list.contains(/** @type {Node | null} */ (relatedTarget))) open(false);
  });
  return {
    button, list,
    /** @param {import("./keys.js").Verbs} verbs */
    fill({ menu }) {
      const all = [...menu.map(({ name, title, keys }) => [`do:${name}`, keys ? `${title} (${keys})` : title]), ...LOOKS];
      items = all.map(([command, text]) => {
        const item = Object.assign(makeButton(text, "", () => {
          open(false);
          run(command);
        }), { role: "menuitem", tabIndex: -1 });
        return [command.replace("do:", ""), item];
      });
      const nodes = items.map(([, item]) => item);
      list.replaceChildren(...nodes.slice(0, -LOOKS.length), element("hr"), ...nodes.slice(-LOOKS.length));
    },
    /** @param {number} selected how many objects are */
    show(selected, /** @type {(name: string) => boolean} */ can) {
      count = selected;
      const fits = /** @type {Record<string, boolean>} */ ({ merge_on_plane: count > 1, relabel: count === 1 });
      for (const [name, item] of items) item.disabled = !can(name) || !(fits[name] ?? true);
      if (!count) open(false);
    },
    toggle() {
      if (count) open(list.hidden);
      return count > 0;
    },
  };
}
