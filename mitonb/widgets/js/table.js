/**
 * A table of numbers that draws only the rows in sight: sort by a click on a header, go to an object by a click on its row
 * or with the arrow keys, choose several with Ctrl and Shift, find ids, filter by a column. Rows come as one Float64Array
 * per column; nothing in it is ever read as HTML.
 * @typedef {{get(n: string): any, on(e: string, f: Function): void, off(e: string, f: Function): void,
 *   set(n: string, value: any): void, send(content: object): void}} Model
 * @typedef {{name: string, label: string, kind: "id" | "number" | "flag" | "verdict" | "word", digits: number, width: number, tip: string, words?: string[]}} Column
 * @typedef {{columns: Column[], values: Float64Array[], colors: Uint8Array}} Data
 */

import { Chart } from "./chart.js";
import { button, make, offer } from "./dom.js";
import { collector, rowsOf } from "./packs.js";
import { nextSelection } from "./seen.js";

const ROW = 22;
/** More cannot be selected at once. */
const MOST = 10_000;
const STEPS = /** @type {Record<string, number>} */ ({
  ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity,
});

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
  if (column.kind === "verdict" && (value < 0 || value > 1)) return { "-3": "? unsure", "-2": "! mend", "-1": "✗ false" }[value] ?? "✓ right";
  if (column.kind === "word") return column.words?.[value] ?? "–";
  if (column.kind === "flag") return value ? "yes" : "";
  if (column.kind === "id") return String(value);
  return value.toLocaleString("en", { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits }).replaceAll(",", " ");
}

/**
 * Whether ids are looked for: those that begin with a number, or of several numbers just these.
 * @param {string} text @returns {(id: number) => boolean}
 */
export function searched(text) {
  const words = text.split(/[^0-9]+/).filter(Boolean);
  if (!words.length) return () => !text.trim();
  return words.length === 1 ? (id) => `${id}`.startsWith(words[0]) : (id) => words.includes(`${id}`);
}

/**
 * Whether a value lies in a range, as it is or as it is shown; open ends are NaN.
 * @param {number} from @param {number} to @param {number} digits @returns {(value: number) => boolean}
 */
export function between(from, to, digits) {
  if (Number.isNaN(from) && Number.isNaN(to)) return () => true;
  const inside = (/** @type {number} */ v) => !(v < from) && !(v > to);
  return (value) => !Number.isNaN(value) && (inside(value) || inside(+value.toFixed(digits)));
}

/** @param {string} text */
const plain = (text) => text.toLowerCase().replace(/[^a-z0-9]/g, "");

/**
 * What a text in the search asks for: ids, or conditions that all must hold, such as "voxels < 500, at border, not locked".
 * @param {string} text @param {Column[]} columns
 * @returns {{wrong: string, passes: (value: (k: number) => number) => boolean}} `value` is that of a row in column k
 */
export function asked(text, columns) {
  const ids = searched(text);
  if (/^[\d\s#,;]*$/.test(text)) return { wrong: "", passes: (value) => ids(value(0)) };
  let wrong = "";
  const tests = text.split(/[,;&]|\band\b/i).map((part) => part.trim()).filter(Boolean).map((part) => {
    const [, not, name, sign = "", bound = ""] = /^(not\s+)?([^<>=!]+)(?:([<>!]=?|=)(.*))?$/i.exec(part) ?? [];
    const names = columns.map((c) => [plain(c.label), plain(c.name)]);
    const fits = [(/** @type {string} */ n) => n === plain(name), (/** @type {string} */ n) => n.startsWith(plain(name))];
    const k = name && plain(name) ? fits.map((fit) => names.findIndex((some) => some.some(fit))).find((at) => at >= 0) ?? -1 : -1;
    const limit = bound.trim() === "" ? NaN : Number(bound);
    if (k < 0) wrong ||= `No column is called "${(name ?? part).trim().slice(0, 30)}". Columns: ${columns.map((c) => c.label).join(", ")}.`;
    else if (sign ? Number.isNaN(limit) || sign === "!" || not : columns[k].kind !== "flag") wrong ||= `"${part.slice(0, 30)}" is no condition: say ${columns[k].label} ${columns[k].kind === "flag" ? "or not" : "< 500"}.`;
    if (wrong) return () => false;
    const same = between(limit, limit, columns[k].digits);
    const says = /** @type {Record<string, (v: number) => boolean>} */ ({
      "<": (v) => v < limit, ">": (v) => v > limit, "=": same, "!=": (v) => !same(v), "": (v) => Boolean(v) !== Boolean(not),
      "<=": between(NaN, limit, columns[k].digits), ">=": between(limit, NaN, columns[k].digits),
    })[sign];
    return (/** @type {(k: number) => number} */ value) => !Number.isNaN(value(k)) && says(value(k));
  });
  return { wrong, passes: (value) => !wrong && tests.every((test) => test(value)) };
}

/**
 * What is chosen after a click; the clicked row is the last, which is painted with.
 * @param {number[]} shown ids in their order @param {number[]} chosen before @param {number} anchor where a range begins
 * @param {number} id @param {boolean} toggles Ctrl @param {boolean} extend Shift
 */
export function choice(shown, chosen, anchor, id, toggles, extend) {
  if (extend) {
    const [a, b] = [shown.indexOf(anchor), shown.indexOf(id)];
    const range = a < 0 ? [id] : a <= b ? shown.slice(a, b + 1) : shown.slice(b, a + 1).reverse();
    return toggles ? [...chosen.filter((i) => !range.includes(i)), ...range] : range;
  }
  return nextSelection(chosen, id, toggles);
}

/** Search, filter, and what there is to say; @param {() => void} changed @param {() => void} select */
function toolbar(changed, select) {
  const find = make("input", { type: "search", className: "find", placeholder: "ids, or voxels < 500", ariaLabel: "Find objects",
    title: "Objects whose id begins with a number, or has one of several: 12 or 3, 7, 12; or conditions, all of which hold: voxels < 500, at border, not locked. Enter goes to the first." });
  const column = make("select", { ariaLabel: "Column to filter by", title: "Show only objects in a range of this column" });
  const [from, to] = ["from", "to"].map((word) => make("input", {
    type: "number", step: "any", className: "bound", placeholder: word, ariaLabel: `Filter: ${word}` }));
  const all = button("show all", "End search and filter", () => {
    find.value = column.value = from.value = to.value = "";
    update();
    find.focus();
  });
  const these = button("select these", "Select all objects that are shown (Ctrl-A in the rows): what is done then is done to all of them", select);
  const said = make("span", { className: "said", role: "status" });
  const undo = make("button", { type: "button", textContent: "Undo", title: "Take this edit back (Ctrl-Z)" });
  const bar = make("div", { className: "bar" });
  bar.append(find, column, from, to, these, all, said, undo);
  let wrong = "";
  const isFlag = () => column.value.includes("=");
  const on = () => Boolean(find.value.trim() || (column.value && (isFlag() || from.value || to.value)));
  const tidy = () => {
    from.hidden = to.hidden = !column.value || isFlag();
    all.hidden = these.hidden = !on();
  };
  const update = () => {
    tidy();
    changed();
  };
  for (const input of [find, column, from, to]) input.addEventListener("input", update);
  undo.hidden = true;
  return {
    bar, find, said, undo, on,
    /** What is no condition in what was typed. */
    get wrong() { return wrong; },
    /** @param {Column[]} columns */
    show(columns) {
      const options = columns.filter((c) => c.kind !== "id").flatMap((c) => c.kind === "flag"
        ? [[`${c.name}=1`, `${c.label}: yes`], [`${c.name}=0`, `${c.label}: no`]] : [[c.name, c.label]]);
      if (options.length + 1 === column.options.length && options.every(([value], i) => column.options[i + 1].value === value)) return;
      // A column that has gone filters nothing.
      offer(column, [["", "filter …"], ...options]);
      tidy();
    },
    /** Which rows are shown. @param {Data} data @returns {(row: number) => boolean} */
    passes({ columns, values }) {
      const wanted = asked(find.value, columns);
      wrong = wanted.wrong;
      these.hidden = !on() || Boolean(wrong);
      const [name, flag] = column.value.split("=");
      const k = columns.findIndex((c) => c.name === name);
      const [low, high] = flag ? [+flag, +flag] : [from, to].map((input) => (input.value === "" ? NaN : +input.value));
      const inside = k < 0 ? () => true : between(low, high, columns[k].digits);
      return (row) => wanted.passes((at) => values[at][row]) && inside(k < 0 ? 0 : values[k][row]);
    },
  };
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const [root, head, space, empty] = ["mnb-table", "head", "space", "empty"].map((className) => make("div", { className }));
  const body = make("div", { className: "body", tabIndex: 0, role: "listbox", ariaLabel: "Objects", ariaMultiSelectable: "true" });
  body.append(space);
  const tools = toolbar(() => sort(), () => {
    choose(shown());
    body.focus({ preventScroll: true });
  });
  const chart = new Chart({ rows: () => rows, chosen: () => model.get("selected"), choose: (ids) => choose(ids), pick: (id) => pick(id) });
  const plot = button("plot", "Draw the objects by their measures, and select them there", () => {
    chart.node.hidden = !chart.node.hidden;
    plot.ariaPressed = `${!chart.node.hidden}`;
    root.classList.toggle("plots", !chart.node.hidden);
    chart.draw();
  }, "plot");
  plot.ariaPressed = "false";
  const more = make("select", { ariaLabel: "Measure more", title: "Measure more of each object; it takes longer", className: "more" });
  more.addEventListener("change", () => {
    model.send({ kind: "measure", group: more.value });
    more.value = "";
  });
  const regroup = () => {
    const groups = model.get("groups");
    more.hidden = !groups.length;
    offer(more, ["", ...groups].map((value) => [value, value || "measure …"]));
  };
  regroup();
  tools.bar.append(more, plot);
  root.append(tools.bar, head, body, empty, chart.node);
  el.append(root);

  /** @type {Data} */
  let data = { columns: [], values: [], colors: new Uint8Array() };
  const collect = collector();
  /** A column by its name, which stays when others come; "" is the first number. */
  let sorting = { column: "", down: true };
  /** Rows in their order that pass search and filter. @type {Uint32Array} */
  let rows = new Uint32Array();
  let place = new Map();
  let known = new Set();
  let drawn = 0;
  /** Where a range with Shift begins. */
  let anchor = 0;
  /** What was done last, until something else is: a sentence, and the number of the edit. */
  let news = { text: "", edit: 0 };

  const template = () => data.columns.map((c) => `minmax(${c.width}px, ${c.width}fr)`).join(" ");

  function sorted() {
    const found = data.columns.findIndex((c) => c.name === sorting.column);
    return found < 0 ? data.columns.findIndex((c) => c.kind === "number") : found;
  }

  function sort() {
    tools.show(data.columns);
    const values = data.values[sorted()];
    rows = values ? order(values, sorting.down).filter(tools.passes(data)) : new Uint32Array();
    place = new Map();
    rows.forEach((r, i) => place.set(data.values[0][r], i));
    known = new Set(data.values[0]);
    space.style.height = `${rows.length * ROW}px`;
    empty.textContent = rows.length ? "" : known.size ? `No ${model.get("noun")} matches.` : model.get("empty");
    drawHead();
    draw();
    chart.draw();
  }

  function drawHead() {
    head.style.gridTemplateColumns = template();
    // In a narrow cell head and rows scroll sideways together.
    head.style.minWidth = body.style.minWidth = `${12 + data.columns.reduce((sum, c) => sum + c.width, 0)}px`;
    // The buttons stay while the columns do: one of them may have the focus.
    const key = data.columns.map((c) => c.label).join();
    if (head.dataset.columns !== key) {
      head.dataset.columns = key;
      head.replaceChildren(...data.columns.map((column, i) => button("", `${column.tip}. Click to sort.`, () => {
        sorting = { column: column.name, down: i === sorted() ? !sorting.down : column.kind !== "id" };
        sort();
      })));
    }
    data.columns.forEach((column, i) => {
      const on = i === sorted();
      head.children[i].textContent = `${column.label}${on ? (sorting.down ? " ▾" : " ▴") : ""}`;
      head.children[i].className = on ? "on" : "";
    });
  }

  function draw() {
    drawn = 0;
    const first = Math.max(0, Math.floor(body.scrollTop / ROW) - 4);
    // Of a short table all, whatever its height is just now.
    const last = Math.min(rows.length, Math.max(40, Math.ceil((body.scrollTop + body.clientHeight) / ROW) + 4));
    const chosen = new Set(model.get("selected"));
    const lines = [];
    for (let i = first; i < last; i += 1) {
      const r = rows[i];
      const id = data.values[0][r];
      const line = make("div", { className: chosen.has(id) ? "row on" : "row", role: "option", ariaSelected: `${chosen.has(id)}` });
      Object.assign(line.style, { top: `${i * ROW}px`, gridTemplateColumns: template() });
      line.dataset.id = `${id}`;
      line.append(...data.columns.map((column, k) => make("span", { textContent: cell(data.values[k][r], column) })));
      const swatch = make("i");
      swatch.style.background = `rgb(${data.colors.subarray(3 * r, 3 * r + 3).join(",")})`;
      line.firstChild.prepend(swatch);
      lines.push(line);
    }
    space.replaceChildren(...lines);
    root.dataset.rows = String(rows.length);
    tell();
  }

  /** What is chosen and there; the kernel may have chosen an object that is not in the table yet. @returns {number[]} */
  const chosen = () => model.get("selected").filter((/** @type {number} */ id) => known.has(id));

  /** Say what was done, else how many objects there are and what can be done with them. */
  function tell() {
    const total = known.size;
    const [picked, n] = [chosen(), (/** @type {number} */ v) => v.toLocaleString("en")];
    const hidden = picked.filter((id) => !place.has(id)).length;
    const count = `${tools.on() ? `${n(rows.length)} of ` : ""}${n(total)} ${model.get("noun")}${total === 1 ? "" : "s"}`;
    const what = picked.length
      ? `${n(picked.length)} selected${hidden ? ` (${n(hidden)} not shown)` : ""}${model.get("deletes") ? "; Delete deletes" : ""}`
      : "click to go there, Ctrl or Shift for several";
    tools.said.textContent = tools.wrong || news.text || (total ? `${count}; ${what}` : "");
    tools.said.title = tools.said.textContent;
    tools.undo.hidden = !news.edit;
  }

  /** @param {string} text @param {number} edit */
  function say(text, edit = 0) {
    news = { text, edit };
    tell();
  }

  const redraw = () => { if (!drawn) drawn = requestAnimationFrame(draw); };

  /** @param {any} message @param {DataView[]} buffers */
  function receive(message, buffers) {
    if (message.kind === "said") say(message.text, message.edit);
    const head = message.kind === "data" && collect(message, buffers[0]);
    if (!head) return;
    data = { columns: head.columns, values: rowsOf(head.values, head.columns.length), colors: head.colors };
    // First, for sorting draws it.
    chart.take(data);
    sort();
  }

  /** @param {number} id */
  function pick(id) {
    anchor = id;
    say("");
    model.send({ kind: "pick", id });
  }

  /** Choose objects without going there. @param {number[]} ids */
  function choose(ids) {
    if (ids.length > MOST) {
      say(`At most ${MOST.toLocaleString("en")} objects can be selected at once: filter first.`);
      return;
    }
    say("");
    // Here at once, without a jump; the kernel may refuse it.
    model.off("change:selected", selected);
    model.set("selected", ids);
    model.on("change:selected", selected);
    redraw();
    chart.draw();
    model.send({ kind: "select", ids });
  }

  const shown = () => Array.from(rows, (r) => data.values[0][r]);

  /** @param {number} id @param {{ctrlKey: boolean, metaKey: boolean, shiftKey: boolean}} keys */
  function take(id, { ctrlKey, metaKey, shiftKey }) {
    const toggles = ctrlKey || metaKey;
    if (!toggles && !shiftKey) return pick(id);
    if (!place.has(anchor)) anchor = chosen().at(-1) ?? id;
    choose(choice(shown(), chosen(), anchor, id, toggles, shiftKey));
    if (!shiftKey) anchor = id;
  }

  /** @param {number | undefined} at a row */
  function reveal(at) {
    if (at === undefined) return;
    const y = at * ROW;
    if (y < body.scrollTop || y + ROW > body.scrollTop + body.clientHeight) body.scrollTop = y - body.clientHeight / 2;
  }

  /** Keys that the table uses itself; the viewer beside it does not get them. @param {KeyboardEvent} event */
  function key(event) {
    const command = event.ctrlKey || event.metaKey;
    const step = command || event.altKey ? 0 : STEPS[event.key];
    if (command && event.key.toLowerCase() === "a") choose(shown());
    else if (!command && (event.key === "Delete" || event.key === "Backspace")) remove();
    else if (step) {
      const at = place.get(chosen().at(-1)) ?? -1;
      const next = Math.min(rows.length - 1, Math.max(0, at + step));
      if (rows.length) take(data.values[0][rows[next]], event);
      reveal(next);
    } else return;
    event.preventDefault();
  }

  function remove() {
    const ids = chosen();
    if (ids.length) model.send({ kind: "delete", ids });
    else say("Select the objects to delete first: click on their rows.");
  }

  const selected = () => {
    reveal(place.get(model.get("selected").at(-1)));
    redraw();
    chart.draw();
  };
  body.addEventListener("scroll", redraw);
  body.addEventListener("keydown", key);
  space.addEventListener("click", (/** @type {any} */ event) => {
    const line = event.target.closest(".row");
    if (line) take(Number(line.dataset.id), event);
  });
  tools.find.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || !rows.length) return;
    const id = Number(tools.find.value);
    pick(place.has(id) ? id : data.values[0][rows[0]]);
    event.preventDefault();
  });
  tools.undo.addEventListener("click", () => {
    model.send({ kind: "undo", edit: news.edit });
    body.focus({ preventScroll: true });
  });
  const watcher = new ResizeObserver(() => {
    redraw();
    chart.draw();
  });
  watcher.observe(body);
  // A canvas keeps the colours that the theme had when it was drawn. The name of a theme comes before its style sheet.
  const themes = new MutationObserver(() => {
    for (const wait of [100, 500, 2000]) setTimeout(() => chart.draw(), wait);
  });
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
  const heard = /** @type {[string, Function][]} */ ([
    ["msg:custom", receive], ["change:selected", selected], ["change:empty", sort], ["change:deletes", tell], ["change:groups", regroup],
  ]);
  for (const [event, act] of heard) model.on(event, act);
  sort();
  model.send({ kind: "ready" });
  return () => {
    watcher.disconnect();
    themes.disconnect();
    for (const [event, act] of heard) model.off(event, act);
  };
}

export default { render };
