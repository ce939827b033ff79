// What pointer and wheel do on the picture, for each tool. Decides nothing about labels: it tells the view.

import { LONGEST } from "./store.js";

/**
 * @typedef {{column: number, row: number, inside: boolean}} Spot  whole plane pixel
 * @typedef {{
 *   tool: () => string, draws: () => boolean, panning: () => boolean,
 *   spot: (x: number, y: number) => Spot,
 *   pan: (dx: number, dy: number) => void, zoom: (x: number, y: number, factor: number) => void,
 *   planes: (steps: number) => void, hover: (x: number, y: number) => void, leave: () => void,
 *   click: (spot: Spot, more: boolean) => void, pick: (spot: Spot) => void, fit: () => void, focus: () => void,
 *   moved: () => void, double: () => void,
 *   begin: (spot: Spot, event: PointerEvent) => boolean, draw: (points: number[]) => void, end: () => void, cancel: () => void,
 * }} Actions
 */

const CLICK = 4;

/**
 * Listen to a stage; returns what takes all listeners away.
 * @param {HTMLElement} stage @param {Actions} does
 */
export function listen(stage, does) {
  const off = new AbortController();
  const options = { signal: off.signal };
  /** @type {{mode: "pan" | "press" | "stroke", id: number, x: number, y: number, moved: boolean, spot: Spot} | null} */
  let drag = null;
  let count = 0;
  // The wheel scrolls planes only after the pointer was moved here: a page that is scrolled past must go on scrolling.
  let armed = false;

  const place = (/** @type {MouseEvent} */ event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  stage.addEventListener("pointerdown", (event) => {
    if (drag || !(event.target instanceof Element) || event.target.closest("button, input, [role=slider]")) return;
    does.focus();
    const [x, y] = place(event);
    const spot = does.spot(x, y);
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    drag = { mode: "press", id: event.pointerId, x, y, moved: false, spot };
    if (event.button !== 0 || does.panning()) drag.mode = "pan";
    else if (event.altKey) does.pick(spot);
    else if (does.draws() && does.begin(spot, event)) {
      drag.mode = "stroke";
      count = 1;
      does.draw([spot.row, spot.column]);
    }
  }, options);

  stage.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (event.movementX || event.movementY) {
      armed = true;
      does.moved();
    }
    if (drag?.mode === "stroke") {
      const points = [drag.spot.row, drag.spot.column];
      // Between two frames a pen or a fast mouse has been at more places than the last one.
      const events = event.getCoalescedEvents?.() ?? [];
      for (const e of events.length ? events : [event]) {
        const spot = does.spot(...(/** @type {[number, number]} */ (place(e))));
        if (spot.column === points.at(-1) && spot.row === points.at(-2)) continue;
        points.push(spot.row, spot.column);
        drag.spot = spot;
      }
      if (points.length > 2) {
        does.draw(points);
        count += points.length / 2 - 1;
      }
      if (count > LONGEST) {
        does.end();
        does.begin(drag.spot, event);
        count = 1;
        does.draw([drag.spot.row, drag.spot.column]);
      }
    } else if (drag) {
      drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > CLICK;
      const pans = drag.mode === "pan" || (drag.moved && !does.draws());
      if (pans && drag.moved) {
        drag.mode = "pan";
        does.pan(x - drag.x, y - drag.y);
        [drag.x, drag.y] = [x, y];
      }
    }
    does.hover(x, y);
  }, options);

  const finish = (/** @type {PointerEvent} */ event) => {
    if (!drag || event.pointerId !== drag.id) return;
    const { mode, moved, spot } = drag;
    drag = null;
    if (mode === "stroke") {
      if (event.type === "pointercancel") does.cancel();
      else does.end();
    } else if (mode === "press" && !moved && event.type === "pointerup" && event.button === 0 && !event.altKey) {
      does.click(spot, event.shiftKey || event.ctrlKey || event.metaKey);
    }
  };
  stage.addEventListener("pointerup", finish, options);
  stage.addEventListener("pointercancel", finish, options);
  stage.addEventListener("pointerleave", () => {
    armed = false;
    does.leave();
  }, options);
  stage.addEventListener("contextmenu", (event) => event.preventDefault(), options);
  stage.addEventListener("dblclick", (event) => {
    if (does.tool() === "look" && event.button === 0) does.fit();
    else does.double();
  }, options);

  let turned = 0;
  stage.addEventListener("wheel", (event) => {
    const zooming = event.ctrlKey || event.metaKey;
    if (!armed && !zooming && !stage.contains(document.activeElement) && document.activeElement !== stage.closest(".mitonb-viewer")) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = place(event);
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 40;
    if (zooming) {
      does.zoom(x, y, Math.exp(-Math.max(-120, Math.min(event.deltaY * unit, 120)) / 300));
      return;
    }
    const delta = (event.deltaY || event.deltaX) * unit;
    // A wheel's notch is one plane; a touchpad's many small steps add up to one.
    if (Math.abs(delta) >= 50) {
      does.planes(Math.sign(delta));
      turned = 0;
      return;
    }
    turned += delta;
    if (Math.abs(turned) >= 40) {
      does.planes(Math.sign(turned));
      turned = 0;
    }
  }, { ...options, passive: false });

  return () => off.abort();
}
