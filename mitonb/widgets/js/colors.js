// Colours of objects: the hash of mitonb/colors.py; its factor and table come from Python, so they stand there only.

/** @typedef {{stops: number[][], fade: [number, number]}} Ramp  of a map, from value 0 to 1 */
/**
 * @typedef {{hash: number, palette: number[][], ramps: Record<string, Ramp>, moved?: Map<number, number>}} Colors
 *   moved: slots that are not the hash's
 */

/** @param {number} id @param {Colors} colors */
export function slotOf(id, { hash, palette, moved }) {
  return moved?.get(id) ?? ((Math.imul(id, hash) >>> 16) * palette.length) >>> 16;
}

/** CSS colour of an id. @param {number} id @param {Colors} colors */
export function cssOf(id, colors) {
  if (!id) return "transparent";
  const [r, g, b] = colors.palette[slotOf(id, colors)];
  return `rgb(${r}, ${g}, ${b})`;
}

/** The stops of a ramp for a CSS gradient. @param {Ramp} ramp */
export function cssStops({ stops }) {
  return stops.map((rgb) => `rgb(${rgb.join(", ")})`).join(", ");
}

/**
 * Slots of ids as an open hash table for the shader: pairs of id and slot, linear probing, at most 16 steps.
 * @param {Map<number, number>} moved
 * @returns {{table: Uint32Array, shift: number}} 2 ** (32 - shift) pairs
 */
export function slotTable(moved) {
  for (let shift = 22; ; shift -= 1) {
    const last = 2 ** (32 - shift) - 1;
    const table = new Uint32Array(2 * (last + 1));
    const fits = moved.size <= last / 2 && [...moved].every(([id, slot]) => {
      let at = Math.imul(id, 0x9e3779b1) >>> shift;
      for (let step = 0; step < 16; step += 1, at = (at + 1) & last) {
        if (table[2 * at]) continue;
        table.set([id, slot], 2 * at);
        return true;
      }
      return false;
    });
    if (fits) return { table, shift };
  }
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
