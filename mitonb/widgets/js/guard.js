/**
 * Keeps the keys and the mouse from the notebook around our widgets, and gives the keys to the viewer beside them.
 *
 * A notebook reads keys wherever the focus is in one of its cells: M on a slider would turn the cell into Markdown. So
 * every part of ours is a guarded element: no key and no click leaves it, and what its own control does not need is done
 * by the viewer in it, as if that had the focus.
 * @typedef {{key(event: KeyboardEvent): void}} Viewer  what a viewer's element carries as `mitonb`
 * @typedef {{owner: HTMLElement | null, tabbed: boolean, dragged: boolean}} Page
 */

export const GONE = "The kernel was restarted: run this cell again.";

const PART = ".mnb, .mitonb-viewer";
const PRESSED = "button, summary, a[href], select, [role=tab], [role=button], input:not([type=range])";
const MOVED = "input[type=range], input[type=radio], select, [role=slider], [role=tab], [role=listbox], [role=grid]";
const NEEDY = ".mnb-head, .mnb-side, .mnb-run > .widget-hbox > :not(.mnb-news), .mnb-save";
const UNTYPED = ["range", "checkbox", "radio", "button", "submit", "reset", "file", "color", "image"];

/**
 * The outermost part that an element lies in.
 * @param {EventTarget | null} node
 */
function partOf(node) {
  let found = node instanceof Element ? node.closest(PART) : null;
  for (let next = found; next; next = next.parentElement?.closest(PART) ?? null) found = next;
  return /** @type {HTMLElement | null} */ (found);
}

/**
 * The viewer that the keys of a part are for: in it, or beside it in a box that the user has made.
 * @param {Element} part
 */
function viewerOf(part) {
  let box = part;
  for (let next = part.parentElement?.closest(".jupyter-widgets"); next; next = next.parentElement?.closest(".jupyter-widgets")) box = next;
  const found = [box, ...box.querySelectorAll(".mitonb-viewer")].find((n) => n.matches(".mitonb-viewer") && n.checkVisibility());
  return /** @type {(HTMLElement & {mitonb: Viewer}) | undefined} */ (found);
}

/** @param {EventTarget | null} node */
function isTyping(node) {
  if (node instanceof HTMLInputElement) return !UNTYPED.includes(node.type);
  return node instanceof HTMLTextAreaElement || (node instanceof HTMLElement && node.isContentEditable);
}

/** Whether the keyboard scrolls an element. @param {HTMLElement} node */
function scrolls(node) {
  return node.scrollHeight > node.clientHeight && /auto|scroll/.test(getComputedStyle(node).overflowY);
}

/** @param {Element} node */
function isOpen(node) {
  try {
    return node.matches("select:open");
  } catch {
    // A browser that cannot tell: the list may be open, and then letters look for an entry.
    return node instanceof HTMLSelectElement;
  }
}

/**
 * Whether the control that has the focus needs a key itself.
 * @param {KeyboardEvent} event @param {boolean} tabbed
 */
function keeps({ key, target, ctrlKey, metaKey }, tabbed) {
  const node = /** @type {HTMLElement} */ (target);
  if (isTyping(node) || isOpen(node)) return true;
  if (/^(Arrow|Home|End|Page)/.test(key)) return node.matches(MOVED) || scrolls(node);
  if (key === " " && scrolls(node)) return true;
  // Who went to a button with Tab presses it with Enter, and looks for an entry of a list with its first letter; who
  // clicked on it goes on in the picture.
  const uses = key === "Enter" || key === " " ? PRESSED : key.length === 1 && !ctrlKey && !metaKey ? "select" : "";
  return tabbed && uses !== "" && node.matches(uses);
}

/** Where the keys of a part go when no control of it has them. @param {HTMLElement} part */
function focus(part) {
  (viewerOf(part) ?? part).focus({ preventScroll: true });
}

/** @param {KeyboardEvent} event @param {HTMLElement} part */
function press(event, part) {
  event.stopPropagation();
  if (event.defaultPrevented || event.isComposing) return;
  const { target } = event;
  const viewer = viewerOf(part);
  if (!viewer || (part.contains(/** @type {Node} */ (target)) && keeps(event, page().tabbed))) return;
  viewer.mitonb.key(event);
  // A letter that is no key of the viewer would choose another entry.
  if (target instanceof HTMLSelectElement && event.key.length === 1 && !event.ctrlKey && !event.metaKey) event.preventDefault();
}

/** Give the controls of ipywidgets that have no name the one that stands beside them, or their tooltip. @param {Element} part */
function nameControls(part) {
  for (const node of part.querySelectorAll(".noUi-handle, .widget-readout, select, input, textarea")) {
    const widget = /** @type {HTMLElement | null} */ (node.closest(".jupyter-widgets"));
    const own = node instanceof HTMLInputElement || node instanceof HTMLSelectElement || node instanceof HTMLTextAreaElement;
    if (!widget || node.hasAttribute("aria-label") || (own && [...(node.labels ?? [])].some((label) => label.textContent))) continue;
    const label = /** @type {HTMLElement | null} */ (widget.querySelector(".widget-label"));
    const beside = own ? "" : label?.textContent;
    // A number field leaves its tooltip with its label, also where that is hidden.
    node.setAttribute("aria-label", beside || (own && node.title) || widget.title || label?.title || "value");
    if (node.matches(".widget-readout")) node.setAttribute("role", "textbox");
  }
}

/**
 * What needs the kernel is switched off while there is none, and the line of the run bar says why (style.py); the viewer
 * keeps what is drawn.
 * @param {HTMLElement} part
 */
function follow(part) {
  const gone = part.classList.contains("jupyter-widgets-disconnected");
  for (const node of part.querySelectorAll(NEEDY)) /** @type {HTMLElement} */ (node).inert = gone;
}

/** Guard an element, for as long as it lives. @param {HTMLElement} part */
export function guard(part) {
  page();
  if (part.dataset.guarded) return;
  Object.assign(part.dataset, { guarded: "true", lmSuppressShortcuts: "true", jpSuppressContextMenu: "true" });
  if (!part.hasAttribute("tabindex")) part.tabIndex = -1;
  part.addEventListener("keydown", (event) => press(event, part));
  // The notebook would select cells, and take the focus for them.
  part.addEventListener("mousedown", (event) => event.stopPropagation());
  part.addEventListener("contextmenu", (event) => {
    event.stopPropagation();
    // Elsewhere the browser's own menu is of use: copy, save the picture.
    if (event.target instanceof Element && event.target.closest("canvas, .mitonb-stage")) event.preventDefault();
  });
  new MutationObserver(() => nameControls(part)).observe(part, { childList: true, subtree: true });
  nameControls(part);
  // Jupyter marks its widgets when the kernel is restarted.
  new MutationObserver(() => follow(part)).observe(part, { attributeFilter: ["class"] });
  follow(part);
}

/** What is known of the page, for all guarded elements in it. @returns {Page} */
function page() {
  const shared = /** @type {{mitonbPage?: Page}} */ (/** @type {unknown} */ (window));
  return (shared.mitonbPage ??= watch());
}

/** @returns {Page} */
function watch() {
  /** @type {Page} */
  const state = { owner: null, tabbed: false, dragged: false };
  const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ act) => window.addEventListener(name, act, true);
  on("focusin", (event) => { state.owner = partOf(event.target); });
  on("pointerdown", (event) => {
    const part = partOf(event.target);
    state.owner = part;
    state.tabbed = false;
    state.dragged = event.button === 2 && Boolean(part && event.target.closest("canvas, .mitonb-stage"));
    // What is pressed may take no focus, and then the keys would go on to the cell that was clicked before.
    if (part && !part.contains(document.activeElement)) focus(part);
  });
  on("contextmenu", (event) => {
    // A right-drag may end anywhere.
    if (!state.dragged || partOf(event.target)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  });
  on("keydown", (event) => {
    if (event.key === "Tab") state.tabbed = true;
    state.dragged = false;
    const { owner } = state;
    const part = partOf(event.target);
    if (owner?.isConnected && (event.target === document.body || event.target === document.documentElement)) {
      // The control that had the focus is disabled, hidden or gone.
      focus(owner);
      press(event, owner);
    } else if (part && isTyping(event.target) && (event.key === "Escape" || (event.key === "Enter" && event.target.closest(".mitonb-viewer")))) {
      // Done typing: the keys are tools again.
      focus(part);
    }
  });
  return state;
}

/** @param {{el: HTMLElement}} context */
function render({ el }) {
  let timer = 0;
  // A view is made before it has a place in the page.
  const wait = () => {
    const part = el.isConnected ? partOf(el) : null;
    if (part) guard(part);
    else timer = window.setTimeout(wait, 30);
  };
  wait();
  return () => clearTimeout(timer);
}

export default { render };
