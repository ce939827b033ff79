// Strokes: the pixels that a round brush covers, by the same rule as mitonb/edit/ops.py, so that the kernel's answer
// changes nothing that was drawn here.

/**
 * @typedef {{after: number, only: number | null, locked?: Set<number>, above?: {data: ArrayLike<number>, over: number, w?: number}}} Rule
 *   what is written, on which id only, on which never, and only where a map of the plane says more
 * @typedef {{x0: number, y0: number, x1: number, y1: number}} Rect  half-open, in plane pixels
 * @typedef {{data: Uint32Array, w: number, h: number, x0?: number, y0?: number}} IdPlane  of a part of a plane with where it begins
 */

/**
 * Pixels of a line from one pixel to another, each at most one step from the one before; without the first.
 * @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1
 * @param {(x: number, y: number) => void} visit
 */
export function trail(x0, y0, x1, y1, visit) {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const count = Math.max(Math.abs(dx), Math.abs(dy));
  for (let i = 1; i <= count; i++) {
    const part = i / count;
    visit(x0 + Math.floor(dx * part + 0.5), y0 + Math.floor(dy * part + 0.5));
  }
}

/**
 * Half widths of a disk's rows: row d from -r to r covers columns -half[d + r] .. half[d + r].
 * @param {number} radius @param {number[]} [sides] height and width of a pixel, in units of the radius
 */
export function diskRows(radius, [height, width] = [1, 1]) {
  const r = Math.floor(radius / height);
  const half = new Int32Array(2 * r + 1);
  for (let d = -r; d <= r; d++) half[d + r] = Math.floor(Math.sqrt(radius * radius - (d * height) ** 2) / width);
  return half;
}

/** Whether a rule writes on a pixel; null: on all. @param {IdPlane} plane @param {Rule} rule */
function allowed({ data, w, x0 = 0, y0 = 0 }, { only, locked, above }) {
  if (only === null && !locked?.size && !above) return null;
  const low = (/** @type {number} */ i) => above && above.data[(Math.floor(i / w) + y0) * (above.w ?? w) + (i % w) + x0] <= above.over;
  return (/** @type {number} */ i) => (only === null || data[i] === only) && !locked?.has(data[i]) && !low(i);
}

/**
 * Stamp one disk.
 * @param {IdPlane} plane @param {number} x @param {number} y @param {Int32Array} half @param {number} after
 * @param {ReturnType<typeof allowed>} may
 */
function stamp(plane, x, y, half, after, may) {
  const r = (half.length - 1) / 2;
  for (let row = Math.max(y - r, 0); row <= Math.min(y + r, plane.h - 1); row++) {
    const reach = half[row - y + r];
    const from = row * plane.w + Math.max(x - reach, 0);
    const to = row * plane.w + Math.min(x + reach, plane.w - 1) + 1;
    if (to <= from) continue;
    if (!may) plane.data.fill(after, from, to);
    else for (let i = from; i < to; i++) if (may(i)) plane.data[i] = after;
  }
}

/** What the kernel takes of a ball, as MAX_BALL in mitonb/edit/ops.py. */
export const MOST_BALL = 128;

/** The radius that is painted with. @param {number} brush @param {number[]} [sides] of a pixel, where the brush is a ball */
export const radiusOf = (brush, sides) => (sides ? Math.min(brush, MOST_BALL) : brush);

/**
 * Draw a polyline with a round brush.
 * @param {IdPlane} plane changed in place
 * @param {ArrayLike<number>} points row, column, row, column, ... whole pixels
 * @param {number} radius
 * @param {Rule} rule
 * @param {number[]} [sides] of a pixel, where the brush is a ball
 * @returns {Rect} what may have changed; empty when x1 <= x0
 */
export function drawStroke(plane, points, radius, rule, sides) {
  const half = diskRows(radius, sides);
  const r = (half.length - 1) / 2;
  const wide = half[r];
  const may = allowed(plane, rule);
  let [left, top, right, bottom] = [plane.w, plane.h, 0, 0];
  const visit = (/** @type {number} */ x, /** @type {number} */ y) => {
    stamp(plane, x, y, half, rule.after, may);
    left = Math.min(left, x - wide);
    top = Math.min(top, y - r);
    right = Math.max(right, x + wide + 1);
    bottom = Math.max(bottom, y + r + 1);
  };
  if (points.length >= 2) visit(points[1], points[0]);
  for (let i = 2; i + 1 < points.length; i += 2) trail(points[i - 1], points[i - 2], points[i + 1], points[i], visit);
  return { x0: Math.max(left, 0), y0: Math.max(top, 0), x1: Math.min(right, plane.w), y1: Math.min(bottom, plane.h) };
}

/**
 * Fill what a closed line encloses, by the even-odd rule, itself included; as `enclosed` in mitonb/edit/ops.py.
 * @param {IdPlane} plane changed in place
 * @param {ArrayLike<number>} points row, column, row, column, ...
 * @param {Rule} rule
 * @returns {Rect} what may have changed
 */
export function fillLasso(plane, points, rule) {
  const ring = [...Array.from(points), points[0], points[1]];
  const box = drawStroke(plane, ring, 0, rule);
  const may = allowed(plane, rule);
  for (let row = box.y0; row < box.y1; row++) {
    /** @type {number[]} */
    const firsts = [];
    for (let i = 0; i + 3 < ring.length; i += 2) {
      const [r0, c0, r1, c1] = ring.slice(i, i + 4);
      if (row >= Math.min(r0, r1) && row < Math.max(r0, r1)) firsts.push(Math.floor(c0 + ((row - r0) * (c1 - c0)) / (r1 - r0)) + 1);
    }
    firsts.sort((a, b) => a - b);
    for (let i = 0; i + 1 < firsts.length; i += 2) {
      const [from, to] = [row * plane.w + Math.max(firsts[i], 0), row * plane.w + Math.min(firsts[i + 1], plane.w)];
      for (let at = from; at < to; at++) if (!may || may(at)) plane.data[at] = rule.after;
    }
  }
  return box;
}

/** Pixels of the patch of equal ids (4-connected) around a pixel. @param {{data: Uint32Array, w: number, h: number}} plane @param {number} row @param {number} column */
export function patchSize({ data, w, h }, row, column) {
  const id = data[row * w + column];
  const seen = new Uint8Array(w * h);
  const stack = [row * w + column];
  seen[stack[0]] = 1;
  let size = 0;
  const visit = (/** @type {number} */ at) => {
    if (seen[at] || data[at] !== id) return;
    seen[at] = 1;
    stack.push(at);
  };
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    size += 1;
    const x = at % w;
    if (x > 0) visit(at - 1);
    if (x < w - 1) visit(at + 1);
    if (at >= w) visit(at - w);
    if (at < w * (h - 1)) visit(at + w);
  }
  return size;
}
