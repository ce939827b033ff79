// What is large as it comes from the kernel: facts and arrays in one row of bytes, cut into pieces (packs.py).

const KINDS = /** @type {Record<string, any>} */ ({ f8: Float64Array, f4: Float32Array, u4: Uint32Array, u1: Uint8Array });

/** A head with its arrays. @param {Uint8Array} bytes @returns {Record<string, any>} */
export function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const end = 4 + view.getUint32(0, true);
  const { arrays, ...head } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, end)));
  let at = end;
  for (const [name, kind, length] of arrays) {
    head[name] = new KINDS[kind](bytes.slice(at, at + length).buffer);
    at += length;
  }
  return head;
}

/** Rows of a matrix as arrays. @template {Float64Array | Float32Array | Uint8Array} T @param {T} matrix @param {number} count of rows @returns {T[]} */
export const rowsOf = (matrix, count) => Array.from({ length: count }, (_, k) => /** @type {T} */ (matrix.subarray((k * matrix.length) / count, ((k + 1) * matrix.length) / count)));

/** Puts pieces together, which come in their order; what is whole is returned as it was packed. @returns {(m: {what: string, at: number, total: number}, piece: DataView) => Record<string, any> | null} */
export function collector() {
  /** @type {Record<string, Uint8Array>} */
  const coming = {};
  return ({ what, at, total }, piece) => {
    if (!at) coming[what] = new Uint8Array(total);
    const bytes = coming[what];
    if (!bytes) return null;  // a page that was opened meanwhile gets all of it again
    bytes.set(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength), at);
    if (at + piece.byteLength < total) return null;
    delete coming[what];
    return unpack(bytes);
  };
}
