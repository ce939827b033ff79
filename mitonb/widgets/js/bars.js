// The bars around the picture: title, tool options and save pill above; plane, position and values below.

import { cssOf } from "./colors.js";
import { checkbox, element, iconButton, slider } from "./dom.js";
import { AXES } from "./geometry.js";
import { ICONS } from "./icons.js";
import { KEYS } from "./keys.js";

/** @typedef {import("./colors.js").Colors} Colors */

export const TOOLS = [
  { name: "look", title: "Look: a click selects an object and makes it the label to paint with; a drag pans (Z, Esc)" },
  { name: "pick", title: "Pick the label under the pointer to paint with (L)" },
  { name: "paint", title: "Paint with the active label: the object selected last (P)" },
  { name: "erase", title: "Erase (E)" },
  { name: "fill", title: "Fill a patch with the active label, on this plane (F)" },
  { name: "merge", title: "Merge: click one object, then another (J)" },
];
const ACTIONS = [
  { name: "delete", title: "Delete the selected objects (Delete)" },
  { name: "undo", title: "Undo (Ctrl-Z)" },
  { name: "redo", title: "Redo (Shift-Ctrl-Z)" },
];

/** @param {(command: string) => void} run */
export function toolRail(run) {
  const tools = TOOLS.map(({ name, title }) => iconButton(ICONS[/** @type {"look"} */ (name)], title, () => run(`tool:${name}`)));
  const actions = ACTIONS.map(({ name, title }) => iconButton(ICONS[/** @type {"look"} */ (name)], title, () => run(name)));
  const node = element("div", { class: "mitonb-rail", attributes: { role: "toolbar", "aria-orientation": "vertical" } }, [
    ...tools, element("hr"), ...actions,
  ]);
  return {
    node,
    /** @param {string} tool @param {{undo: boolean, redo: boolean, delete: boolean}} can @param {boolean} readOnly */
    show(tool, can, readOnly) {
      tools.forEach((button, i) => {
        button.setAttribute("aria-pressed", `${TOOLS[i].name === tool}`);
        button.disabled = readOnly && !["look", "pick"].includes(TOOLS[i].name);
      });
      actions.forEach((button, i) => {
        button.disabled = readOnly || !can[/** @type {"undo"} */ (ACTIONS[i].name)];
      });
    },
  };
}

const HINTS = /** @type {Record<string, string>} */ ({
  look: "Click an object to select it and paint with it",
  pick: "Click an object to paint with its label",
  merge: "Click the object to keep",
});

/**
 * @param {{run: (command: string) => void, set: (name: string, value: any) => void}} does
 */
export function topBar({ run, set }) {
  const title = element("span", { class: "mitonb-title" });
  const facts = element("span", { class: "mitonb-facts" });
  const brush = slider({ min: 0, max: 64, step: 1, title: "Brush radius ([ and ])" }, (v) => set("brush", v));
  const brushText = element("span", { class: "mitonb-number" });
  const swatch = element("span", { class: "mitonb-swatch" });
  const id = element("input", {
    class: "mitonb-id", title: "Label to paint with (- and = change it)",
    attributes: { type: "number", min: "1", max: "4294967295", "aria-label": "Active label" },
  });
  id.addEventListener("change", () => {
    const value = Math.round(+id.value);
    if (value >= 1 && value <= 4294967295) set("active_id", value);
  });
  const fresh = element("button", { class: "mitonb-choice", text: "new", title: "A label that was never used (M)", attributes: { type: "button" } });
  fresh.addEventListener("click", () => run("new"));
  const preserve = checkbox("preserve others", "Paint on background only; erase only the active label (B)", (on) => set("preserve", on));
  const brushGroup = element("span", { class: "mitonb-group" }, [element("span", { text: "Brush" }), brush, brushText]);
  const idGroup = element("span", { class: "mitonb-group" }, [element("span", { text: "Label" }), swatch, id, fresh]);
  const hint = element("span", { class: "mitonb-group mitonb-hint" });
  const options = element("div", { class: "mitonb-options" }, [brushGroup, idGroup, preserve.label, hint]);
  const dot = element("span", { class: "mitonb-dot" });
  const pillText = element("span");
  const pill = element("span", { class: "mitonb-pill", attributes: { role: "status" } }, [dot, pillText]);
  const help = iconButton(ICONS.help, "All keys (?)", () => run("help"));
  const full = iconButton(ICONS.full, "Full screen (Shift-F); Esc leaves it", () => run("full"));
  const [layers, recipe] = ["Layers", "Recipe"].map((text) => {
    const name = text.toLowerCase();
    const button = element("button", { class: `mitonb-choice mitonb-panel-${name}`, text, attributes: { type: "button" } });
    button.addEventListener("click", () => run(`panel:${name}`));
    return button;
  });
  const node = element("div", { class: "mitonb-top" }, [
    element("div", { class: "mitonb-titles" }, [title, facts]), options,
    element("div", { class: "mitonb-always" }, [pill, element("span", { class: "mitonb-choices" }, [layers, recipe]), help, full]),
  ]);
  return {
    node,
    /** @param {import("./protocol.js").Info} info */
    showInfo(info) {
      title.textContent = info.name;
      title.title = info.name;
      const size = info.voxel_size ? `${info.voxel_size.map((v) => +v.toPrecision(3)).join(" × ")} nm` : "voxel size unknown";
      facts.textContent = `${info.shape.join(" × ")} · ${size}`;
      facts.title = "z × y × x";
    },
    /** @param {{tool: string, brush: number, id: number, preserve: boolean, selected: number[], colors: Colors | null}} s */
    show({ tool, brush: radius, id: active, preserve: kept, selected, colors }) {
      const painting = tool === "paint" || tool === "erase";
      brushGroup.hidden = !painting;
      idGroup.hidden = !(painting || tool === "fill");
      preserve.label.hidden = !painting;
      hint.hidden = !(tool in HINTS);
      brush.max = `${Math.max(64, radius)}`;
      brush.show(radius);
      brushText.textContent = `${radius} px`;
      if (document.activeElement !== id) id.value = `${active}`;
      if (colors) swatch.style.background = cssOf(active, colors);
      preserve.input.checked = kept;
      if (!hint.hidden) hint.replaceChildren(...hintNodes(tool, selected, colors));
    },
    /** Which panels are unfolded; null where there is no such panel. @param {boolean} l @param {boolean | null} r @param {boolean} whole */
    showPanels(l, r, whole) {
      recipe.hidden = r === null;
      for (const [button, on] of /** @type {[HTMLElement, boolean | null][]} */ ([[layers, l], [recipe, r]])) {
        button.setAttribute("aria-expanded", `${Boolean(on)}`);
        button.title = `${on ? "Fold" : "Unfold"} the ${button.textContent?.toLowerCase()}`;
      }
      full.setAttribute("aria-pressed", `${whole}`);
    },
    /** @param {string} kind @param {string} text @param {string} title */
    save(kind, text, title) {
      pill.dataset.kind = kind;
      pillText.textContent = text;
      pill.title = title;
    },
  };
}

/** @param {string} tool @param {number[]} selected @param {Colors | null} colors @returns {Node[]} */
function hintNodes(tool, selected, colors) {
  if (!selected.length || !colors || tool === "pick") return [document.createTextNode(HINTS[tool])];
  const lead = tool === "merge" && selected.length === 1 ? "Click what joins" : selected.length === 1 ? "Selected" : `Selected ${selected.length}:`;
  const chips = selected.slice(0, 4).map((id) => {
    const swatch = element("span", { class: "mitonb-swatch" });
    swatch.style.background = cssOf(id, colors);
    return element("span", { class: "mitonb-chip" }, [swatch, element("span", { text: `#${id}` })]);
  });
  const rest = (selected.length > 4 ? "… " : "") + (tool === "look" ? `P paints ${selected.length > 1 ? `#${selected.at(-1)}` : "it"}` : "");
  return [document.createTextNode(lead), ...chips, document.createTextNode(rest)];
}

/** @param {{set: (name: string, value: any) => void, run: (command: string) => void}} does */
export function statusBar({ set, run }) {
  const name = element("span", { text: "z" });
  const at = element("input", { class: "mitonb-at", title: "Plane (, and . or the wheel)", attributes: { type: "number", "aria-label": "Plane" } });
  const last = element("span", { class: "mitonb-last" });
  const planes = slider({ min: 0, max: 1, step: 1, title: "Plane (, and . or the wheel)" }, (v) => set("index", v));
  at.addEventListener("change", () => set("index", Math.min(Math.max(Math.round(+at.value), 0), +planes.max)));
  const axes = AXES.map((axis) => {
    const button = element("button", { class: "mitonb-choice", text: axis, title: `Planes in ${axis}`, attributes: { type: "button" } });
    button.addEventListener("click", () => set("axis", axis));
    return button;
  });
  const fit = iconButton(ICONS.fit, "Fit the plane into the view (0, double-click)", () => run("fit"));
  const zoom = element("span", { class: "mitonb-zoom", title: "Screen pixels per image pixel" });
  const position = element("span", { class: "mitonb-position" });
  const value = element("span", { class: "mitonb-value" });
  const swatch = element("span", { class: "mitonb-swatch" });
  const id = element("span");
  const under = element("span", { class: "mitonb-under" }, [swatch, id]);
  const why = element("span", { class: "mitonb-why" });
  const node = element("div", { class: "mitonb-status" }, [
    element("span", { class: "mitonb-group mitonb-planes" }, [name, at, last, planes]),
    element("span", { class: "mitonb-group mitonb-axes" }, [element("span", { class: "mitonb-choices" }, axes), fit, zoom]),
    element("span", { class: "mitonb-readout" }, [why, position, value, under]),
  ]);
  return {
    node,
    /** @param {string} axis @param {number} index @param {number} count */
    showPlane(axis, index, count) {
      name.textContent = axis === "xy" ? "z" : axis === "xz" ? "y" : "x";
      planes.max = at.max = `${count - 1}`;
      planes.show(index);
      if (document.activeElement !== at) at.value = `${index}`;
      last.textContent = `/ ${count - 1}`;
      for (const button of axes) button.setAttribute("aria-pressed", `${button.textContent === axis}`);
    },
    /** @param {number} scale */
    showZoom(scale) {
      zoom.textContent = `${Math.round(scale * 100)}%`;
    },
    /** @param {{position: string, value: string, id: number, color: string, why: string} | null} hover */
    showHover(hover) {
      position.textContent = hover?.position ?? "";
      value.textContent = hover?.value ?? "";
      why.textContent = why.title = hover?.why ?? "";
      under.style.visibility = hover ? "visible" : "hidden";
      swatch.style.background = hover?.color ?? "transparent";
      id.textContent = hover?.id ? `#${hover.id}` : "–";
    },
  };
}

/** The overlay with all keys. @param {() => void} close */
export function helpSheet(close) {
  const groups = KEYS.map(({ title, keys }) => element("section", {}, [
    element("h4", { text: title }),
    ...keys.map(({ keys: names, does }) => element("div", { class: "mitonb-key" }, [
      element("span", {}, names.split(/ {2}/).map((n) => element("kbd", { text: n }))), element("span", { text: does }),
    ])),
  ]));
  const node = element("div", { class: "mitonb-help", attributes: { role: "dialog", "aria-label": "Keys", tabindex: "0" } }, [
    element("header", {}, [element("h4", { text: "Keys" }), iconButton(ICONS.close, "Close (Esc)", close)]), ...groups,
  ]);
  node.hidden = true;
  return node;
}
