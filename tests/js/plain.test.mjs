// The picture without WebGL2: which colour each pixel has.
import assert from "node:assert/strict";
import test from "node:test";
import { compose } from "../../mitonb/widgets/js/plain.js";

const layer = { visible: true, opacity: 1 };
const scene = {
  layers: { em: layer, labels: layer, preview: layer }, selected: [], seen: { shows: () => true }, bare: false, window: [0, 255],
  colors: { hash: 0, palette: [[255, 0, 0]], ramps: {} },
};
/** Which pixels are red. */
const red = (entries, w, h) => Array.from({ length: w * h }, (_, i) => compose(entries, scene, w, h)[4 * i] === 255);
const scope = (step, top, left, bottom, right) => ({ step, top, left, bottom, right });

test("a plane of which the image is coarser has its colours", () => {
  const image = { part: "image", data: new Uint8Array([10, 20]), w: 2, h: 1, step: 2, scope: null };
  const labels = { part: "labels", data: new Uint32Array([0, 0, 0, 5]), w: 4, h: 1, step: 1, scope: null };
  const found = compose({ image, labels, preview: null }, scene, 4, 1);
  assert.deepEqual([0, 1, 2, 3].map((i) => [...found.slice(4 * i, 4 * i + 3)]), [[10, 10, 10], [10, 10, 10], [20, 20, 20], [255, 0, 0]]);
});

test("what is proposed on a huge plane lies where it is, though the labels have come in another window", () => {
  const labels = { part: "labels", data: new Uint32Array(16), w: 4, h: 4, step: 1, scope: scope(1, 100, 200, 104, 204) };
  // An object at rows 102 and 103 of columns 202 and 203, as an earlier window shows it at half its size.
  const data = new Uint32Array(16);
  data[4 * 1 + 3] = 5;
  for (const part of ["proposal", "preview"]) {
    const preview = { part, data, w: 4, h: 4, step: 2, scope: scope(2, 100, 196, 108, 204) };
    const found = red({ image: null, labels, preview }, 4, 4).flatMap((is, i) => (is ? [i] : []));
    assert.deepEqual(found, [10, 11, 14, 15], part);
  }
});
