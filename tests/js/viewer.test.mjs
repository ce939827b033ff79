// Pure parts of the viewer, without a browser.
import assert from "node:assert/strict";
import test from "node:test";
import { Cache } from "../../mitonb/widgets/js/cache.js";
import { idTable, slotOf } from "../../mitonb/widgets/js/colors.js";
import { nextWay, otherText } from "../../mitonb/widgets/js/compare.js";
import { fit, lengthText, pan, pixelOf, roundLength, sheetOf, sidesOf, toPlane, toScreen, voxelOf, zoomAt } from "../../mitonb/widgets/js/geometry.js";
import { placeOf } from "../../mitonb/widgets/js/goto.js";
import { Verbs, nextBrush } from "../../mitonb/widgets/js/keys.js";
import { judgedOn } from "../../mitonb/widgets/js/overlay.js";
import { Outbox } from "../../mitonb/widgets/js/outbox.js";
import { histogramOf, percentiles } from "../../mitonb/widgets/js/panel.js";
import { collector, rowsOf } from "../../mitonb/widgets/js/packs.js";
import { pillOf } from "../../mitonb/widgets/js/pill.js";
import { Assembler, half } from "../../mitonb/widgets/js/protocol.js";
import { nextSelection, seenOf, seenText } from "../../mitonb/widgets/js/seen.js";
import { sentence, thinned } from "../../mitonb/widgets/js/split.js";
import { hit, surfacesOf, turning } from "../../mitonb/widgets/js/solid.js";
import { drawStroke, fillLasso, radiusOf } from "../../mitonb/widgets/js/strokes.js";
import { binOf, part, spanOf } from "../../mitonb/widgets/js/chart.js";
import { asked, between, choice, searched } from "../../mitonb/widgets/js/table.js";
import { around, reachFor, stepFor, Wants, wantList } from "../../mitonb/widgets/js/wants.js";

const plane = (w, h) => ({ data: new Uint32Array(w * h), w, h });
const rows = ({ data, w, h }) => Array.from({ length: h }, (_, y) => [...data.subarray(y * w, (y + 1) * w)].join(""));
const free = { after: 1, only: null };

test("a brush of radius 1 covers a plus", () => {
  const ids = plane(5, 5);
  const box = drawStroke(ids, [2, 2], 1, free);
  assert.deepEqual(rows(ids), ["00000", "00100", "01110", "00100", "00000"]);
  assert.deepEqual(box, { x0: 1, y0: 1, x1: 4, y1: 4 });
});

test("a brush of radius 0 draws a line of single pixels", () => {
  const ids = plane(6, 3);
  drawStroke(ids, [0, 0, 2, 5], 0, free);
  assert.deepEqual(rows(ids), ["110000", "001100", "000011"]);
});

test("a stroke beyond the edge draws what lies inside and does not wrap round", () => {
  const ids = plane(4, 3);
  const box = drawStroke(ids, [1, -2, 1, 0], 1, free);
  assert.deepEqual(rows(ids), ["1000", "1100", "1000"]);
  assert.ok(box.x0 === 0 && box.x1 <= 4);
  assert.equal(drawStroke(plane(4, 3), [50, 50], 2, free).x1 <= 4, true);
});

test("a ball on a plane whose pixels are higher than wide covers fewer rows", () => {
  const ids = plane(5, 5);
  drawStroke(ids, [2, 2], 2, free, [2, 1]);
  assert.deepEqual(rows(ids), ["00000", "00100", "11111", "00100", "00000"]);
  assert.deepEqual(sidesOf("xz", [30, 10, 10]), [3, 1]);
  assert.deepEqual(sidesOf("xy", null), [1, 1]);
  assert.deepEqual([radiusOf(200), radiusOf(200, [1, 1]), radiusOf(20, [1, 1])], [200, 128, 20], "no ball is larger than the kernel takes");
});

test("a rule writes on one id only", () => {
  const ids = plane(3, 1);
  ids.data.set([0, 7, 0]);
  drawStroke(ids, [0, 0, 0, 2], 0, { after: 4, only: 0 });
  assert.deepEqual([...ids.data], [4, 7, 4]);
});

test("a lasso fills what it encloses, also where it crosses itself or leaves the plane", () => {
  const ids = plane(6, 5);
  assert.deepEqual(fillLasso(ids, [1, 1, 1, 4, 3, 4, 3, 1], free), { x0: 1, y0: 1, x1: 5, y1: 4 });
  assert.deepEqual(rows(ids), ["000000", "011110", "011110", "011110", "000000"]);
  fillLasso(ids, [2, 2, 2, 3], { after: 0, only: 1 });
  assert.deepEqual(rows(ids)[2], "010010");
  fillLasso(ids, [-3, -3, -3, 9, 9, 9, 9, -3], { after: 7, only: 0 });
  assert.deepEqual(rows(ids), ["777777", "711117", "717717", "711117", "777777"]);
});

test("zooming keeps the point under the pointer", () => {
  const sheet = { w: 100, h: 50, aspect: 6 };
  const view = { w: 300, h: 200 };
  const before = fit(sheet, view);
  const point = toPlane(before, sheet, view, 120, 90);
  const after = zoomAt(before, sheet, view, 120, 90, 2);
  assert.ok(after.scale > before.scale);
  toPlane(after, sheet, view, 120, 90).forEach((v, i) => assert.ok(Math.abs(v - point[i]) < 1e-9));
});

test("a plane fits with its voxel's aspect, and cannot be lost by panning", () => {
  const sheet = sheetOf([10, 100, 200], [30, 5, 5], "xz");
  assert.deepEqual(sheet, { h: 10, w: 200, aspect: 6, count: 100 });
  const camera = fit(sheet, { w: 400, h: 400 });
  const [x, y] = toScreen(camera, sheet, { w: 400, h: 400 }, 0, 0);
  assert.ok(x >= 0 && y >= 0);
  assert.equal(pan(camera, sheet, -1e6, 0).x, 200);
});

test("voxels and pixels are each other's inverse on every axis", () => {
  for (const axis of ["xy", "xz", "yz"]) {
    const { index, row, column } = pixelOf(axis, [3, 5, 7]);
    assert.deepEqual(voxelOf(axis, index, row, column), [3, 5, 7]);
  }
});

test("scale bars have round lengths", () => {
  assert.deepEqual([1, 1.9, 2.5, 7, 99].map(roundLength), [1, 1, 2, 5, 50]);
  assert.deepEqual([20, 999, 1500].map(lengthText), ["20 nm", "999 nm", "1.5 µm"]);
});

test("the cache drops what was used longest ago and never counts beyond its limit", () => {
  const cache = new Cache(10);
  cache.set("a", 1, 4);
  cache.set("b", 2, 4);
  cache.get("a");
  cache.set("c", 3, 4);
  assert.deepEqual([cache.get("a"), cache.get("b"), cache.get("c"), cache.bytes], [1, undefined, 3, 8]);
  cache.set("a", 5, 1);
  assert.equal(cache.bytes, 5);
});

test("an edit is sent again until it is answered, under the same number", () => {
  let now = 0;
  const sent = [];
  const box = new Outbox({ client: "me", transmit: (m) => sent.push(m.cseq), now: () => now, patience: 10 });
  box.add({ op: "undo" });
  box.add({ op: "redo" });
  box.tick();
  assert.deepEqual(sent, [1, 2]);
  now = 11;
  box.tick();
  assert.deepEqual(sent, [1, 2, 1, 2]);
  assert.equal(box.late, true);
  box.settle(1);
  box.settle(1);
  assert.equal(box.size, 1);
  box.gap(2);
  assert.deepEqual(sent, [1, 2, 1, 2, 2]);
  box.settle(2);
  assert.equal(box.late, false);
});

test("a closed comm loses no edit", () => {
  let open = false;
  let now = 0;
  const sent = [];
  const transmit = (m) => { if (!open) throw new Error("closed"); sent.push(m.cseq); };
  const box = new Outbox({ client: "me", transmit, now: () => now, patience: 10 });
  box.add({ op: "undo" });
  open = true;
  now = 20;
  box.tick();
  assert.deepEqual([sent, box.size], [[1], 1]);
});

test("planes are asked for from the one looked at outwards, ahead first", () => {
  assert.deepEqual(around(5, 8, 1, { ahead: 3, behind: 3 }), [5, 6, 4, 7, 3, 2]);
  assert.deepEqual(around(0, 8, -1, { ahead: 1, behind: 1 }), [0, 1]);
  const has = new Set(["image/1", "labels/1", "image/2"]);
  const wants = wantList("xz", [2, 1, 3], ["image", "labels"], 2, (part, i) => !has.has(`${part}/${i}`));
  assert.deepEqual(wants.map((w) => [w.index, w.parts]), [[2, ["labels"]], [3, ["image", "labels"]]]);
});

test("requests that get no answer are counted until one comes", () => {
  let now = 0;
  const wants = new Wants({ ask: () => {}, now: () => now, width: 2, patience: 10 });
  wants.set([0, 1].map((index) => ({ axis: "xy", index, parts: ["image"], step: 1 })));
  now = 11;
  wants.pump();
  assert.equal(wants.lost, 2);
  wants.touch(1);
  assert.equal(wants.lost, 0);
});

test("the newest wish wins, nothing is asked twice, and a lost request is asked again", () => {
  let now = 0;
  const asked = [];
  const wants = new Wants({ ask: (w, r) => asked.push([w.index, w.parts, r]), now: () => now, width: 2, patience: 10 });
  const wish = (index, ...parts) => ({ axis: "xy", index, parts, step: 1 });
  wants.set([wish(0, "image", "labels"), wish(1, "image"), wish(2, "image")]);
  assert.deepEqual(asked, [[0, ["image", "labels"], 1], [1, ["image"], 2]]);
  wants.set([wish(7, "image")]);
  assert.equal(wants.done(1, "image"), undefined);
  assert.equal(wants.done(1, "labels"), 0);
  assert.equal(asked.at(-1)[0], 7);
  wants.set([wish(1, "image", "labels")]);
  wants.done(3, "image");
  assert.deepEqual(asked.at(-1).slice(0, 2), [1, ["labels"]]);
  now = 20;
  wants.set([wish(1, "image")]);
  assert.deepEqual(asked.at(-1).slice(0, 2), [1, ["image"]]);
});

test("strips come together to a plane, packed or raw", async () => {
  const assembler = new Assembler();
  const head = { kind: "part", client: "me", req: 1, axis: "xy", index: 3, seq: 0, h: 2, w: 2 };
  const image = { ...head, part: "image", rows: 1, coding: "raw" };
  assert.equal(await assembler.add({ ...image, y0: 0, last: false }, [new DataView(new Uint8Array([1, 2]).buffer)]), null);
  const whole = await assembler.add({ ...image, y0: 1, last: true }, [new DataView(new Uint8Array([3, 4]).buffer)]);
  assert.deepEqual([...whole.data], [1, 2, 3, 4]);
  const packed = new Blob([new Uint32Array([9, 0, 0, 4294967295])]).stream().pipeThrough(new CompressionStream("deflate"));
  const buffer = await new Response(packed).arrayBuffer();
  const labels = { ...head, part: "labels", y0: 0, rows: 2, coding: "zlib", last: true };
  assert.deepEqual([...(await assembler.add(labels, [new DataView(buffer)])).data], [9, 0, 0, 4294967295]);
  await assert.rejects(assembler.add({ ...image, req: 2, rows: 2, y0: 1, last: true }, [new DataView(new ArrayBuffer(4))]));
});

test("half floats are read exactly", () => {
  assert.deepEqual([0x3c00, 0xc000, 0x3555, 0x0001, 0x7c00].map(half), [1, -2, 0.333251953125, 2 ** -24, Infinity]);
  assert.ok(Number.isNaN(half(0x7e00)));
});

test("colours follow the hash of the Python side", () => {
  const colors = { hash: 0x9e3779b1, palette: Array.from({ length: 36 }, () => [0, 0, 0]) };
  assert.deepEqual([0, 1, 2, 3].map((id) => slotOf(id, colors)), [0, 22, 8, 30]);
});

test("every selected id is found in the shader's table", () => {
  const ids = Array.from({ length: 300 }, (_, i) => i * 7919 + 1);
  const table = idTable(ids);
  assert.ok(ids.every((id) => table.includes(id)));
  assert.equal(table.filter(Boolean).length, 300);
});

/** Rows as the kernel sends them (mitonb/edit/verbs.py); the last is of no verb that there is. */
const VERBS = [
  { name: "paint", gesture: "stroke", keys: "P", codes: ["p"], does: "paint", title: "Paint", icon: "M0 0", cursor: "crosshair" },
  { name: "undo", gesture: "now", keys: "Ctrl-Z", codes: ["ctrl+z"], does: "undo", title: "Undo", icon: "M0 0", cursor: "" },
  { name: "redo", gesture: "now", keys: "Shift-Ctrl-Z", codes: ["ctrl+shift+z"], does: "redo", title: "Redo", icon: "M0 0", cursor: "" },
  { name: "smooth", gesture: "selected", keys: "Q", codes: ["q"], does: "smooth the selected", title: "Smooth", icon: "M0 0", cursor: "" },
];

test("keys are napari's where they exist, and only ours", () => {
  const verbs = new Verbs(VERBS);
  const key = (k, more = {}) => verbs.commandOf({ key: k, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more });
  assert.equal(key("p"), "do:paint");
  assert.equal(key("Escape"), "do:look");
  assert.equal(key("z"), "do:look");
  assert.equal(key("z", { ctrlKey: true }), "do:undo");
  assert.equal(key("Z", { ctrlKey: true, shiftKey: true }), "do:redo");
  assert.equal(key("N", { shiftKey: true }), "object:previous");
  assert.equal(key("K", { shiftKey: true }), "");
  assert.equal(key("c", { ctrlKey: true }), "");
  assert.equal(key("?", { shiftKey: true }), "help");
  assert.equal(key("p", { altKey: true }), "");
});

test("a verb of the kernel has its button, its key and its line in the help", () => {
  const verbs = new Verbs(VERBS);
  assert.deepEqual(verbs.tools.map((t) => t.name), ["look", "pick", "why", "paint"]);
  assert.deepEqual(verbs.actions.map((t) => t.name), ["undo", "redo", "smooth"]);
  assert.equal(verbs.commandOf({ key: "q", ctrlKey: false, metaKey: false, shiftKey: false, altKey: false }), "do:smooth");
  const { keys } = verbs.help.find((group) => group.title === "Correct");
  assert.deepEqual(keys.map((k) => k.keys), ["L", "P", "Ctrl-Z", "Shift-Ctrl-Z", "Q", "Shift-Q", "Shift-D", "O"]);
  const more = new Verbs([...VERBS, { ...VERBS[0], name: "grow", gesture: "selected", keys: "", codes: [], menu: true }]);
  assert.deepEqual([more.menu.map((v) => v.name), more.actions.length, more.help.flatMap((g) => g.keys).length],
    [["grow"], verbs.actions.length, verbs.help.flatMap((g) => g.keys).length], "a verb of the menu has no button of its own");
});

test("a page without a kernel lists the keys that do something there, and directions that it has planes of", () => {
  const helped = (axes) => new Verbs([], axes).help;
  assert.deepEqual(helped(["xy", "yz"]).map((group) => group.title), ["Look"]);
  const keys = (axes) => helped(axes).flatMap((group) => group.keys).map((row) => row.keys);
  assert.deepEqual(keys(["xy", "yz"]).filter((key) => "1234".includes(key)), ["1", "3"]);
  assert.deepEqual(keys(["xz"]).filter((key) => "1234".includes(key)), []);
  assert.deepEqual(keys().filter((key) => "1234".includes(key)), ["4", "1", "2", "3"]);
});

test("objects are hidden, or shown alone, and the words say which", () => {
  const shown = (hidden, isolated) => [0, 1, 2, 3].filter(seenOf(hidden, isolated).shows);
  assert.deepEqual(shown([], []), [0, 1, 2, 3]);
  assert.deepEqual(shown([2], []), [0, 1, 3]);
  assert.deepEqual(shown([], [2, 3]), [0, 2, 3]);
  assert.deepEqual(shown([3], [2, 3]), [0, 2]);
  assert.equal(seenText(seenOf([], []), true), "");
  assert.equal(seenText(seenOf([], []), false), "Labels are hidden (V)");
  assert.equal(seenText(seenOf([7], []), true), "Object 7 hidden");
  assert.equal(seenText(seenOf([7, 8], []), true), "2 objects hidden");
  assert.equal(seenText(seenOf([3], [2, 3]), true), "Only object 2 shown");
});

test("an object, a position in any spelling or a line of code is a place, and all else a sentence", () => {
  const shape = [82, 384, 512];
  assert.deepEqual(placeOf("42", shape), { id: 42 });
  assert.deepEqual(placeOf(" #42 ", shape), { id: 42 });
  for (const text of ["17 300 88", "17, 300, 88", "(17, 300, 88)", "z 17 y 300 x 88", "x 88  y 300  z 17", "x=88, y=300, z=17", "app.session.move_to(17, 300, 88)"]) {
    assert.deepEqual(placeOf(text, shape), { point: [17, 300, 88] }, text);
  }
  assert.deepEqual(placeOf("3 4", [1, 9, 9]), { point: [0, 3, 4] });
  assert.equal(placeOf("82 0 0", shape).error, "z is 0 to 81 in this volume, got 82.");
  assert.equal(placeOf("0 0 -1", shape).error, "x is 0 to 511 in this volume, got -1.");
  for (const text of ["", "nowhere", "3 4", "0", "-7", "1.5", "1 2 3 4"]) assert.match(placeOf(text, shape).error, /^Type an object, such as 42,/);
});

test("a key goes through the ways of comparing, and a pixel says in words what differs", () => {
  assert.deepEqual(["", "curtain", "blink", "difference"].map(nextWay), ["curtain", "blink", "difference", ""]);
  assert.deepEqual([[0, 0], [3, 3], [3, 0], [0, 3], [3, 4]].map(([now, then]) => otherText(now, then, "before")), ["", "", "before: background", "before: an object", "before: another object"]);
});

/** What `pack` in packs.py makes. */
const packed = (head, arrays) => {
  const text = new TextEncoder().encode(JSON.stringify({ ...head, arrays: arrays.map(([name, kind, values]) => [name, kind, values.byteLength]) }));
  const parts = [Uint8Array.from([text.length, 0, 0, 0]), text, ...arrays.map(([, , values]) => new Uint8Array(values.buffer))];
  return Uint8Array.from(parts.flatMap((one) => [...one]));
};

test("what is packed comes in pieces and is whole after the last, and a page that has missed the first waits for the next", () => {
  const bytes = packed({ said: "µm" }, [["values", "f8", Float64Array.from([1, NaN, 3, 4])], ["colors", "u1", Uint8Array.from([1, 2, 3])]]);
  const piece = (at) => [{ what: "rows", at, total: bytes.length }, new DataView(bytes.buffer, at, Math.min(40, bytes.length - at))];
  const places = Array.from({ length: Math.ceil(bytes.length / 40) }, (_, k) => 40 * k);
  const collect = collector();
  assert.deepEqual(places.slice(1).map((at) => collect(...piece(at))), places.slice(1).map(() => null));
  const found = [...places.slice(0, 2), ...places].map((at) => collect(...piece(at)));  // begun anew after two
  assert.deepEqual(found.map(Boolean), [...found.slice(1).map(() => false), true]);
  assert.deepEqual(found.at(-1), { said: "µm", values: Float64Array.from([1, NaN, 3, 4]), colors: Uint8Array.from([1, 2, 3]) });
  assert.deepEqual(rowsOf(found.at(-1).values, 2).map((row) => [...row]), [[1, NaN], [3, 4]]);
  assert.deepEqual(rowsOf(new Float64Array(0), 2).map((row) => row.length), [0, 0]);
});

test("surfaces are told apart, and the one nearest to the viewer is hit", () => {
  // Two triangles across the axis of sight, in planes z 5 and z 1.
  const points = Float32Array.from([5, 1].flatMap((z) => [0, 0, z, 4, 0, z, 0, 4, z]));
  const surfaces = surfacesOf({ meshes: [[7, 3, 1], [9, 3, 1]], points, corners: Uint32Array.from([0, 1, 2, 3, 4, 5]) });
  assert.deepEqual(surfaces.parts, [{ id: 7, first: 0, count: 3, from: 0, to: 3 }, { id: 9, first: 3, count: 3, from: 3, to: 6 }]);
  const turn = turning({ yaw: 0, pitch: 0, zoom: 1 });
  const all = () => true;
  assert.deepEqual(hit(surfaces, all, turn, 1, -1), { id: 9, point: [1, 1, 1] });
  assert.deepEqual(hit(surfaces, (id) => id !== 9, turn, 1, -1), { id: 7, point: [1, 1, 5] });
  assert.equal(hit(surfaces, all, turn, 3, -3), null);
  // What is cut away is not hit; what lies behind it is.
  assert.equal(hit(surfaces, all, turn, 1, -1, { at: [0, 0, 2], side: [0, 0, -1] }).id, 7);
  // From behind the other one is nearer.
  assert.equal(hit(surfaces, all, turning({ yaw: Math.PI, pitch: 0, zoom: 1 }), -1, -1).id, 7);
});

test("the brush grows by single pixels when small and by a tenth when large", () => {
  assert.deepEqual([nextBrush(0, -1), nextBrush(3, 1), nextBrush(100, 1), nextBrush(256, 1)], [0, 4, 110, 256]);
});

test("clicks select, shift-clicks add and take away", () => {
  assert.deepEqual(nextSelection([1], 2, false), [2]);
  assert.deepEqual(nextSelection([1], 2, true), [1, 2]);
  assert.deepEqual(nextSelection([1, 2], 2, true), [1]);
  assert.deepEqual(nextSelection([1], 0, false), []);
});

test("the pill is never greener than the truth", () => {
  const saved = { kind: "saved", text: "saved" };
  assert.equal(pillOf(saved, 0, false, false).kind, "saved");
  assert.equal(pillOf(saved, 2, false, false).text, "saving 2");
  assert.equal(pillOf(saved, 2, true, false).kind, "unsaved");
  assert.equal(pillOf(saved, 1, true, false, true).text, "run the cell again (1 waiting)");
  assert.equal(pillOf({ kind: "unsaved", text: "not saved: the disk is full" }, 0, false, false).text, "not saved: the disk is full");
});

test("contrast is read off the histogram", () => {
  const bins = histogramOf(Uint8Array.from({ length: 1000 }, (_, i) => 100 + (i % 50)));
  const { low, high } = percentiles(bins, 0.01, 0.99);
  assert.ok(low >= 98 && low <= 101 && high >= 148 && high <= 151);
});

test("images come as coarse as the screen is, and never coarser", () => {
  assert.deepEqual([4, 1, 0.6, 0.505, 0.26, 0.01].map(stepFor), [1, 1, 1, 2, 4, 16]);
});

test("the faster one scrolls and the slower the answers, the further ahead is fetched", () => {
  assert.deepEqual(reachFor(0, 100, 99), { ahead: 3, behind: 3 });
  assert.deepEqual(reachFor(12, 450, 99), { ahead: 8, behind: 1 });
  assert.deepEqual(reachFor(60, 5000, 99), { ahead: 16, behind: 1 });
  assert.deepEqual(reachFor(12, 450, 0), { ahead: 0, behind: 0 });
});

test("ids are found by their beginning, and several by name", () => {
  const of = (text) => [1, 12, 21, 123, 3].filter(searched(text));
  assert.deepEqual(of(""), [1, 12, 21, 123, 3]);
  assert.deepEqual(of("12"), [12, 123]);
  assert.deepEqual(of(" #3 "), [3]);
  assert.deepEqual(of("12, 3;1"), [1, 12, 3]);
  assert.deepEqual(of("mito"), []);
});

test("conditions are typed by the names of columns, all must hold, and what is none is said", () => {
  const columns = [["object", "id"], ["verdict", "verdict"], ["volume µm³", "volume_um3", 4], ["voxels", "voxels"], ["z", "z"], ["at border", "truncated"], ["locked", "locked"]]
    .map(([label, name, digits = 0]) => ({ label, name, digits, kind: ["truncated", "locked"].includes(name) ? "flag" : name === "id" ? "id" : "number" }));
  const rows = [[1, NaN, 0.01, 100, 3, 1, 0], [12, 0.2, 0.05, 499, 5, 0, 0], [21, 0.9, 0.05004, 500, 5, 1, 1]];
  const of = (text) => rows.filter((row) => asked(text, columns).passes((k) => row[k])).map(([id]) => id);
  assert.deepEqual([of(""), of("1"), of("21, 1")], [[1, 12, 21], [1, 12], [1, 21]]);
  assert.deepEqual([of("voxels < 500"), of("voxels<=499 and z = 5"), of("VOX > 1e2")], [[1, 12], [12], [12, 21]]);
  assert.deepEqual([of("at border"), of("not at border"), of("border"), of("truncated, not locked")], [[1, 21], [12], [], [1]]);
  assert.deepEqual([of("volume = 0.05"), of("volume > 0.05"), of("verdict < 0.5"), of("verdict != 0.9"), of("object >= 12 & z > 4")], [[12, 21], [21], [12], [12], [12, 21]]);
  for (const [text, why] of [["voxels <", /^"voxels <" is no condition: say voxels < 500/], ["locked or", /^No column is called "locked or"/], ["mito", /Columns: object, verdict/],
    ["voxels", /is no condition/], ["not z < 3", /is no condition/], ["<script>", /^No column/], ["z ! 3", /is no condition/], [",;&", /^$/], ["z < 3 < 4", /is no condition/]]) {
    assert.match(asked(text, columns).wrong, why, text);
    if (text !== ",;&") assert.deepEqual(of(text), [], text);
  }
});

test("a filter keeps what lies in its range as it is shown, and nothing that is unknown", () => {
  const of = (from, to, digits = 0) => [1, 2.4, 2.6, 9, NaN].filter(between(from, to, digits));
  assert.deepEqual(of(2, 9), [2.4, 2.6, 9]);
  assert.deepEqual(of(2.5, NaN), [2.6, 9]);
  assert.deepEqual(of(NaN, 2), [1, 2.4]);
  assert.deepEqual(of(9, 1), []);
  assert.equal(of(NaN, NaN).length, 5);
  assert.ok(between(0.008, 0.008, 4)(0.0080000001));
});

test("Ctrl toggles a row, Shift takes a range that ends in the clicked row", () => {
  const shown = [9, 4, 7, 2, 5];
  assert.deepEqual(choice(shown, [4, 2], 4, 7, false, false), [7]);
  assert.deepEqual(choice(shown, [4, 2], 4, 7, true, false), [4, 2, 7]);
  assert.deepEqual(choice(shown, [4, 2], 4, 4, true, false), [2]);
  assert.deepEqual(choice(shown, [4], 4, 2, false, true), [4, 7, 2]);
  assert.deepEqual(choice(shown, [2], 2, 9, false, true), [2, 7, 4, 9]);
  assert.deepEqual(choice(shown, [5, 7], 4, 2, true, true), [5, 4, 7, 2]);
  assert.deepEqual(choice(shown, [], 99, 2, false, true), [2]);
});

test("a mark lies on its object, at the pixel nearest to the middle, and only on planes where that is", () => {
  const labels = plane(5, 3);
  labels.data.set([7, 7, 7, 0, 2, 7, 0, 0, 0, 0, 7, 7, 7, 0, 3]); // 7 is a ring that is open: its middle is background
  const found = judgedOn(labels, { right: [7, 9], false: [2], unsure: [3] });
  assert.deepEqual(found.map(({ kind, x, y }) => [kind, x, y]), [["right", 0, 1], ["false", 4, 0], ["unsure", 4, 2]]);
  assert.deepEqual(judgedOn({ ...labels, empty: true }, { right: [7], false: [] }), []);
  assert.deepEqual(judgedOn(null, { right: [7], false: [] }), []);
});

test("a locked object has a sign beside that of its verdict, and no stroke or line writes on it", () => {
  const labels = { ...plane(4, 1), empty: false };
  labels.data.set([7, 7, 0, 2]);
  const found = judgedOn(labels, { right: [7], false: [], locked: [7, 2] });
  assert.deepEqual(found.map(({ id, kind, shift }) => [id, kind, shift]), [[7, "right", 0], [7, "locked", 1], [2, "locked", 0]]);
  for (const only of [null, 7]) {
    drawStroke(labels, [0, 0, 0, 3], 1, { after: 9, only, locked: new Set([7]) });
    fillLasso(labels, [0, 0, 0, 1], { after: 8, only, locked: new Set([7]) });
    assert.deepEqual(rows(labels), ["7799"]);
  }
});

test("a scribble keeps its ends and corners some pixels apart", () => {
  assert.deepEqual(thinned([[5, 5]]), [[5, 5]]);
  assert.deepEqual(thinned([[5, 5], [5, 6]]), [[5, 5]]);
  assert.deepEqual(thinned([0, 1, 2, 3, 4, 5, 6, 7].map((x) => [0, x])), [[0, 0], [0, 3], [0, 6], [0, 7]]);
});

test("the bar says what to do next while an object is split", () => {
  const none = { id: 0, seeds: [], line: [], lining: false, through: true, asking: false, proposal: null, armed: false };
  const seed = { points: [[0, 0, 0]], part: 1 };
  const said = [none, { ...none, id: 7 }, { ...none, id: 7, seeds: [seed] }, { ...none, id: 7, seeds: [seed], armed: true },
    { ...none, id: 7, proposal: { edit: {}, ids: [7, 8, 9], owners: [] } }, { ...none, id: 7, lining: true }].map(sentence);
  assert.deepEqual(said, ["Click the object to split", "Click a seed in each part, or draw it", "Now a seed in another part",
    "Enter: seed 2 here", "3 parts: Enter takes, Esc leaves", "Draw a line across it"]);
});

test("an axis of a chart spans what is known, and bins hold all of it", () => {
  const linear = spanOf([2, NaN, 10, 6], false);
  assert.deepEqual(linear, { from: 2, to: 10, log: false });
  assert.deepEqual([2, 6, 10].map((v) => part(v, linear)), [0, 0.5, 1]);
  assert.deepEqual([2, 6, 10, 11, NaN].map((v) => binOf(v, linear)), [0, 12, 23, -1, -1]);
  // A logarithmic axis leaves out what has no logarithm.
  const log = spanOf([0, 1, 100], true);
  assert.deepEqual([1, 10, 100].map((v) => +part(v, log).toFixed(9)), [0, 0.5, 1]);
  assert.equal(binOf(0, log), -1);
  // One value alone stands in the middle.
  assert.equal(part(5, spanOf([5], false)), 0.5);
});
