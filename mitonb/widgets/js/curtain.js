/**
 * Two pictures of one place, one on the left of a handle and one on the right of it. The handle is a slider as large as
 * the pictures: it goes where it is pressed, is dragged, and follows the arrow keys.
 * @typedef {{get(n: string): any, on(e: string, f: Function): void, off(e: string, f: Function): void}} Model
 */

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mnb-curtain";
  const [right, left] = [1, 0].map((side) => {
    const part = document.createElement("figure");
    part.dataset.side = `${side}`;
    part.append(document.createElement("img"), document.createElement("figcaption"));
    return part;
  });
  const handle = Object.assign(document.createElement("input"), { type: "range", min: "0", max: "100", step: "0.5", value: "50" });
  handle.setAttribute("aria-label", "Handle between the two pictures");
  handle.title = "Drag: what is left of the line is before, what is right of it is after";
  const line = document.createElement("i");
  root.append(right, left, line, handle);
  el.append(root);
  /** @type {string[]} */
  let addresses = [];

  const move = () => root.style.setProperty("--at", `${handle.value}%`);
  function draw() {
    addresses.forEach((address) => URL.revokeObjectURL(address));
    const names = model.get("names");
    const parts = /** @type {[string, HTMLElement][]} */ ([["left", left], ["right", right]]);
    addresses = parts.map(([name]) => URL.createObjectURL(new Blob([model.get(name)], { type: "image/png" })));
    for (const [k, [, part]] of parts.entries()) {
      const [picture, caption] = /** @type {[HTMLImageElement, HTMLElement]} */ ([...part.children]);
      picture.src = addresses[k];
      picture.alt = caption.textContent = names[k];
    }
  }

  handle.addEventListener("input", move);
  model.on("change", draw);
  move();
  draw();
  return () => {
    model.off("change", draw);
    addresses.forEach((address) => URL.revokeObjectURL(address));
  };
}

export default { render };
