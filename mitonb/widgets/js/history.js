/**
 * The journal as a list of buttons, newest first: a click or Enter asks the kernel to go to the place of an edit, and the
 * arrows walk through the list. Nothing in it is ever read as HTML.
 * @typedef {{get(n: string): any, on(e: string, f: Function): void, off(e: string, f: Function): void,
 *   send(content: object): void}} Model
 * @typedef {{seq: number, clock: string, text: string, code: string, undone: boolean, back: boolean}} Row
 */

const STEPS = /** @type {Record<string, number>} */ ({
  ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity,
});

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const list = document.createElement("div");
  list.className = "mnb-history";
  el.append(list);
  /** The entry that Tab comes to. */
  let at = 0;

  /** @param {Row} row */
  function entry({ seq, clock, text, code, undone, back }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = undone ? "mnb-entry undone" : "mnb-entry";
    button.dataset.seq = `${seq}`;
    button.title = `Go to the place of edit ${seq}`;
    for (const [tag, words] of [["span", clock], ["span", text], ["code", code]]) {
      const part = document.createElement(tag);
      part.textContent = words;
      button.append(part);
    }
    const line = document.createElement("div");
    line.className = "mnb-line";
    line.append(button);
    if (back) {
      const way = document.createElement("button");
      way.type = "button";
      way.className = "mnb-back";
      way.dataset.seq = `${seq}`;
      way.textContent = undone ? "forth to here" : "back to here";
      way.title = undone ? "Do all up to this edit again" : "Take all edits after this one back";
      line.append(way);
    }
    return line;
  }

  const entries = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll(".mnb-entry")]);

  /** Make an entry the one that Tab comes to. @param {HTMLElement | undefined} next */
  function take(next) {
    at = Number(next?.dataset.seq ?? 0);
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll("button"))) button.tabIndex = Number(button.dataset.seq) === at ? 0 : -1;
  }

  function draw() {
    const inside = list.contains(document.activeElement);
    list.replaceChildren(.../** @type {Row[]} */ (model.get("rows")).map(entry));
    const next = entries().find((button) => Number(button.dataset.seq) === at) ?? entries()[0];
    take(next);
    if (inside) next?.focus({ preventScroll: true });
  }

  list.addEventListener("focusin", (event) => take(/** @type {HTMLElement} */ (event.target)));
  list.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("button"));
    if (button) model.send({ kind: button.matches(".mnb-back") ? "back" : "go", seq: Number(button.dataset.seq) });
  });
  list.addEventListener("keydown", (event) => {
    const step = event.ctrlKey || event.metaKey || event.altKey ? 0 : STEPS[event.key];
    const all = entries();
    if (!step || !all.length) return;
    event.preventDefault();
    const here = all.findIndex((button) => Number(button.dataset.seq) === at);
    all[Math.min(Math.max(here + step, 0), all.length - 1)].focus();
  });
  /** @param {{copy?: string}} message */
  const copy = async ({ copy: text }) => {
    try {
      await navigator.clipboard.writeText(text ?? "");
      model.send({ copied: true });
    } catch { /* the page may not do that: the text stands on the screen */ }
  };
  model.on("change:rows", draw);
  model.on("msg:custom", copy);
  draw();
  return () => { model.off("change:rows", draw); model.off("msg:custom", copy); };
}

export default { render };
