// What lies over the picture as lines: peaks, arrows, the mark of a place; and the scale bar.

import { lengthText, pixelOf, roundLength, toPlane, toScreen } from "./geometry.js";
import { half } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./geometry.js").Camera} Camera
 * @typedef {import("./geometry.js").Sheet} Sheet
 * @typedef {import("./geometry.js").Size} Size
 */

const ARROW_EVERY = 30;

/** What is said of objects, in colours that colour-blind people tell apart, too. */
export const VERDICTS = /** @type {const} */ ({ right: "#56b4e9", false: "#e69f00", fix: "#ffb0d9", unsure: "#ddd", locked: "#fff", noted: "#f0e442" });

/** @typedef {keyof typeof VERDICTS} Said */
/** `shift` signs of the object stand beside it. @typedef {{id: number, x: number, y: number, kind: Said, shift: number}} Judged */
/** Boxes as z, y, x of the first voxel and of the one beyond the last.
 * @typedef {Partial<Record<Said, number[]>> & {reviewed?: number[][], chosen?: number[][], places?: number[][]}} Marks */
/** @typedef {{x: number, y: number, w: number, h: number, kind: "reviewed" | "chosen"}} Framed */

/**
 * The frames that lie on a plane, in its pixels.
 * @param {Marks} marks @param {string} axis @param {number} index @returns {Framed[]}
 */
export function framesOn(marks, axis, index) {
  return /** @type {const} */ (["reviewed", "chosen"]).flatMap((kind) => (marks[kind] ?? []).flatMap((box) => {
    const [a, b] = [pixelOf(axis, box.slice(0, 3)), pixelOf(axis, box.slice(3))];
    return a.index <= index && index < b.index ? [{ kind, x: a.column, y: a.row, w: b.column - a.column, h: b.row - a.row }] : [];
  }));
}
/** @typedef {{op?: string, axis: string, index: number, radius: number, points: number[]}} Taught  row, column, row, column, ... */

/**
 * Where the objects of a plane lie that are marked or locked: at the pixel of each that is nearest to its middle.
 * @param {Entry | null} labels @param {Marks} marks @returns {Judged[]}
 */
export function judgedOn(labels, marks) {
  /** @type {Map<number, {kinds: Judged["kind"][], x: number, y: number, n: number, sx: number, sy: number, near: number}>} */
  const found = new Map();
  for (const kind of /** @type {Said[]} */ (Object.keys(VERDICTS))) {
    for (const id of marks[kind] ?? []) found.set(id, { kinds: [...(found.get(id)?.kinds ?? []), kind], n: 0, sx: 0, sy: 0, x: 0, y: 0, near: Infinity });
  }
  if (!found.size || !labels || labels.empty) return [];
  const each = (/** @type {(object: any, x: number, y: number) => void} */ act) => {
    let [last, object] = [0, /** @type {any} */ (undefined)];
    for (let i = 0; i < labels.data.length; i++) {
      const id = labels.data[i];
      if (id !== last) [last, object] = [id, found.get(id)];
      if (object) act(object, i % labels.w, Math.floor(i / labels.w));
    }
  };
  each((object, x, y) => { object.n += 1; object.sx += x; object.sy += y; });
  each((object, x, y) => {
    const away = (x - object.sx / object.n) ** 2 + (y - object.sy / object.n) ** 2;
    if (away < object.near) Object.assign(object, { x, y, near: away });
  });
  const { step = 1, scope } = labels;
  const at = (/** @type {number} */ v, from = 0) => v * step + from;
  return [...found].flatMap(([id, { kinds, n, x, y }]) => (n ? kinds.map((kind, shift) => ({ id, x: at(x, scope?.left), y: at(y, scope?.top), kind, shift })) : []));
}

/** The places of a plane that were noted. @param {Marks} marks @param {string} axis @param {number} index @returns {Judged[]} */
export function notedOn(marks, axis, index) {
  const at = (marks.places ?? []).map((point) => pixelOf(axis, point)).filter((place) => place.index === index);
  return at.map(({ row, column }) => ({ id: 0, x: column, y: row, kind: "noted", shift: 0 }));
}

/**
 * Draw marks for a view.
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {{camera: Camera, sheet: Sheet, view: Size, marks: [number, number][], judged: Judged[], framed: Framed[],
 *   taught: Taught[], lasso: {points: number[], closed: boolean} | null, cross: [number, number] | null, peaks: Entry | null, offsets: Entry | null, semantic: Entry | null}} scene
 */
export function drawOverlay(context, { camera, sheet, view, marks, judged, framed, taught, lasso, cross: at, peaks, offsets, semantic }) {
  context.clearRect(0, 0, view.w, view.h);
  const put = (/** @type {number} */ column, /** @type {number} */ row) => toScreen(camera, sheet, view, column, row);
  for (const stroke of taught) drawTaught(context, stroke, put(0, 0), put(1, 1));
  if (offsets && !offsets.empty) drawArrows(context, { camera, sheet, view, offsets, semantic, put });
  if (peaks && !peaks.empty) {
    context.lineWidth = 1.5;
    for (const [y, x] of peaks.peaks) {
      const [sx, sy] = put(x + 0.5, y + 0.5);
      if (sx < -8 || sy < -8 || sx > view.w + 8 || sy > view.h + 8) continue;
      cross(context, sx, sy, 5);
    }
  }
  for (const { x, y, w, h, kind } of framed) frame(context, put(x, y), put(x + w, y + h), kind);
  for (const { x, y, kind, shift } of judged) {
    const [sx, sy] = put(x + 0.5, y + 0.5);
    verdict(context, sx + 20 * shift, sy, kind);
  }
  if (at) crosshair(context, put(0, 0), put(sheet.w, sheet.h), put(at[0] + 0.5, at[1] + 0.5));
  if (lasso) drawLasso(context, Array.from({ length: lasso.points.length / 2 }, (_, i) => put(lasso.points[2 * i + 1] + 0.5, lasso.points[2 * i] + 0.5)), lasso.closed);
  for (const at of marks) {
    const [sx, sy] = put(at[0] + 0.5, at[1] + 0.5);
    context.lineWidth = 1.5;
    ring(context, sx, sy, 14);
  }
}

/** Where the planes of the other directions lie, with a gap that leaves the place itself to be seen. @param {CanvasRenderingContext2D} c @param {[number, number]} start @param {[number, number]} end of the plane @param {[number, number]} at */
function crosshair(c, [left, top], [right, bottom], at) {
  // On whole pixels: a line between two of them would be twice as wide.
  const [x, y] = at.map((v) => Math.floor(v) + 0.5);
  for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.4)", 3], ["rgba(255,255,255,.85)", 1]])) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.beginPath();
    for (const [from, to] of [[left, x - 12], [x + 12, right]]) {
      c.moveTo(from, y);
      c.lineTo(Math.max(from, to), y);
    }
    for (const [from, to] of [[top, y - 12], [y + 12, bottom]]) {
      c.moveTo(x, from);
      c.lineTo(x, Math.max(from, to));
    }
    c.stroke();
  }
}

/** A line that is seen on light and dark, and how it would be closed. @param {CanvasRenderingContext2D} c @param {[number, number][]} points @param {boolean} closed */
function drawLasso(c, points, closed) {
  for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.7)", 4], ["#fff", 1.5]])) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.beginPath();
    for (const [x, y] of points) c.lineTo(x, y);
    c.stroke();
  }
  if (!closed) return;
  c.setLineDash([4, 4]);
  c.beginPath();
  c.moveTo(.../** @type {[number, number]} */ (points.at(-1)));
  c.lineTo(...points[0]);
  c.stroke();
  c.setLineDash([]);
}

/**
 * What the model shall learn of these pixels; the dashes of what is none tell it where colours do not.
 * @param {CanvasRenderingContext2D} c @param {Taught} stroke
 * @param {[number, number]} origin of the plane on the screen @param {[number, number]} next where its pixel (1, 1) lies
 */
function drawTaught(c, { op, radius, points }, [x0, y0], [x1, y1]) {
  const mito = op === "teach_mito";
  c.save();
  c.transform(x1 - x0, 0, 0, y1 - y0, x0, y0);
  c.lineCap = c.lineJoin = "round";
  c.beginPath();
  c.moveTo(points[1] + 0.5, points[0] + 0.5);
  for (let i = 0; i + 1 < points.length; i += 2) c.lineTo(points[i + 1] + 0.5, points[i] + 0.5);
  c.strokeStyle = VERDICTS[mito ? "right" : "false"];
  c.globalAlpha = 0.4;
  c.lineWidth = 2 * radius + 1;
  c.stroke();
  c.globalAlpha = 1;
  c.lineWidth = 2 / (x1 - x0);
  if (!mito) c.setLineDash([5 / (x1 - x0), 5 / (x1 - x0)]);
  c.stroke();
  c.restore();
}

/** A cross that is seen on light and dark. @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {number} r */
function cross(c, x, y, r) {
  for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.8)", 3.5], ["#fff", 1.5]])) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.beginPath();
    c.moveTo(x - r, y);
    c.lineTo(x + r, y);
    c.moveTo(x, y - r);
    c.lineTo(x, y + r);
    c.stroke();
  }
}

/** @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {number} r */
function ring(c, x, y, r) {
  for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.7)", 4], ["#fff", 1.5]])) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.beginPath();
    c.arc(x, y, r, 0, 2 * Math.PI);
    c.stroke();
  }
}

/**
 * A frame: dashed where it is chosen, in the colour of what is right where it is reviewed.
 * @param {CanvasRenderingContext2D} c @param {[number, number]} from @param {[number, number]} to @param {"reviewed" | "chosen"} kind
 */
function frame(c, [x, y], [right, bottom], kind) {
  const lines = /** @type {[string, number, number[]][]} */ ([["rgba(0,0,0,.7)", 4, []], [kind === "chosen" ? "#fff" : VERDICTS.right, 2, kind === "chosen" ? [7, 5] : []]]);
  for (const [style, width, dash] of lines) {
    c.strokeStyle = style;
    c.lineWidth = width;
    c.setLineDash(dash);
    c.strokeRect(x, y, right - x, bottom - y);
  }
  c.setLineDash([]);
}

/** Lines of each sign, as x, y from its middle. @type {Record<Said, number[][][]>} */
const SIGNS = {
  right: [[[-4, 0], [-1, 3], [4, -3]]],
  false: [[[-3, -3], [3, 3]], [[3, -3], [-3, 3]]],
  fix: [[[0, -4.5], [0, 1]], [[0, 3.4], [0, 4.6]]],
  unsure: [[[-2.5, -2.6], [-1.2, -4.2], [1.2, -4.2], [2.5, -2.6], [0, 0], [0, 1.4]], [[0, 3.6], [0, 4.8]]],
  locked: [[[-3.5, -0.5], [3.5, -0.5], [3.5, 4], [-3.5, 4], [-3.5, -0.5]], [[-2.5, -0.5], [-2.5, -2.6], [-1.2, -4.3], [1.2, -4.3], [2.5, -2.6], [2.5, -0.5]]],
  noted: [[[-3, -3], [3, -3]], [[-3, 0], [3, 0]], [[-3, 3], [1, 3]]],
};

/** A dark disc with a sign. @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {Said} kind */
function verdict(c, x, y, kind) {
  c.fillStyle = "rgba(0,0,0,.75)";
  c.strokeStyle = VERDICTS[kind];
  c.lineWidth = kind === "locked" ? 1.5 : 2;
  c.beginPath();
  c.arc(x, y, 8, 0, 2 * Math.PI);
  c.fill();
  c.stroke();
  c.beginPath();
  for (const line of SIGNS[kind]) line.forEach(([dx, dy], k) => (k ? c.lineTo(x + dx, y + dy) : c.moveTo(x + dx, y + dy)));
  c.stroke();
}

/** @param {CanvasRenderingContext2D} c @param {any} scene */
function drawArrows(c, { camera, sheet, view, offsets, semantic, put }) {
  const [left, top] = toPlane(camera, sheet, view, 0, 0);
  const [right, bottom] = toPlane(camera, sheet, view, view.w, view.h);
  const stepX = Math.max(ARROW_EVERY / camera.scale, offsets.step);
  const stepY = Math.max(ARROW_EVERY / (camera.scale * sheet.aspect), offsets.step);
  // Arrows sit on a grid of the plane, so that they stay on their pixels while the picture is moved.
  const paths = new Path2D();
  for (let y = Math.max(Math.floor(top / stepY), 0) * stepY + stepY / 2; y < Math.min(bottom, sheet.h); y += stepY) {
    for (let x = Math.max(Math.floor(left / stepX), 0) * stepX + stepX / 2; x < Math.min(right, sheet.w); x += stepX) {
      const column = Math.floor(x);
      const row = Math.floor(y);
      if (semantic && !semantic.empty && semantic.data[row * semantic.w + column] < 128) continue;
      const [dy, dx] = offsetAt(offsets, row, column);
      if (!(dx * dx + dy * dy > 2)) continue;
      arrow(paths, put(column + 0.5, row + 0.5), put(column + 0.5 + dx, row + 0.5 + dy));
    }
  }
  c.lineWidth = 3;
  c.strokeStyle = "rgba(0,0,0,.55)";
  c.stroke(paths);
  c.lineWidth = 1.2;
  c.strokeStyle = "#fff";
  c.stroke(paths);
}

/** (dy, dx) that a pixel of the plane has. @param {Entry} offsets @param {number} row @param {number} column @returns {[number, number]} */
export function offsetAt(offsets, row, column) {
  const i = Math.min(Math.round(row / offsets.step), offsets.h - 1);
  const j = Math.min(Math.round(column / offsets.step), offsets.w - 1);
  const at = 2 * (i * offsets.w + j);
  return [half(offsets.data[at]), half(offsets.data[at + 1])];
}

/** @param {Path2D} path @param {[number, number]} from @param {[number, number]} to */
function arrow(path, from, to) {
  const [x0, y0] = from;
  let [dx, dy] = [to[0] - x0, to[1] - y0];
  const long = Math.hypot(dx, dy);
  // Long arrows would hide the picture; their direction and the colour say enough.
  const shown = Math.min(long, ARROW_EVERY * 0.8);
  [dx, dy] = [(dx / long) * shown, (dy / long) * shown];
  const tip = Math.min(4, shown / 2);
  const angle = Math.atan2(dy, dx);
  path.moveTo(x0, y0);
  path.lineTo(x0 + dx, y0 + dy);
  for (const side of [2.6, -2.6]) {
    path.moveTo(x0 + dx, y0 + dy);
    path.lineTo(x0 + dx + tip * Math.cos(angle + side), y0 + dy + tip * Math.sin(angle + side));
  }
}

/**
 * Length and text of the scale bar, in CSS pixels; null where none fits.
 * @param {Camera} camera @param {Size} view @param {number | null} pixel nm per column
 */
export function scaleBar(camera, view, pixel, unit = "px") {
  const longest = (Math.min(view.w / 4, 160) / camera.scale) * (pixel ?? 1);
  if (!(longest > 0)) return null;
  const length = roundLength(longest);
  return { width: (length / (pixel ?? 1)) * camera.scale, text: pixel ? lengthText(length) : `${length} ${unit}` };
}
