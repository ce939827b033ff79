// A cache with a limit in bytes; what was used longest ago goes first.

/** @template V */
export class Cache {
  /** @param {number} limit bytes */
  constructor(limit) {
    this.limit = limit;
    this.bytes = 0;
    /** @type {Map<string, {value: V, bytes: number}>} */
    this.entries = new Map();
  }

  /** @param {string} key @returns {V | undefined} */
  get(key) {
    const entry = this.entries.get(key);
    if (!entry) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  /** Look without counting it as use. @param {string} key */
  peek(key) {
    return this.entries.get(key)?.value;
  }

  /** @param {string} key @param {V} value @param {number} bytes */
  set(key, value, bytes) {
    this.delete(key);
    this.entries.set(key, { value, bytes });
    this.bytes += bytes;
    for (const old of this.entries.keys()) {
      if (this.bytes <= this.limit || old === key) break;
      this.delete(old);
    }
  }

  /** @param {string} key */
  delete(key) {
    this.bytes -= this.entries.get(key)?.bytes ?? 0;
    return this.entries.delete(key);
  }

  /** @param {(value: V, key: string) => void} visit */
  forEach(visit) {
    for (const [key, entry] of [...this.entries]) visit(entry.value, key);
  }
}
