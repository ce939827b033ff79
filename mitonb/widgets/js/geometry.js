// Camera: where a plane lies on the screen. Pure functions; plane pixel (column i, row j) covers [i, i+1) x [j, j+1).

/**
 * @typedef {{x: number, y: number, scale: number}} Camera  point of the plane in the middle of the view (columns, rows)
 *   and screen pixels per column
 * @typedef {{w: number, h: number}} Size
 * @typedef {{w: number, h: number, aspect: number, widest?: number}} Sheet  a plane: columns, rows, height of a row in
 *   columns, and the most columns that can be shown at once where not all can
 */

const AXES = /** @type {const} */ (["xy", "xz", "yz"]);
export { AXES };

/**
 * Rows, columns and aspect of the planes of an axis.
 * @param {number[]} shape z, y, x
 * @param {number[] | null} voxel nm, z, y, x
 * @param {string} axis
 * @param {number[]} [widest] for each axis
 * @returns {Sheet & {count: number}}
 */
export function sheetOf(shape, voxel, axis, widest) {
  const cut = AXES.indexOf(/** @type {any} */ (axis));
  const [row, column] = [0, 1, 2].filter((i) => i !== cut);
  const aspect = voxel ? voxel[row] / voxel[column] : 1;
  return { h: shape[row], w: shape[column], aspect, count: shape[cut], ...(widest?.[cut] ? { widest: widest[cut] } : {}) };
}

/** Voxel [z, y, x] of a plane pixel. @param {string} axis @param {number} index @param {number} row @param {number} column */
export function voxelOf(axis, index, row, column) {
  return axis === "xy" ? [index, row, column] : axis === "xz" ? [row, index, column] : [row, column, index];
}

/** Index, row and column of a voxel on the planes of an axis. @param {string} axis @param {number[]} point z, y, x */
export function pixelOf(axis, [z, y, x]) {
  return axis === "xy" ? { index: z, row: y, column: x }
    : axis === "xz" ? { index: y, row: z, column: x } : { index: x, row: z, column: y };
}

/** The camera that shows a whole plane. @param {Sheet} sheet @param {Size} view @returns {Camera} */
export function fit(sheet, view) {
  const whole = Math.min(view.w / sheet.w, view.h / (sheet.h * sheet.aspect)) * 0.98;
  const scale = sheet.widest ? Math.max(whole, view.w / sheet.widest, view.h / (sheet.widest * sheet.aspect)) : whole;
  return { x: sheet.w / 2, y: sheet.h / 2, scale: scale > 0 ? scale : 1 };
}

/**
 * The camera that shows an object with as much again around it, at most eight times as large as its pixels.
 * @param {{start: number[], stop: number[]}} box z, y, x @param {string} axis @param {Sheet} sheet @param {Size} view @returns {Camera}
 */
export function fitBox(box, axis, sheet, view) {
  const [a, b] = [pixelOf(axis, box.start), pixelOf(axis, box.stop)];
  const [w, h] = [b.column - a.column, b.row - a.row];
  const scale = Math.min(fit({ w: 2 * w, h: 2 * h, aspect: sheet.aspect }, view).scale, 8);
  return { x: (a.column + b.column) / 2, y: (a.row + b.row) / 2, scale: Math.max(scale, fit(sheet, view).scale) };
}

/** @param {Camera} c @param {Sheet} s @param {Size} v @param {number} x @param {number} y @returns {[number, number]} column, row */
export function toPlane(c, s, v, x, y) {
  return [c.x + (x - v.w / 2) / c.scale, c.y + (y - v.h / 2) / (c.scale * s.aspect)];
}

/** @param {Camera} c @param {Sheet} s @param {Size} v @param {number} column @param {number} row @returns {[number, number]} */
export function toScreen(c, s, v, column, row) {
  return [(column - c.x) * c.scale + v.w / 2, (row - c.y) * c.scale * s.aspect + v.h / 2];
}

/**
 * Zoom so that the point under the pointer stays there.
 * @param {Camera} c @param {Sheet} s @param {Size} v @param {number} x @param {number} y @param {number} factor
 * @returns {Camera}
 */
export function zoomAt(c, s, v, x, y, factor) {
  const least = s.widest ? fit(s, v).scale : Math.min(fit(s, v).scale / 4, 1);
  const scale = Math.min(Math.max(c.scale * factor, least), 64);
  const [column, row] = toPlane(c, s, v, x, y);
  return clamp({
    x: column - (x - v.w / 2) / scale, y: row - (y - v.h / 2) / (scale * s.aspect), scale,
  }, s);
}

/** Move by screen pixels. @param {Camera} c @param {Sheet} s @param {number} dx @param {number} dy @returns {Camera} */
export function pan(c, s, dx, dy) {
  return clamp({ x: c.x - dx / c.scale, y: c.y - dy / (c.scale * s.aspect), scale: c.scale }, s);
}

/** Keep the middle of the view on the plane, so that it cannot be lost. @param {Camera} c @param {Sheet} s @returns {Camera} */
export function clamp(c, s) {
  return { x: Math.min(Math.max(c.x, 0), s.w), y: Math.min(Math.max(c.y, 0), s.h), scale: c.scale };
}

/**
 * Move the camera of a picture where a voxel is near its edge or beyond.
 * @param {{camera: Camera, size: Size, look: (camera: Camera) => void}} picture @param {string} axis @param {Sheet} sheet @param {number[]} point z, y, x
 */
export function bring(picture, axis, sheet, point) {
  const { camera, size } = picture;
  const { row, column } = pixelOf(axis, point);
  const [x, y] = toScreen(camera, sheet, size, column, row);
  const out = (/** @type {number} */ v, /** @type {number} */ n) => v < 0.1 * n || v > 0.9 * n;
  if (out(x, size.w) || out(y, size.h)) picture.look(clamp({ ...camera, x: column, y: row }, sheet));
}

/** The longest round length (1, 2 or 5 times a power of ten) that is not longer than given. @param {number} longest */
export function roundLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  const lead = longest / power;
  return (lead >= 5 ? 5 : lead >= 2 ? 2 : 1) * power;
}

/** A length in nm as text. @param {number} nm */
export function lengthText(nm) {
  return nm >= 1000 ? `${+(nm / 1000).toPrecision(3)} µm` : `${+nm.toPrecision(3)} nm`;
}

/** Height and width of a plane's pixels, in the smallest side of a voxel. @param {string} axis @param {number[] | null} voxel z, y, x in nm */
export function sidesOf(axis, voxel) {
  const least = Math.min(...(voxel ?? [1]));
  return (voxel ?? [1, 1, 1]).filter((_, i) => i !== ["xy", "xz", "yz"].indexOf(axis)).map((side) => side / least);
}
