/**
 * Tells the kernel what only the browser knows: whether it can draw 3D, how wide the place is, and the page's colour.
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
  size.observe(el);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
  return () => { clearTimeout(timer); size.disconnect(); theme.disconnect(); };
}

export default { render };
