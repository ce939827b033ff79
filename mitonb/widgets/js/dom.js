// Small helpers for the page. Text is only ever set as text: nothing from a file can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {{class?: string, text?: string, title?: string, attributes?: Record<string, string>}} [options]
 * @param {(Node | null)[]} [children]
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, options = {}, children = []) {
  const node = document.createElement(tag);
  if (options.class) node.className = options.class;
  if (options.text !== undefined) node.textContent = options.text;
  if (options.title) node.title = options.title;
  for (const [name, value] of Object.entries(options.attributes ?? {})) node.setAttribute(name, value);
  node.append(.../** @type {Node[]} */ (children.filter(Boolean)));
  return node;
}

/** An icon of 20 x 20 from path data. @param {string} d */
export function icon(d) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", d);
  svg.append(path);
  return svg;
}

/** A button with a word. @param {string} text @param {string} title @param {() => void} act @param {string} [className] */
export function button(text, title, act, className = "") {
  const node = element("button", { class: className, text, title, attributes: { type: "button" } });
  node.addEventListener("click", act);
  return node;
}

/** An object by its number and colour. @param {number} id @param {string} color */
export function chip(id, color) {
  const swatch = element("span", { class: "mitonb-swatch" });
  swatch.style.background = color;
  return element("span", { class: "mitonb-chip" }, [swatch, element("span", { text: `#${id}` })]);
}

/** Offer these in a list, values with their words; what was chosen stays, if it is among them. @param {HTMLSelectElement} node @param {string[][]} pairs */
export function offer(node, pairs, first = "") {
  const old = node.value;
  node.replaceChildren(...pairs.map(([value, text]) => element("option", { text, attributes: { value } })));
  node.value = pairs.some(([value]) => value === old) ? old : first;
  return node;
}

/** Many properties of an element at once. @param {string} tag @param {Record<string, any>} [properties] @returns {any} */
export const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

/** A button with an icon. @param {string} d @param {string} title @param {() => void} act @param {string} [className] */
export function iconButton(d, title, act, className = "") {
  const node = element("button", {
    class: `mitonb-button ${className}`, title, attributes: { type: "button", "aria-label": title },
  }, [icon(d)]);
  node.addEventListener("click", act);
  return node;
}

/**
 * A slider.
 * @param {{min: number, max: number, step: number, title: string}} range
 * @param {(value: number) => void} changed
 */
export function slider({ min, max, step, title }, changed) {
  const input = element("input", {
    class: "mitonb-slider", title,
    attributes: { type: "range", min: `${min}`, max: `${max}`, step: `${step}`, "aria-label": title },
  });
  const tint = () => {
    const part = (+input.value - +input.min) / Math.max(+input.max - +input.min, 1e-9);
    input.style.setProperty("--part", `${100 * part}%`);
  };
  input.addEventListener("input", () => { tint(); changed(+input.value); });
  return Object.assign(input, {
    /** @param {number} value */
    show(value) {
      if (+input.value !== value) input.value = `${value}`;
      tint();
    },
  });
}

/** @param {string} text @param {string} title @param {(on: boolean) => void} changed */
export function checkbox(text, title, changed) {
  const input = element("input", { attributes: { type: "checkbox", "aria-label": text || title } });
  input.addEventListener("change", () => changed(input.checked));
  const label = element("label", { class: "mitonb-check", title }, [input, element("span", { text })]);
  return { label, input };
}

/** Run at most once per frame. @param {() => void} act */
export function perFrame(act) {
  let asked = 0;
  const run = () => {
    asked = 0;
    act();
  };
  return Object.assign(() => { asked ||= requestAnimationFrame(run); }, { cancel: () => cancelAnimationFrame(asked) });
}
