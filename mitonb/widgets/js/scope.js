// Huge planes are shown in parts: a window around what is seen, at the step that fits the zoom, and the whole plane coarsely.

import { toPlane } from "./geometry.js";

/**
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./geometry.js").Sheet} Sheet
 * @typedef {{step: number, top: number, left: number, bottom: number, right: number}} Scope  a part of a plane, in its
 *   pixels, of which step x step become one
 */

/** Planes with more pixels are shown in parts; all others come whole. */
export const BIG = 2 ** 23;
/** What comes in parts; maps of networks come whole. */
export const WINDOWED = ["image", "labels", "preview", "proposal", "other"];
/** Windows begin at multiples of so many of their own pixels, so that small moves ask for nothing new. */
const GRID = 256;
/** Pixels of a window that are had beyond what is seen. */
const MARGIN = 64;
/** Pixels along the longer side of a whole plane. */
const OVERVIEW = 1024;

/** @param {Sheet} sheet */
export const isBig = (sheet) => sheet.w * sheet.h > BIG;

/** The largest power of two by which a pixel still has a pixel of the screen. @param {number} scale screen pixels per column */
function stepFor(scale) {
  return 2 ** Math.max(0, Math.floor(Math.log2(1.1 / scale)));
}

/**
 * What is seen of a plane, in its pixels.
 * @param {import("./geometry.js").Camera} camera @param {Sheet} sheet @param {import("./geometry.js").Size} view @returns {Scope}
 */
export function seenOf(camera, sheet, view) {
  const [left, top] = toPlane(camera, sheet, view, 0, 0);
  const [right, bottom] = toPlane(camera, sheet, view, view.w, view.h);
  const within = (/** @type {number} */ v, /** @type {number} */ n) => Math.min(Math.max(v, 0), n);
  return { step: 1, top: within(Math.floor(top), sheet.h), left: within(Math.floor(left), sheet.w), bottom: within(Math.ceil(bottom), sheet.h), right: within(Math.ceil(right), sheet.w) };
}

/**
 * The window to ask for; null where planes come whole.
 * @param {import("./geometry.js").Camera} camera @param {Sheet} sheet @param {import("./geometry.js").Size} view @param {number} unit device pixels per CSS pixel
 * @returns {Scope | null}
 */
export function scopeOf(camera, sheet, view, unit) {
  if (!isBig(sheet)) return null;
  const step = stepFor(camera.scale * Math.max(1, sheet.aspect) * unit);
  const whole = overviewOf(sheet);
  if (whole && whole.step <= step) return whole;
  const seen = seenOf(camera, sheet, view);
  const down = (/** @type {number} */ v) => Math.max(0, Math.floor((v / step - MARGIN) / GRID) * GRID * step);
  const up = (/** @type {number} */ v, /** @type {number} */ n) => Math.min(n, Math.ceil((v / step + MARGIN) / GRID) * GRID * step);
  return { step, top: down(seen.top), left: down(seen.left), bottom: up(seen.bottom, sheet.h), right: up(seen.right, sheet.w) };
}

/** The whole plane, coarsely; null where so much cannot be read at once. @param {Sheet} sheet @returns {Scope | null} */
export function overviewOf(sheet) {
  const longest = Math.max(sheet.w, sheet.h);
  if (sheet.widest && sheet.widest < longest) return null;
  return { step: 2 ** Math.ceil(Math.log2(longest / OVERVIEW)), top: 0, left: 0, bottom: sheet.h, right: sheet.w };
}

/** @param {Scope} whole @param {Scope} part */
export function covers(whole, part) {
  return whole.top <= part.top && whole.left <= part.left && whole.bottom >= part.bottom && whole.right >= part.right;
}

/** @param {Scope} a @param {Scope} b */
export const same = (a, b) => a.step === b.step && covers(a, b) && covers(b, a);

/** The windows that a picture has looked through, and which of them to show. */
export class Scopes {
  constructor() {
    /** The newest first. @type {Scope[]} */
    this.recent = [];
  }

  /**
   * Windows to look for, the best first: those that show all that is seen, sharpest before coarser ones, then all others.
   * @param {Scope} now @param {Scope} seen @param {Scope | null} overview
   */
  order(now, seen, overview) {
    if (!this.recent[0] || !same(this.recent[0], now)) this.recent = [now, ...this.recent.filter((one) => !same(one, now))].slice(0, 8);
    const known = [...this.recent, ...(overview && !this.recent.some((one) => same(one, overview)) ? [overview] : [])];
    // Much sharper than the screen is of no use, and flickers.
    const fit = known.filter((one) => covers(one, seen) && 2 * one.step >= now.step).sort((a, b) => a.step - b.step);
    return [...fit, ...known.filter((one) => !fit.includes(one))];
  }
}

/** Where a pixel of the plane lies in an entry; -1 outside of it. @param {Entry} entry @param {number} row @param {number} column */
export function placeIn({ scope, step = 1, w, h }, row, column) {
  const y = Math.floor((row - (scope?.top ?? 0)) / step);
  const x = Math.floor((column - (scope?.left ?? 0)) / step);
  return y >= 0 && x >= 0 && y < h && x < w ? y * w + x : -1;
}

/** The part of a box of the plane that lies in an entry, in pixels of that; without any, x1 <= x0 or y1 <= y0. @param {Entry} entry @param {import("./strokes.js").Rect} box */
export function boxIn({ scope, w, h }, box) {
  const [left, top] = [scope?.left ?? 0, scope?.top ?? 0];
  return { x0: Math.max(box.x0 - left, 0), y0: Math.max(box.y0 - top, 0), x1: Math.min(box.x1 - left, w), y1: Math.min(box.y1 - top, h) };
}

/** Points of the plane, row, column, ..., as pixels of an entry. @param {Entry} entry @param {ArrayLike<number>} points */
export function pointsIn({ scope, step = 1 }, points) {
  if (!scope) return Array.from(points);
  return Array.from(points, (v, i) => Math.floor((v - (i % 2 ? scope.left : scope.top)) / step));
}
