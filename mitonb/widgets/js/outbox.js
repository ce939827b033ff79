// The outbox: edits wait here until the kernel has acknowledged them, and are sent again when no answer comes.

/**
 * @typedef {{cseq: number, message: Record<string, any>, buffers: ArrayBuffer[], sent: number, tries: number}} Entry
 */

export class Outbox {
  /**
   * @param {{
   *   client: string,
   *   transmit: (message: Record<string, any>, buffers: ArrayBuffer[]) => void,
   *   now?: () => number,
   *   patience?: number,
   * }} options patience: ms without an answer before the edits are sent again
   */
  constructor({ client, transmit, now = () => performance.now(), patience = 4000 }) {
    this.client = client;
    this.transmit = transmit;
    this.now = now;
    this.patience = patience;
    this.next = 1;
    this.waiting = 0;
    /** Whether nothing can be sent: the kernel was restarted, and the cell not yet run again. */
    this.cut = false;
    /** @type {Entry[]} */
    this.entries = [];
  }

  get size() {
    return this.entries.length;
  }

  /** True when the kernel has kept us waiting for longer than is normal. */
  get late() {
    return this.size > 0 && this.now() - this.waiting > this.patience;
  }

  /** @param {Record<string, any>} fields @param {ArrayBuffer[]} [buffers] */
  add(fields, buffers = []) {
    const cseq = this.next++;
    const entry = { cseq, message: { kind: "edit", client: this.client, cseq, ...fields }, buffers, sent: 0, tries: 0 };
    if (!this.size) this.waiting = this.now();
    this.entries.push(entry);
    this.#send(entry);
    return entry;
  }

  /** The kernel has answered, well or ill; returns the entry that is thereby done. @param {number} cseq */
  settle(cseq) {
    const at = this.entries.findIndex((e) => e.cseq === cseq);
    this.waiting = this.now();
    return at < 0 ? undefined : this.entries.splice(at, 1)[0];
  }

  /** The kernel misses an edit: send all from there again. @param {number} expected */
  gap(expected) {
    for (const entry of this.entries) if (entry.cseq >= expected) this.#send(entry);
  }

  /** Send again what has waited for too long, all in order: the kernel knows which it has had. */
  tick() {
    const oldest = this.entries[0];
    if (!oldest) return false;
    const wait = this.patience * Math.min(2 ** (oldest.tries - 1), 4);
    if (this.now() - oldest.sent < wait) return false;
    for (const entry of this.entries.slice(0, 50)) this.#send(entry);
    return true;
  }

  /** @param {Entry} entry */
  #send(entry) {
    entry.sent = this.now();
    entry.tries += 1;
    try {
      this.transmit(entry.message, entry.buffers);
      this.cut = false;
    } catch {
      // The comm is closed: tick() tries again, and the pill says so meanwhile.
      this.cut = true;
    }
  }
}
