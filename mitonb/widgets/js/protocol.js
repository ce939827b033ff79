// Messages from the kernel: what they look like, and pixels put together from strips.

/**
 * @typedef {{
 *   kind: "part", client: string, req: number, part: string, axis: string, index: number, seq: number,
 *   empty?: boolean, h: number, w: number, y0: number, rows: number, coding: "raw" | "zlib", last: boolean,
 *   step?: number, peaks?: [number, number][] | null, window?: number[],
 * }} PartMessage
 * @typedef {{
 *   name: string, shape: number[], dtype: string, has_image: boolean, voxel_size: number[] | null,
 *   intensity: [number, number], hash: number, palette: number[][], moved?: Map<number, number>, empty: boolean,
 *   ramps: Record<string, import("./colors.js").Ramp>, verbs: import("./keys.js").Verb[], widest?: number[], focus?: number[] | null,
 *   only_looks?: boolean, axes?: string[],
 * }} Info  with axes: a page without a kernel, which has planes of these alone
 * @typedef {{
 *   save: {kind: string, text: string}, can_undo: boolean, can_redo: boolean, read_only: boolean, fresh: number,
 *   listens: boolean, project: string, kernel: string,
 * }} State
 * @typedef {{
 *   part: string, axis: string, index: number, seq: number, h: number, w: number, empty: boolean, stale: boolean,
 *   data: Uint8Array | Uint16Array | Uint32Array, step: number, peaks: [number, number][],
 *   bins?: Float64Array, scope: import("./scope.js").Scope | null,
 * }} Entry  a part of a plane as it lies in the cache; with a scope, only that window of it
 */

export const PROTOCOL = 1;
/** Heads of networks whose maps can be shown; those of FINE are one number a pixel at full size. In the shader's order. */
export const HEADS = ["semantic", "center", "offsets", "contour", "distance", "affinities"];
export const FINE = HEADS.filter((name) => name !== "center" && name !== "offsets");
const CHANNELS = /** @type {Record<string, number>} */ ({ offsets: 2 });

/** An array for a part's pixels. @param {string} part @param {number} length @returns {Entry["data"]} */
export function arrayFor(part, length) {
  if (["labels", "preview", "proposal", "other"].includes(part)) return new Uint32Array(length);
  if (part === "center" || part === "offsets") return new Uint16Array(length); // half floats, as they are
  return new Uint8Array(length);
}

/** @param {DataView} view */
export async function inflate(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const stream = new Blob([/** @type {any} */ (bytes)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A half float as a number. @param {number} bits */
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** An entry without pixels: the kernel has no such part. @param {PartMessage} m @returns {Entry} */
export function emptyEntry(m) {
  const [top, left, bottom, right] = m.window ?? [];
  const scope = m.window ? { step: m.step ?? 1, top, left, bottom, right } : null;
  return {
    part: m.part, axis: m.axis, index: m.index, seq: m.seq, h: 0, w: 0, empty: true, stale: false,
    data: new Uint8Array(0), step: 1, peaks: [], scope,
  };
}

/** Puts the strips of each request together. Strips of one request come in order; inflating them may end out of order. */
export class Assembler {
  constructor() {
    /** @type {Map<string, {entry: Entry, rows: number}>} */
    this.open = new Map();
  }

  /**
   * @param {PartMessage} m @param {DataView[]} buffers
   * @returns {Promise<Entry | null>} the whole part with its last strip, else null
   */
  async add(m, buffers) {
    if (m.empty) return emptyEntry(m);
    const key = `${m.client}/${m.req}/${m.part}/${m.axis}/${m.index}/${m.seq}/${m.window}`;
    const channels = CHANNELS[m.part] ?? 1;
    let job = this.open.get(key);
    if (!job) {
      const data = arrayFor(m.part, m.h * m.w * channels);
      job = {
        entry: { ...emptyEntry(m), h: m.h, w: m.w, empty: false, data, step: m.step ?? 1, peaks: m.peaks ?? [] }, rows: 0,
      };
      this.open.set(key, job);
    }
    const bytes = m.coding === "zlib" ? await inflate(buffers[0]) : view8(buffers[0]);
    const { data } = job.entry;
    const rowBytes = m.w * channels * data.BYTES_PER_ELEMENT;
    if (bytes.length !== m.rows * rowBytes || m.y0 + m.rows > m.h) throw new Error("A strip of pixels has a wrong length.");
    new Uint8Array(data.buffer).set(bytes, m.y0 * rowBytes);
    job.rows += m.rows;
    if (job.rows < m.h) return null;
    this.open.delete(key);
    return job.entry;
  }
}

/** @param {DataView} view */
function view8(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
