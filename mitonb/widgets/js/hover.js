// What the status line says about the pixel under the pointer.

import { cssOf } from "./colors.js";
import { voxelOf } from "./geometry.js";
import { offsetAt } from "./overlay.js";
import { FINE, half } from "./protocol.js";
import { placeIn } from "./scope.js";

/**
 * @typedef {import("./protocol.js").Entry} Entry
 * @typedef {import("./protocol.js").Info} Info
 * @typedef {import("./tools.js").Spot} Spot
 */

/**
 * @param {{axis: string, index: number, spot: Spot, info: Info, layers: import("./gl.js").Layers,
 *   entry: (part: string) => Entry | null, shows: (id: number) => boolean, other: (now: number, then: number) => string}} facts
 */
export function describe({ axis, index, spot, info, layers, entry, shows, other }) {
  const [z, y, x] = voxelOf(axis, index, spot.row, spot.column);
  const image = entry("image");
  const id = idAt(entry("labels"), spot);
  return {
    position: `x ${x}  y ${y}${info.shape[0] > 1 ? `  z ${z}` : ""}`,
    value: image && !image.empty ? valueText(grayAt(image, spot), info, image.step === 1) : "",
    id, hidden: !shows(id), color: cssOf(id, info), why: [other(id, idAt(entry("other"), spot)), why(spot, layers, entry)].filter(Boolean).join("  "),
  };
}

/** Id at a pixel; 0 where there is none. @param {Entry | null} labels @param {Spot} spot */
export function idAt(labels, spot) {
  return labels && !labels.empty && spot.inside ? labels.data[placeIn(labels, spot.row, spot.column)] ?? 0 : 0;
}

/** @param {Entry} image @param {Spot} spot */
function grayAt(image, spot) {
  return image.data[placeIn(image, spot.row, spot.column)];
}

/**
 * Value of a pixel; exact where the picture has the stack's own numbers.
 * @param {number | undefined} gray @param {Info} info @param {boolean} finest
 */
export function valueText(gray, info, finest) {
  if (gray === undefined) return "";
  const [low, high] = info.intensity;
  if (finest && info.dtype === "uint8" && low === 0 && high === 255) return `value ${gray}`;
  return `value ≈ ${+(low + (gray / 255) * (high - low)).toPrecision(4)}`;
}

/** What the visible maps say. @param {Spot} spot @param {import("./gl.js").Layers} layers @param {(part: string) => Entry | null} entry */
function why(spot, layers, entry) {
  const parts = [];
  const [center, offsets, preview] = ["center", "offsets", "preview"].map(entry);
  for (const name of FINE) {
    const map = entry(name);
    const asked = layers[name].visible || (name === "semantic" && layers.offsets.visible);
    if (map && !map.empty && asked) parts.push(`${name} ${(map.data[spot.row * map.w + spot.column] / 255).toFixed(2)}`);
  }
  if (center && !center.empty && layers.center.visible) {
    const i = Math.min(Math.round(spot.row / center.step), center.h - 1);
    const j = Math.min(Math.round(spot.column / center.step), center.w - 1);
    parts.push(`center ${half(center.data[i * center.w + j]).toFixed(2)}`);
  }
  if (offsets && !offsets.empty && layers.offsets.visible) {
    const [dy, dx] = offsetAt(offsets, spot.row, spot.column);
    parts.push(`${dx >= 0 ? "→" : "←"}${Math.abs(dx).toFixed(0)} ${dy >= 0 ? "↓" : "↑"}${Math.abs(dy).toFixed(0)}`);
  }
  if (preview && !preview.empty && layers.preview.visible && idAt(preview, spot)) {
    parts.push("preview object");
  }
  return parts.join("  ");
}
