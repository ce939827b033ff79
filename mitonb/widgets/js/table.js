/**
 * A table of numbers that draws only the rows in sight: sort by a click on a header, pick by a click on a row or with the
 * arrow keys. Rows come as one Float64Array per column; nothing in it is ever read as HTML.
 * @typedef {{get(n: string): any, on(e: string, f: Function): void, off(e: string, f: Function): void,
 *   send(content: object): void}} Model
 * @typedef {{name: string, label: string, kind: "id" | "number" | "flag", digits: number, width: number, tip: string}} Column
 */

const ROW = 22;

/**
 * Row numbers in the order of one column; equal values keep the order of the first column, and unknown ones go last.
 * @param {Float64Array} values @param {boolean} down
 * @returns {Uint32Array}
 */
export function order(values, down) {
  const rows = Uint32Array.from(values, (_, i) => i);
  return rows.sort((a, b) => {
    const [p, q] = [values[a], values[b]];
    if (Number.isNaN(p) || Number.isNaN(q)) return Number(Number.isNaN(p)) - Number(Number.isNaN(q)) || a - b;
    return (down ? q - p : p - q) || a - b;
  });
}

/** @param {number} value @param {Column} column */
export function cell(value, column) {
  if (Number.isNaN(value)) return "–";
  if (column.kind === "flag") return value ? "yes" : "";
  if (column.kind === "id") return String(value);
  return value.toLocaleString("en", { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits }).replaceAll(",", " ");
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mnb-table";
  const head = document.createElement("div");
  const body = document.createElement("div");
  const space = document.createElement("div");
  const empty = document.createElement("div");
  head.className = "head"; body.className = "body"; space.className = "space"; empty.className = "empty";
  body.tabIndex = 0;
  body.role = "listbox";
  body.ariaLabel = "Objects";
  body.append(space);
  root.append(head, body, empty);
  el.append(root);

  /** @type {{columns: Column[], values: Float64Array[], colors: Uint8Array, got: number}} */
  let data = { columns: [], values: [], colors: new Uint8Array(), got: 0 };
  /** @type {{column: number, down: boolean}} */
  let sorting = { column: 1, down: true };
  /** @type {Uint32Array} */
  let rows = new Uint32Array();
  let place = new Map();
  let drawn = 0;

  const template = () => data.columns.map((c) => `minmax(${c.width}px, ${c.width}fr)`).join(" ");

  function sort() {
    const values = data.values[sorting.column];
    rows = values ? order(values, sorting.down) : new Uint32Array();
    place = new Map();
    rows.forEach((r, i) => place.set(data.values[0][r], i));
    space.style.height = `${rows.length * ROW}px`;
    empty.textContent = rows.length ? "" : model.get("empty");
    drawHead();
    draw();
  }

  function drawHead() {
    head.style.gridTemplateColumns = template();
    // In a narrow cell head and rows scroll sideways together.
    head.style.minWidth = body.style.minWidth = `${12 + data.columns.reduce((sum, c) => sum + c.width, 0)}px`;
    head.replaceChildren(...data.columns.map((column, i) => {
      const button = document.createElement("button");
      const on = i === sorting.column;
      button.textContent = `${column.label}${on ? (sorting.down ? " ▾" : " ▴") : ""}`;
      button.title = `${column.tip}. Click to sort.`;
      button.className = on ? "on" : "";
      button.addEventListener("click", () => {
        sorting = { column: i, down: on ? !sorting.down : column.kind !== "id" };
        sort();
      });
      return button;
    }));
  }

  function draw() {
    drawn = 0;
    const first = Math.max(0, Math.floor(body.scrollTop / ROW) - 4);
    const last = Math.min(rows.length, Math.ceil((body.scrollTop + body.clientHeight) / ROW) + 4);
    const chosen = new Set(model.get("selected"));
    const lines = [];
    for (let i = first; i < last; i += 1) {
      const r = rows[i];
      const line = document.createElement("div");
      const id = data.values[0][r];
      line.className = chosen.has(id) ? "row on" : "row";
      line.style.top = `${i * ROW}px`;
      line.style.gridTemplateColumns = template();
      line.dataset.id = String(id);
      line.role = "option";
      line.ariaSelected = String(chosen.has(id));
      data.columns.forEach((column, k) => {
        const span = document.createElement("span");
        span.textContent = cell(data.values[k][r], column);
        if (k === 0) {
          const swatch = document.createElement("i");
          swatch.style.background = `rgb(${data.colors.subarray(3 * r, 3 * r + 3).join(",")})`;
          span.prepend(swatch);
        }
        line.append(span);
      });
      lines.push(line);
    }
    space.replaceChildren(...lines);
    root.dataset.rows = String(rows.length);
  }

  const redraw = () => { if (!drawn) drawn = requestAnimationFrame(draw); };

  /** @param {any} message @param {DataView[]} buffers */
  function receive(message, buffers) {
    if (message.kind !== "rows") return;
    const { total, offset, columns } = message;
    if (offset === 0) data = { columns, values: columns.map(() => new Float64Array(total).fill(NaN)), colors: new Uint8Array(3 * total), got: 0 };
    columns.forEach((/** @type {Column} */ _, /** @type {number} */ k) => {
      const b = buffers[k];
      data.values[k].set(new Float64Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)), offset);
    });
    const c = buffers[columns.length];
    data.colors.set(new Uint8Array(c.buffer, c.byteOffset, c.byteLength), 3 * offset);
    data.got += message.count;
    if (data.got >= total) sort();
  }

  /** @param {number | undefined} id */
  const pick = (id) => { if (id !== undefined) model.send({ kind: "pick", id }); };

  /** @param {boolean} jump */
  function show(jump) {
    const at = place.get(model.get("selected")[0]);
    if (jump && at !== undefined) {
      const y = at * ROW;
      if (y < body.scrollTop || y + ROW > body.scrollTop + body.clientHeight) body.scrollTop = y - body.clientHeight / 2;
    }
    redraw();
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!step || !rows.length) return;
    event.preventDefault();
    const at = place.get(model.get("selected")[0]) ?? -1;
    pick(data.values[0][rows[Math.min(rows.length - 1, Math.max(0, at + step))]]);
  }

  const selected = () => show(true);
  body.addEventListener("scroll", redraw);
  body.addEventListener("keydown", key);
  space.addEventListener("click", (event) => {
    const line = /** @type {HTMLElement} */ (event.target).closest(".row");
    if (line) pick(Number(/** @type {HTMLElement} */ (line).dataset.id));
  });
  const watcher = new ResizeObserver(redraw);
  watcher.observe(body);
  model.on("msg:custom", receive);
  model.on("change:selected", selected);
  model.on("change:empty", sort);
  sort();
  model.send({ kind: "ready" });
  return () => {
    watcher.disconnect();
    model.off("msg:custom", receive);
    model.off("change:selected", selected);
    model.off("change:empty", sort);
  };
}

export default { render };
