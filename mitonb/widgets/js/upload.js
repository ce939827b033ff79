/**
 * A place to drop a file on, or to choose one. The file goes to the kernel in pieces, each answered before the next is
 * sent: Jupyter drops browser messages above 10 MiB without a word.
 * @typedef {{get(n: string): any, on(e: string, f: Function): void, off(e: string, f: Function): void,
 *   send(content: object, callbacks?: object, buffers?: ArrayBuffer[]): void}} Model
 */

const PIECE = 900 * 1024;

/** @param {number} n bytes */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB"];
  let k = 0;
  while (n >= 1000 && k < 3) { n /= 1000; k += 1; }
  return `${k && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[k]}`;
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const zone = document.createElement("label");
  const text = document.createElement("span");
  const input = document.createElement("input");
  const bar = document.createElement("i");
  zone.className = "mnb-drop";
  input.type = "file";
  zone.append(input, text, bar);
  el.append(zone);

  /** @type {{file: File, id: string} | null} */
  let current = null;
  const idle = () => { current = null; input.value = ""; zone.classList.remove("busy"); bar.style.width = "0"; text.textContent = model.get("label"); };

  /** @param {File | undefined} file */
  function begin(file) {
    if (!file || current) return;
    current = { file, id: Math.random().toString(36).slice(2) };
    zone.classList.add("busy");
    text.textContent = `${file.name}: 0 of ${bytes(file.size)}`;
    model.send({ kind: "begin", id: current.id, name: file.name, size: file.size });
  }

  /** @param {any} message */
  async function receive(message) {
    if (!current || message.id !== current.id) return;
    if (message.kind !== "next") { idle(); return; }
    const { file, id } = current;
    bar.style.width = `${(100 * message.offset) / Math.max(1, file.size)}%`;
    text.textContent = `${file.name}: ${bytes(message.offset)} of ${bytes(file.size)}`;
    try {
      const piece = await file.slice(message.offset, message.offset + PIECE).arrayBuffer();
      model.send({ kind: "piece", id, offset: message.offset }, undefined, [piece]);
    } catch (error) {
      model.send({ kind: "broken", id, text: String(error) });
    }
  }

  /** @param {DragEvent} event */
  function drag(event) {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.toggle("over", event.type === "dragenter" || event.type === "dragover");
    if (event.type === "drop") begin(event.dataTransfer?.files[0]);
  }

  input.addEventListener("change", () => begin(input.files?.[0]));
  for (const type of /** @type {const} */ (["dragenter", "dragover", "dragleave", "drop"])) zone.addEventListener(type, drag);
  model.on("msg:custom", receive);
  idle();
  return () => model.off("msg:custom", receive);
}

export default { render };
