/**
 * Tells the kernel what only the browser knows: whether it can draw 3D, how wide the place is, and the page's colour;
 * and lets ipyvolume hear of clicks only.
 * @typedef {{get(n: string): any, set(n: string, v: any): void, save_changes(): void}} Model
 */

/** @returns {string} "yes", or a sentence that says why not */
function webgl() {
  const canvas = document.createElement("canvas");
  try {
    const gl = canvas.getContext("webgl2") ?? canvas.getContext("webgl");
    // A page may hold sixteen contexts; this one is not needed any longer.
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    return gl ? "yes" : "This browser does not offer WebGL: it is switched off, or the graphics driver is blocked.";
  } catch (error) {
    return `WebGL does not start: ${error}.`;
  }
}

/**
 * A colour as #rrggbb, whatever way the theme writes it.
 * @param {string} color
 */
function plain(color) {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) return "#ffffff";
  context.fillStyle = "#ffffff";
  context.fillStyle = color;
  return context.fillStyle.startsWith("#") ? context.fillStyle : "#ffffff";
}

const TREMBLE = 4;

/**
 * ipyvolume picks when a button goes down, so that every turn would select what lay under the pointer. Here it is told
 * of a press beside the picture, where nothing is; and of one at the right place after a click, when nothing has moved.
 * The controls that turn the scene read other coordinates of the event, and are not touched.
 * @param {HTMLElement} root @param {AbortSignal} signal
 */
function pickByClick(root, signal) {
  let [x, y, moved] = [0, 0, false];
  const canvasOf = (/** @type {Event} */ event) =>
    event.target instanceof HTMLCanvasElement && event.target.closest(".mnb-stage") ? event.target : null;
  const options = { capture: true, signal };
  root.addEventListener("mousedown", (event) => {
    if (!event.isTrusted || !canvasOf(event)) return;
    [x, y, moved] = [event.clientX, event.clientY, false];
    Object.defineProperty(event, "offsetX", { value: -1e6 });
  }, options);
  window.addEventListener("mousemove", (event) => {
    moved ||= Math.hypot(event.clientX - x, event.clientY - y) > TREMBLE;
  }, options);
  root.addEventListener("click", (event) => {
    const canvas = canvasOf(event);
    if (!canvas || moved) return;
    const place = { bubbles: true, clientX: event.clientX, clientY: event.clientY, screenX: event.screenX, screenY: event.screenY };
    canvas.dispatchEvent(new MouseEvent("mousedown", place));
    canvas.dispatchEvent(new MouseEvent("mouseup", place));
  }, options);
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  el.style.cssText = "width: 100%; height: 0; margin: 0";
  const tell = () => {
    const width = Math.floor(el.getBoundingClientRect().width);
    if (width > 0) model.set("width", width);
    model.set("background", plain(getComputedStyle(el).getPropertyValue("--jp-layout-color0").trim() || "#ffffff"));
    model.save_changes();
  };
  model.set("webgl", webgl());
  model.save_changes();
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = window.setTimeout(tell, 150); };
  const size = new ResizeObserver(soon);
  // JupyterLab writes the theme's name on the body when it changes it.
  const theme = new MutationObserver(soon);
  const off = new AbortController();
  // A view is made before it has a place in the page.
  const place = window.setInterval(() => {
    const root = /** @type {HTMLElement | null | undefined} */ (el.isConnected ? el.closest(".mnb") : null);
    if (!root) return;
    clearInterval(place);
    pickByClick(root, off.signal);
  }, 30);
  size.observe(el);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
  return () => { clearTimeout(timer); clearInterval(place); off.abort(); size.disconnect(); theme.disconnect(); };
}

export default { render };
