// How a view stands in the page: its height, full screen, and the panels that may be folded beside the picture.

/** @typedef {import("./layout.js").Layout} Layout */
/** @typedef {"layers" | "recipe"} Panel */

/** CSS pixels that stay to the picture while nobody has asked for a panel. */
const PICTURE = 640;
const RAIL = 42;
const WIDTH = { layers: 208, recipe: 338 };
/** Below this width of a viewer its bars take two lines. */
const NARROW = 820;
/** Below this width they leave out words that their icons and numbers say, too. */
const TIGHT = 1040;
/** Below this width of a workbench the recipe stands above the picture instead of beside it. */
const STACKED = 650;
/** Below this width of a viewer the layers stand above the picture. */
const SLIM = 520;
/** Kept free around a viewer, and for the tabs under that of a workbench. */
const [MARGIN, TABS] = [26, 34];
/** The least height that a handle gives, the least that a low window does, and the most. */
const [LEAST, LOW, MOST] = [320, 440, 4000];
const STEP = 40;

/**
 * Which panels are unfolded in a width, where nobody has chosen.
 * @param {number} width @param {boolean} hasRecipe @param {{[panel in Panel]?: boolean}} chosen
 */
export function unfolded(width, hasRecipe, chosen) {
  const recipe = hasRecipe && (chosen.recipe ?? width >= PICTURE + RAIL + WIDTH.recipe);
  const left = width - (recipe ? WIDTH.recipe : 0);
  return { recipe, layers: chosen.layers ?? left >= PICTURE + RAIL + WIDTH.layers };
}

/** @param {number} height */
const within = (height) => Math.round(Math.min(Math.max(height, LEAST), MOST));

export class Frame {
  /**
   * @param {Layout} ui
   * @param {{height: () => number | null, setHeight: (height: number | null) => void}} facts  null follows the window
   */
  constructor(ui, facts) {
    this.ui = ui;
    this.facts = facts;
    /** @type {{[panel in Panel]?: boolean}} */
    this.chosen = {};
    this.off = new AbortController();
    this.observer = new ResizeObserver(() => this.place());
    this.observer.observe(ui.root);
    const { signal } = this.off;
    window.addEventListener("resize", () => this.place(), { signal });
    document.addEventListener("fullscreenchange", () => this.place(), { signal });
    this.#listen(signal);
    this.place();
  }

  dispose() {
    this.off.abort();
    this.observer.disconnect();
  }

  /** The workbench that the viewer is in, else the viewer. */
  get box() {
    return /** @type {HTMLElement} */ (this.ui.root.closest(".mnb-app") ?? this.ui.root);
  }

  /** Picture and recipe of a workbench. @returns {HTMLElement | null} */
  get main() {
    return this.ui.root.closest(".mnb-main");
  }

  /** What scrolls around a notebook's cells. */
  get window() {
    return this.ui.root.closest(".jp-WindowedPanel-outer") ?? document.documentElement;
  }

  get full() {
    return document.fullscreenElement === this.box;
  }

  /** @param {Panel} panel */
  toggle(panel) {
    this.chosen[panel] = !this.#shown()[panel];
    this.place();
  }

  /** Take the whole screen, or give it back. */
  async toggleFull() {
    if (this.full) {
      await document.exitFullscreen();
      return;
    }
    try {
      await this.box.requestFullscreen();
    } catch {
      this.ui.say({ text: "This page may not take the whole screen.", error: true });
    }
  }

  /** Fit everything into the room there is. */
  place() {
    const { root } = this.ui;
    if (!root.isConnected) return;
    // Known only once the view has its place in the page.
    for (const node of [this.box, this.window]) this.observer.observe(node);
    this.#fold();
    const height = this.#height();
    if (root.style.height !== `${height}px`) root.style.height = `${height}px`;
    for (const [name, value] of Object.entries({ now: height, min: Math.min(LEAST, height), max: MOST })) this.ui.grip.setAttribute(`aria-value${name}`, `${value}`);
  }

  #height() {
    const set = this.facts.height();
    if (set !== null && !this.full) return set;
    const { box, main, ui: { root } } = this;
    const room = this.full ? window.innerHeight : this.window.clientHeight;
    const above = (main ?? root).getBoundingClientRect().top - box.getBoundingClientRect().top + (box === root ? 0 : box.scrollTop);
    return within(Math.max(LOW, room - above - (main ? TABS : 0) - (this.full && box === root ? 0 : MARGIN)));
  }

  #shown() {
    const width = (this.main ?? this.ui.root).clientWidth;
    return unfolded(width, Boolean(this.main?.querySelector(":scope > .mnb-side")), this.chosen);
  }

  #fold() {
    const { ui, main } = this;
    const { recipe, layers } = this.#shown();
    main?.classList.toggle("mnb-folded", !recipe);
    main?.classList.toggle("mnb-stacked", main.clientWidth < STACKED);
    ui.panel.node.hidden = !layers;
    ui.top.showPanels(layers, this.main ? recipe : null, this.full);
    const width = ui.root.clientWidth;
    ui.root.classList.toggle("mitonb-narrow", width < NARROW);
    ui.root.classList.toggle("mitonb-tight", width < TIGHT);
    ui.root.classList.toggle("mitonb-slim", width < SLIM);
    ui.root.classList.toggle("mitonb-full", this.full);
  }

  /** The handle under the picture. @param {AbortSignal} signal */
  #listen(signal) {
    const { grip, root } = this.ui;
    const set = (/** @type {number} */ height) => this.facts.setHeight(within(height));
    grip.addEventListener("pointerdown", (down) => {
      if (down.button) return;
      const start = root.offsetHeight;
      grip.setPointerCapture(down.pointerId);
      const move = (/** @type {PointerEvent} */ event) => set(start + event.clientY - down.clientY);
      grip.addEventListener("pointermove", move, { signal });
      grip.addEventListener("lostpointercapture", () => grip.removeEventListener("pointermove", move), { once: true, signal });
    }, { signal });
    grip.addEventListener("dblclick", () => this.facts.setHeight(null), { signal });
    grip.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -STEP, ArrowDown: STEP }[event.key];
      if (!step) return;
      set(root.offsetHeight + step);
      event.preventDefault();
    }, { signal });
    // Of the scales that are compared, a click on the picture chooses as its button does, and Escape closes them.
    document.addEventListener("click", ({ target }) => {
      const picture = target instanceof Element && this.box.contains(target) && target.closest(".mnb-scales img");
      if (picture) picture.parentElement?.querySelector("button")?.click();
    }, { signal });
    document.addEventListener("keydown", (event) => {
      const scales = /** @type {HTMLElement | null} */ (this.box.querySelector(".mnb-scales"));
      if (event.key !== "Escape" || !scales?.offsetParent || !this.box.contains(document.activeElement)) return;
      /** @type {HTMLElement | null} */ (scales.querySelector(":scope > .mnb-link"))?.click();
      event.stopPropagation();
    }, { signal, capture: true });
  }
}
