// Which planes to ask the kernel for: what is looked at first, then its neighbours; the newest wish wins.

/**
 * @typedef {{key: string, axis: string, index: number, part: string}} Want
 */

/**
 * Planes around one, nearest first, ahead before behind.
 * @param {number} index @param {number} count @param {number} direction 1 or -1 @param {number} reach
 */
export function around(index, count, direction, reach) {
  const found = [index];
  for (let d = 1; d <= reach; d++) for (const i of [index + d * direction, index - d * direction]) found.push(i);
  return found.filter((i) => i >= 0 && i < count);
}

/**
 * All parts of the plane that is looked at, then those of its neighbours.
 * @param {string} axis @param {number} index @param {number} count @param {number} direction @param {number} reach
 * @param {string[]} parts
 * @returns {Want[]}
 */
export function wantList(axis, index, count, direction, reach, parts) {
  return around(index, count, direction, reach).flatMap((i) =>
    parts.map((part) => ({ key: `${axis}/${i}/${part}`, axis, index: i, part })));
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
    /** @type {Map<number, {want: Want, at: number}>} */
    this.flying = new Map();
  }

  /** Replace the wishes; what flies, flies on. @param {Want[]} list */
  set(list) {
    this.list = list;
    this.pump();
  }

  /** Put one wish before all others. @param {Want} want */
  first(want) {
    this.list = [want, ...this.list.filter((w) => w.key !== want.key)];
    this.pump();
  }

  /** Something came: the request is alive. @param {number} request */
  touch(request) {
    const flight = this.flying.get(request);
    if (flight) flight.at = this.now();
    return flight?.want;
  }

  /** @param {number} request */
  done(request) {
    const want = this.flying.get(request)?.want;
    this.flying.delete(request);
    this.pump();
    return want;
  }

  pump() {
    for (const [request, flight] of this.flying) {
      if (this.now() - flight.at > this.patience) this.flying.delete(request);
    }
    const busy = new Set([...this.flying.values()].map((f) => f.want.key));
    while (this.flying.size < this.width && this.list.length) {
      const want = /** @type {Want} */ (this.list.shift());
      if (busy.has(want.key)) continue;
      const request = this.next++;
      busy.add(want.key);
      this.flying.set(request, { want, at: this.now() });
      this.ask(want, request);
    }
  }
}
