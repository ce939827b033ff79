// Colours of objects: the hash of mitonb/colors.py; its factor and table come from Python, so they stand there only.

/** @typedef {{hash: number, palette: number[][]}} Colors */

/** @param {number} id @param {Colors} colors */
export function slotOf(id, { hash, palette }) {
  return ((Math.imul(id, hash) >>> 16) * palette.length) >>> 16;
}

/** CSS colour of an id. @param {number} id @param {Colors} colors */
export function cssOf(id, colors) {
  if (!id) return "transparent";
  const [r, g, b] = colors.palette[slotOf(id, colors)];
  return `rgb(${r}, ${g}, ${b})`;
}

/**
 * A small open hash table of ids for the shader: 1024 slots, linear probing.
 * @param {number[]} ids at most 512 are taken
 */
export function idTable(ids) {
  const table = new Uint32Array(1024);
  for (const id of ids.slice(0, 512)) {
    let at = Math.imul(id, 0x9e3779b1) >>> 22;
    while (table[at] !== 0 && table[at] !== id) at = (at + 1) & 1023;
    table[at] = id;
  }
  return table;
}
