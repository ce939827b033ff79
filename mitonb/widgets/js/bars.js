// The bars around the picture: title, tool options and save pill above; plane, position and values below.

import { cssOf } from "./colors.js";
import { button, checkbox, chip, element, iconButton, slider } from "./dom.js";
import { goField } from "./goto.js";
import { AXES } from "./geometry.js";
import { ICONS } from "./icons.js";
import { splitBar } from "./split.js";

/** @typedef {import("./colors.js").Colors} Colors */

/** @param {(command: string) => void} run */
export function toolRail(run) {
  const node = element("div", { class: "mitonb-rail", attributes: { role: "toolbar", "aria-orientation": "vertical" } });
  /** @type {Map<string, HTMLButtonElement>} */
  let buttons = new Map();
  /** @type {string[]} */
  let lasting = [];
  return {
    node,
    /** @param {import("./keys.js").Verbs} verbs */
    fill({ tools, actions }) {
      lasting = tools.map(({ name }) => name);
      buttons = new Map([...tools, ...actions].map(({ name, icon, title, keys }) => [name, iconButton(icon, `${title} (${keys})`, () => run(`do:${name}`))]));
      const of = (/** @type {{name: string}[]} */ list) => list.map(({ name }) => /** @type {Node} */ (buttons.get(name)));
      node.replaceChildren(...of(tools), element("hr"), ...of(actions));
    },
    /** @param {string} tool @param {(name: string) => boolean} can */
    show(tool, can) {
      for (const [name, button] of buttons) {
        if (lasting.includes(name)) button.setAttribute("aria-pressed", `${name === tool}`);
        button.disabled = !can(name);
      }
    },
  };
}

const BALL = "Paint and erase in all planes around, as far in nm (Shift-B)";
/** Why no ball is painted. */
export const FLAT = 'The semantic map is of one plane, and a ball of many: turn "only above" off to paint balls';

/** What a click does, by tool or by its gesture. */
const HINTS = /** @type {Record<string, string>} */ ({
  look: "Click an object to select it and paint with it",
  leaf: "The wheel goes from plane to plane, with Ctrl it zooms; a drag moves the picture",
  pick: "Click an object to paint with its label",
  lasso: "Draw around what belongs to the label, or click corners; Shift takes away, Ctrl selects",
  pair: "Click the object to keep, or draw across all that are one",
  take: "Click where an object is missing",
  why: "Point at a pixel, or move there with the arrows: why it belongs to its object or to none",
  teach: "Draw where the model is wrong; it learns from strokes of both kinds",
});

/**
 * @param {{run: (command: string) => void, set: (name: string, value: any) => void, menu: HTMLElement}} does
 */
export function topBar({ run, set, menu }) {
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
  const fresh = button("new", "A label that was never used (M)", () => run("new"), "mitonb-choice");
  const preserve = checkbox("preserve others", "Paint on background only; erase only the active label (B)", (on) => set("preserve", on));
  const round = checkbox("ball", BALL, (on) => set("ball", on));
  const least = element("input", {
    class: "mitonb-least", title: "What the semantic map must say more than, 0 to 1",
    attributes: { type: "number", min: "0.01", max: "0.99", step: "0.05", value: "0.5", "aria-label": "Least semantic value to paint on" },
  });
  const over = () => Math.min(Math.max(+least.value || 0.5, 0.01), 0.99);
  const only = checkbox("only above", "Paint and fill only where the semantic map says more (Shift-P)", (on) => set("above", on ? over() : 0));
  least.addEventListener("change", () => set("above", over()));
  const aboveGroup = element("span", { class: "mitonb-group" }, [only.label, least]);
  const brushGroup = element("span", { class: "mitonb-group" }, [element("span", { class: "mitonb-word", text: "Brush" }), brush, brushText]);
  const idGroup = element("span", { class: "mitonb-group" }, [element("span", { class: "mitonb-word", text: "Label" }), swatch, id, fresh]);
  const hint = element("span", { class: "mitonb-group mitonb-hint" });
  const split = splitBar(run);
  const options = element("div", { class: "mitonb-options" }, [brushGroup, round.label, idGroup, preserve.label, aboveGroup, hint, split.node, menu]);
  const dot = element("span", { class: "mitonb-dot" });
  const pillText = element("span");
  const pill = element("span", { class: "mitonb-pill", attributes: { role: "status" } }, [dot, pillText]);
  const help = iconButton(ICONS.help, "All keys (?)", () => run("help"));
  const full = iconButton(ICONS.full, "Full screen (Shift-F); Esc leaves it", () => run("full"));
  const [layers, recipe] = ["Layers", "Recipe"].map((text) => {
    const name = text.toLowerCase();
    return button(text, "", () => run(`panel:${name}`), `mitonb-choice mitonb-panel-${name}`);
  });
  const node = element("div", { class: "mitonb-top" }, [
    element("div", { class: "mitonb-titles" }, [title, facts]), options,
    element("div", { class: "mitonb-always" }, [pill, element("span", { class: "mitonb-choices" }, [layers, recipe]), help, full]),
  ]);
  return {
    node, above: over,
    /** @param {import("./protocol.js").Info} info */
    showInfo(info) {
      title.textContent = info.name;
      title.title = info.name;
      const first = info.shape[0] < 2 ? 1 : 0;  // a single section has no z
      const size = info.voxel_size ? `${info.voxel_size.slice(first).map((v) => +v.toPrecision(3)).join(" × ")} nm` : "voxel size unknown";
      facts.textContent = `${info.shape.slice(first).join(" × ")} · ${size}`;
      facts.title = first ? "y × x" : "z × y × x";
    },
    /** @param {{tool: string, gesture: string, brush: number, id: number, preserve: boolean, ball: boolean, above: number, selected: number[], colors: Colors | null, split: import("./split.js").Shown, labelled: boolean}} s */
    show({ tool, gesture, brush: radius, id: active, preserve: kept, ball, above, selected, colors, split: splitting, labelled }) {
      const painting = gesture === "stroke";
      brushGroup.hidden = !(painting || gesture === "teach") || tool === "lasso";
      idGroup.hidden = !(painting || gesture === "click");
      preserve.label.hidden = !painting;
      round.label.hidden = !["paint", "erase"].includes(tool);
      const flat = tool === "paint" && above > 0;
      round.input.disabled = flat;
      round.label.title = flat ? `${FLAT} (Shift-P)` : BALL;
      aboveGroup.hidden = !["paint", "fill"].includes(tool);
      only.input.checked = above > 0;
      least.hidden = !above;
      if (above && document.activeElement !== least) least.value = `${above}`;
      round.input.checked = ball;
      const asked = !labelled ? "leaf" : tool in HINTS ? tool : gesture;
      hint.hidden = !(asked in HINTS);
      brush.max = `${Math.max(64, radius)}`;
      brush.show(radius);
      brushText.textContent = `${radius} px`;
      if (document.activeElement !== id) id.value = `${active}`;
      if (colors) swatch.style.background = cssOf(active, colors);
      preserve.input.checked = kept;
      menu.hidden = tool !== "look" || !selected.length;
      split.node.hidden = gesture !== "split";
      if (!split.node.hidden) split.show(splitting, colors);
      if (!hint.hidden) hint.replaceChildren(...hintNodes(asked, selected, colors));
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
  if (!selected.length || !colors || !["look", "pair"].includes(tool)) return [document.createTextNode(HINTS[tool])];
  const lead = tool === "pair" && selected.length === 1 ? "Click what joins" : selected.length === 1 ? "Selected" : `Selected ${selected.length}:`;
  const chips = selected.slice(0, 4).map((id) => chip(id, cssOf(id, colors)));
  const rest = (selected.length > 4 ? "… " : "") + (tool === "look" ? `P paints ${selected.length > 1 ? `#${selected.at(-1)}` : "it"}` : "");
  return [document.createTextNode(lead), ...chips, document.createTextNode(rest)];
}

/**
 * @param {{set: (name: string, value: any) => void, run: (command: string) => void, goTo: (text: string) => boolean,
 *   leave: () => void}} does
 */
export function statusBar({ set, run, goTo, leave }) {
  const name = element("span", { text: "z" });
  const at = element("input", { class: "mitonb-at", title: "Plane (, and . or the wheel)", attributes: { type: "number", "aria-label": "Plane" } });
  const last = element("span", { class: "mitonb-last" });
  const planes = slider({ min: 0, max: 1, step: 1, title: "Plane (, and . or the wheel)" }, (v) => set("index", v));
  at.addEventListener("change", () => set("index", Math.min(Math.max(Math.round(+at.value), 0), +planes.max)));
  const axes = AXES.map((axis) => button(axis, `Planes in ${axis}`, () => set("axis", axis), "mitonb-choice"));
  const four = iconButton(ICONS.four, "Planes of all directions and 3-D (4)", () => run("panes"));
  const fit = iconButton(ICONS.fit, "Fit the plane into the view (0, double-click)", () => run("fit"));
  const zoom = element("span", { class: "mitonb-zoom", title: "Screen pixels per image pixel" });
  const position = element("span", { class: "mitonb-position" });
  const value = element("span", { class: "mitonb-value" });
  const swatch = element("span", { class: "mitonb-swatch" });
  const id = element("span");
  const under = element("span", { class: "mitonb-under" }, [swatch, id]);
  const why = element("span", { class: "mitonb-why" });
  const readout = element("span", { class: "mitonb-readout" }, [why, position, value, under]);
  const place = goField({ run, go: goTo, leave, opened: (on) => { readout.hidden = on; } });
  const along = element("span", { class: "mitonb-group mitonb-planes" }, [name, at, last, planes]);
  const across = element("span", { class: "mitonb-choices" }, axes);
  const node = element("div", { class: "mitonb-status" }, [
    along, element("span", { class: "mitonb-group mitonb-axes" }, [across, four, fit, zoom, place.button]),
    readout, place.node,
  ]);
  return {
    node,
    /** @param {string} axis @param {number} index @param {number} count @param {import("./protocol.js").Info} info */
    showPlane(axis, index, count, { shape, axes: there }) {
      const flat = shape[0] < 2;  // a single section
      along.hidden = count < 2;
      across.hidden = (flat && axis === "xy") || there?.length === 1;
      four.hidden = flat || Boolean(there);
      name.textContent = axis === "xy" ? "z" : axis === "xz" ? "y" : "x";
      planes.max = at.max = `${count - 1}`;
      planes.show(index);
      if (document.activeElement !== at) at.value = `${index}`;
      last.textContent = `/ ${count - 1}`;
      for (const button of axes) {
        button.setAttribute("aria-pressed", `${button.textContent === axis}`);
        button.hidden = !(there?.includes(button.textContent ?? "") ?? true);
      }
    },
    /** @param {boolean} on whether planes of all directions are shown */
    showPanes(on) {
      four.setAttribute("aria-pressed", `${on}`);
    },
    /** Open the field in which a place is typed, or close it. It stands where the values under the pointer are. */
    askPlace: place.toggle,
    recall: place.recall,
    /** @param {number} scale */
    showZoom(scale) {
      zoom.textContent = `${Math.round(scale * 100)}%`;
    },
    /** @param {{position: string, value: string, id: number, hidden: boolean, color: string, why: string} | null} hover */
    showHover(hover) {
      position.textContent = hover?.position ?? "";
      value.textContent = hover?.value ?? "";
      why.textContent = why.title = hover?.why ?? "";
      under.style.visibility = hover ? "visible" : "hidden";
      swatch.style.background = hover?.color ?? "transparent";
      id.textContent = hover?.id ? `#${hover.id}${hover.hidden ? " hidden" : ""}` : "–";
    },
  };
}

/** The overlay with all keys. @param {() => void} close */
export function helpSheet(close) {
  const head = element("header", {}, [element("h4", { text: "Keys" }), iconButton(ICONS.close, "Close (Esc)", close)]);
  const node = element("div", { class: "mitonb-help", attributes: { role: "dialog", "aria-label": "Keys", tabindex: "0" } });
  node.hidden = true;
  return Object.assign(node, {
    /** @param {import("./keys.js").Verbs} verbs */
    fill({ help }) {
      node.replaceChildren(head, ...help.map(({ title, keys }) => element("section", {}, [
        element("h4", { text: title }),
        ...keys.map(({ keys: names, does }) => element("div", { class: "mitonb-key" }, [
          element("span", {}, names.split(/ {2}/).map((n) => element("kbd", { text: n }))), element("span", { text: does }),
        ])),
      ])));
    },
  });
}
