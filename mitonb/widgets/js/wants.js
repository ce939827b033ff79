// Which planes to ask the kernel for: what is looked at first, then its neighbours; the newest wish wins.

import { WINDOWED } from "./scope.js";

export const STEPS = [1, 2, 4, 8, 16];

/**
 * @typedef {{axis: string, index: number, parts: string[], step: number, scope?: import("./scope.js").Scope | null}} Want
 *   step: image pixels on a side that one pixel may stand for; scope: the window that is wanted of a huge plane
 */

/**
 * Planes around one, nearest first, ahead before behind.
 * @param {number} index @param {number} count @param {number} direction 1 or -1
 * @param {{ahead: number, behind: number}} reach
 */
export function around(index, count, direction, { ahead, behind }) {
  const found = [index];
  for (let d = 1; d <= Math.max(ahead, behind); d++) {
    if (d <= ahead) found.push(index + d * direction);
    if (d <= behind) found.push(index - d * direction);
  }
  return found.filter((i) => i >= 0 && i < count);
}

/**
 * How many planes to fetch ahead and behind: as many as will have been scrolled past when an answer comes.
 * @param {number} speed planes per second @param {number} wait ms from question to answer @param {number} most that fit
 */
export function reachFor(speed, wait, most) {
  const ahead = Math.min(Math.max(3, Math.ceil((speed * wait) / 1000) + 2), 16, most);
  return { ahead, behind: Math.min(speed > 2 ? 1 : 3, most) };
}

/**
 * The plane that is looked at, then its neighbours, each with the parts that are missing; whole planes are left out.
 * @param {string} axis @param {number[]} planes as of `around`
 * @param {string[]} parts @param {number} step of images
 * @param {(part: string, index: number) => boolean} missing
 * @returns {Want[]}
 */
export function wantList(axis, planes, parts, step, missing) {
  return planes
    .map((index) => ({ axis, index, parts: parts.filter((part) => missing(part, index)), step }))
    .filter((want) => want.parts.length);
}

/**
 * Key of a part in the cache.
 * @param {string} part @param {string} axis @param {number} index @param {number} [step] @param {import("./scope.js").Scope | null} [scope]
 */
export function keyOf(part, axis, index, step = 1, scope = null) {
  if (scope && WINDOWED.includes(part)) return `${axis}/${index}/${part}@${scope.step}:${scope.top},${scope.left},${scope.bottom},${scope.right}`;
  return `${axis}/${index}/${part}${part === "image" && step > 1 ? `@${step}` : ""}`;
}

/** Coarsest image that still has a pixel for each pixel of the screen. @param {number} scale screen pixels per column */
export function stepFor(scale) {
  // A tenth less than one each is not seen, and is a quarter of the bytes.
  return STEPS.findLast((step) => step * scale <= 1.1) ?? 1;
}

/** Requests in flight: a few at a time, so that a new wish never waits behind many old ones. */
export class Wants {
  /**
   * @param {{
   *   ask: (want: Want, request: number) => void, now?: () => number, width?: number, patience?: number,
   * }} options width: requests in flight at once; patience: ms until one counts as lost
   */
  constructor({ ask, now = () => performance.now(), width = 6, patience = 8000 }) {
    this.ask = ask;
    this.now = now;
    this.width = width;
    this.patience = patience;
    this.next = 1;
    /** @type {Want[]} */
    this.list = [];
    /** @type {Map<number, {want: Want, left: Set<string>, at: number, since: number}>} */
    this.flying = new Map();
    /** Requests that got no answer at all since the last answer. */
    this.lost = 0;
  }

  /** Replace the wishes; what flies, flies on. @param {Want[]} list */
  set(list) {
    this.list = list;
    this.pump();
  }

  /** Put one wish before all others. @param {Want} want */
  first(want) {
    this.list = [want, ...this.list];
    this.pump();
  }

  /** Something came: the request is alive. @param {number} request */
  touch(request) {
    this.lost = 0;
    const flight = this.flying.get(request);
    if (flight) flight.at = this.now();
  }

  /**
   * A part is here. Returns how long the whole request took when it was the last one.
   * @param {number} request @param {string} [part] without it, nothing more will come
   */
  done(request, part) {
    const flight = this.flying.get(request);
    if (!flight) return undefined;
    if (part) flight.left.delete(part);
    if (part && flight.left.size) return undefined;
    this.flying.delete(request);
    this.pump();
    return this.now() - flight.since;
  }

  pump() {
    for (const [request, flight] of this.flying) {
      if (this.now() - flight.at <= this.patience) continue;
      this.flying.delete(request);
      this.lost += 1;
    }
    const name = (/** @type {Want} */ want, /** @type {string} */ part) => keyOf(part, want.axis, want.index, want.step, want.scope);
    const busy = new Set([...this.flying.values()].flatMap(({ want, left }) => [...left].map((part) => name(want, part))));
    while (this.flying.size < this.width && this.list.length) {
      const wish = /** @type {Want} */ (this.list.shift());
      const want = { ...wish, parts: wish.parts.filter((part) => !busy.has(name(wish, part))) };
      if (!want.parts.length) continue;
      const request = this.next++;
      for (const part of want.parts) busy.add(name(want, part));
      this.flying.set(request, { want, left: new Set(want.parts), at: this.now(), since: this.now() });
      this.ask(want, request);
    }
  }
}
