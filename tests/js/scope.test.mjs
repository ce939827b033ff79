// Huge planes are shown in windows: which one is asked for, which one is shown, and where a pixel lies in it.
import assert from "node:assert/strict";
import test from "node:test";
import { fit, zoomAt } from "../../mitonb/widgets/js/geometry.js";
import { Scopes, boxIn, covers, overviewOf, placeIn, pointsIn, scopeOf, seenOf } from "../../mitonb/widgets/js/scope.js";

const VIEW = { w: 1000, h: 600 };
const SHEET = { w: 100_000, h: 80_000, aspect: 1 };
const scope = (step, top, left, bottom, right) => ({ step, top, left, bottom, right });

test("planes that are not huge come whole", () => {
  const sheet = { w: 2048, h: 2048, aspect: 1 };
  assert.equal(scopeOf(fit(sheet, VIEW), sheet, VIEW, 1), null);
});

test("a window covers what is seen at every zoom, at a step that the screen can show, and is small", () => {
  for (let scale = 0.005; scale < 20; scale *= 1.7) {
    for (const [x, y] of [[0, 0], [50_000, 40_000], [99_999, 79_999]]) {
      const camera = { x, y, scale };
      const found = scopeOf(camera, SHEET, VIEW, 1);
      assert.ok(covers(found, seenOf(camera, SHEET, VIEW)), `${scale} ${x}`);
      assert.ok(found.step === 1 || found.step * scale <= 1.1);
      assert.ok(found.step * scale > 0.5 || found.step * 2 * scale > 1.1);
      assert.ok(((found.right - found.left) / found.step) * ((found.bottom - found.top) / found.step) < 2 ** 23);
      assert.equal((found.left / found.step) % 256, 0);
    }
  }
});

test("a small move asks for nothing new", () => {
  const at = (x) => scopeOf({ x, y: 40_000, scale: 1 }, SHEET, VIEW, 1);
  assert.deepEqual(at(50_000), at(50_003));
  assert.notDeepEqual(at(50_000), at(50_300));
});

test("where there are no lower resolutions a view shows no more than can be read", () => {
  const sheet = { ...SHEET, widest: 2048 };
  const camera = fit(sheet, VIEW);
  assert.ok(VIEW.w / camera.scale <= 2048);
  assert.equal(zoomAt(camera, sheet, VIEW, 5, 5, 0.1).scale, camera.scale);
  assert.equal(overviewOf(sheet), null);
  assert.deepEqual(overviewOf(SHEET), scope(128, 0, 0, 80_000, 100_000));
});

test("the sharpest window that shows all that is seen is shown, then the whole plane, then what there is", () => {
  const scopes = new Scopes();
  const overview = overviewOf(SHEET);
  const [fine, moved] = [scope(1, 0, 0, 2000, 2000), scope(1, 0, 512, 2000, 2512)];
  assert.deepEqual(scopes.order(fine, scope(1, 10, 10, 500, 500), overview), [fine, overview]);
  // The old window still shows all, until the view leaves it.
  assert.deepEqual(scopes.order(moved, scope(1, 10, 600, 500, 1900), overview), [moved, fine, overview]);
  assert.deepEqual(scopes.order(moved, scope(1, 10, 1000, 500, 2400), overview), [moved, overview, fine]);
  // Far out, a sharp window is not looked for although it would do.
  const far = scope(16, 0, 0, 32_000, 32_000);
  assert.deepEqual(scopes.order(far, scope(1, 0, 0, 1900, 1900), null)[0], far);
});

test("a box of the plane is cut to a window, and counted from its corner", () => {
  const entry = { scope: scope(1, 100, 200, 140, 260), step: 1, w: 60, h: 40 };
  assert.deepEqual(boxIn(entry, { x0: 210, y0: 90, x1: 999, y1: 120 }), { x0: 10, y0: 0, x1: 60, y1: 20 });
  assert.ok(boxIn(entry, { x0: 0, y0: 0, x1: 200, y1: 999 }).x1 <= 0);
  assert.deepEqual(boxIn({ scope: null, w: 9, h: 8 }, { x0: 1, y0: 2, x1: 99, y1: 3 }), { x0: 1, y0: 2, x1: 9, y1: 3 });
});

test("pixels and points of a plane are found in a window", () => {
  const entry = { scope: scope(4, 100, 200, 140, 260), step: 4, w: 15, h: 10 };
  assert.equal(placeIn(entry, 100, 200), 0);
  assert.equal(placeIn(entry, 107, 209), 15 + 2);
  assert.equal(placeIn(entry, 99, 200), -1);
  assert.equal(placeIn(entry, 100, 260), -1);
  assert.deepEqual(pointsIn(entry, [100, 200, 139, 259]), [0, 0, 9, 14]);
  assert.equal(placeIn({ scope: null, step: 1, w: 9, h: 9 }, 2, 3), 21);
});
