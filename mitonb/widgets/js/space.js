// Objects in 3-D beside the planes: surfaces that the kernel sent, turned by a drag, with the place that the planes go through.

import { slotOf } from "./colors.js";
import { element, perFrame } from "./dom.js";

/**
 * @typedef {{id: number, first: number, count: number}} Part  of the triangles: the corners of one object
 * @typedef {{points: Float32Array, normals: Float32Array, corners: Uint32Array, owners: Uint32Array, parts: Part[]}} Surfaces
 *   points and normals x, y, z in nm or voxels; the object of each point
 * @typedef {{yaw: number, pitch: number, zoom: number}} Camera
 */

const VERTEX = `#version 300 es
in vec3 point, normal, tint;
uniform mat3 u_turn;
uniform vec3 u_middle, u_scale;
out vec3 v_color;
void main() {
  vec3 p = u_turn * (point - u_middle);
  vec3 n = u_turn * normal;
  float lit = dot(normal, normal) > 0.0 ? 0.45 + 0.55 * max(0.0, dot(normalize(n), normalize(vec3(-0.35, 0.5, 0.8)))) : 1.0;
  v_color = tint * lit;
  gl_Position = vec4(p * u_scale, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec3 v_color;
out vec4 color;
void main() { color = vec4(v_color, 1.0); }`;
const START = { yaw: -0.5, pitch: 0.35, zoom: 1 };
const EDGES = [1, 2, 4].flatMap((step) => Array.from({ length: 8 }, (_, i) => i).filter((i) => !(i & step)).flatMap((i) => [i, i + step]));

/** What of x, y, z goes right, up and to the viewer: rows of three. In an image y runs down, and z away. @param {Camera} camera */
export function turning({ yaw, pitch }) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [cy, 0, -sy, sp * sy, -cp, sp * cy, -cp * sy, -sp, -cp * cy];
}

/** Surfaces of several messages as one. @param {{meshes: [number, number, number][], points: Float32Array, corners: Uint32Array}[]} pieces points z, y, x @returns {Surfaces} */
export function joined(pieces) {
  const points = new Float32Array(pieces.reduce((n, p) => n + p.points.length, 0));
  const corners = new Uint32Array(pieces.reduce((n, p) => n + p.corners.length, 0));
  const owners = new Uint32Array(points.length / 3);
  /** @type {Part[]} */
  const parts = [];
  let [vertex, corner] = [0, 0];
  for (const piece of pieces) {
    let [from, at] = [0, 0];
    for (const [id, vertices, triangles] of piece.meshes) {
      parts.push({ id, first: corner, count: 3 * triangles });
      owners.fill(id, vertex, vertex + vertices);
      for (let i = 0; i < 3 * vertices; i += 3) for (let k = 0; k < 3; k++) points[3 * vertex + i + k] = piece.points[from + i + 2 - k];
      for (let i = 0; i < 3 * triangles; i++) corners[corner + i] = piece.corners[at + i] + vertex;
      [from, at, vertex, corner] = [from + 3 * vertices, at + 3 * triangles, vertex + vertices, corner + 3 * triangles];
    }
  }
  return { points, corners, owners, parts, normals: normalsOf(points, corners) };
}

/** @param {Float32Array} p @param {Uint32Array} corners */
function normalsOf(p, corners) {
  const normals = new Float32Array(p.length);
  for (let t = 0; t < corners.length; t += 3) {
    const [a, b, c] = [3 * corners[t], 3 * corners[t + 1], 3 * corners[t + 2]];
    const [ux, uy, uz, vx, vy, vz] = [p[b] - p[a], p[b + 1] - p[a + 1], p[b + 2] - p[a + 2], p[c] - p[a], p[c + 1] - p[a + 1], p[c + 2] - p[a + 2]];
    const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (const i of [a, b, c]) {
      normals[i] += nx;
      normals[i + 1] += ny;
      normals[i + 2] += nz;
    }
  }
  return normals;
}

/**
 * The surface that is nearest to the viewer under a point of the picture.
 * @param {Surfaces} surfaces @param {(id: number) => boolean} shows @param {number[]} turn @param {number} right @param {number} up where it lies after turning
 * @returns {{id: number, point: number[]} | null} x, y, z
 */
export function hit({ points: p, corners, parts }, shows, turn, right, up) {
  /** @type {{id: number, point: number[]} | null} */
  let found = null;
  let nearest = -Infinity;
  const seen = (/** @type {number} */ i, /** @type {number} */ row) => turn[row] * p[i] + turn[row + 1] * p[i + 1] + turn[row + 2] * p[i + 2];
  for (const { id, first, count } of parts) {
    if (!shows(id)) continue;
    for (let t = first; t < first + count; t += 3) {
      const [a, b, c] = [3 * corners[t], 3 * corners[t + 1], 3 * corners[t + 2]];
      const [ax, ay, bx, by, cx, cy] = [seen(a, 0), seen(a, 3), seen(b, 0), seen(b, 3), seen(c, 0), seen(c, 3)];
      const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
      if (!area) continue;
      const u = ((right - ax) * (cy - ay) - (cx - ax) * (up - ay)) / area;
      const v = ((bx - ax) * (up - ay) - (right - ax) * (by - ay)) / area;
      if (u < 0 || v < 0 || u + v > 1) continue;
      const near = (1 - u - v) * seen(a, 6) + u * seen(b, 6) + v * seen(c, 6);
      if (near <= nearest) continue;
      nearest = near;
      found = { id, point: [0, 1, 2].map((k) => (1 - u - v) * p[a + k] + u * p[b + k] + v * p[c + k]) };
    }
  }
  return found;
}

export class Space {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    this.camera = { ...START };
    /** @type {Surfaces | null} */
    this.surfaces = null;
    /** What objects would become, in place of what they are. @type {Surfaces | null} */
    this.proposed = null;
    /** @type {any[]} */
    this.pieces = [];
    this.canvas = element("canvas", { class: "mitonb-picture" });
    this.text = element("span", { attributes: { role: "status" } });
    this.refresh = element("button", { text: "refresh", title: "Build the surfaces again from the labels as they are now", attributes: { type: "button" } });
    this.refresh.addEventListener("click", () => this.ask());
    this.state = element("div", { class: "mitonb-chip-bar" }, [this.text, this.refresh]);
    const tag = element("span", { class: "mitonb-tag", text: "3-D" });
    this.node = element("div", {
      class: "mitonb-pane mitonb-space", title: "A drag or the arrows turn, the wheel zooms, a click selects and goes there",
      attributes: { tabindex: "0", role: "application", "aria-label": "Objects in 3-D: the arrows turn them, plus and minus zoom" },
    }, [this.canvas, tag, element("div", { class: "mitonb-states" }, [this.state])]);
    view.ui.panes.append(this.node);
    this.redraw = perFrame(() => this.#draw());
    this.gl = this.#start();
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.node);
    this.#listen();
    this.ask();
  }

  dispose() {
    this.observer.disconnect();
    this.redraw.cancel();
    this.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.node.remove();
  }

  /** Have the surfaces built from the labels as they are. */
  ask() {
    if (!this.gl) return;
    this.#say("building surfaces …");
    this.view.tell({ kind: "surfaces" });
  }

  /** Labels changed since. */
  age() {
    if (this.gl && this.surfaces) this.#say("labels changed", true);
  }

  /** Nothing is proposed any more. */
  withdraw() {
    this.proposed = null;
    this.redraw();
  }

  /** @param {{meshes: [number, number, number][], first: boolean, last: boolean, failed?: string, proposed?: boolean}} m @param {DataView[]} buffers */
  take(m, buffers) {
    const [points, corners] = buffers.map((b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength));
    if (m.proposed) {
      // It may have been taken or left while it was built.
      if (this.view.store.proposal) this.proposed = joined([{ meshes: m.meshes, points: new Float32Array(points), corners: new Uint32Array(corners) }]);
      this.redraw();
      return;
    }
    if (m.first) this.pieces = [];
    if (m.failed) {
      this.#say(m.failed, true);
      return;
    }
    this.pieces.push({ meshes: m.meshes, points: new Float32Array(points), corners: new Uint32Array(corners) });
    if (!m.last) return;
    this.surfaces = joined(this.pieces);
    this.pieces = [];
    this.#say(this.surfaces.parts.length ? "" : "no objects yet", !this.surfaces.parts.length);
    this.redraw();
  }

  /** @param {string} text @param {boolean} [again] */
  #say(text, again = false) {
    this.state.hidden = !text;
    this.text.textContent = text;
    this.refresh.hidden = !again;
  }

  #start() {
    const gl = this.canvas.getContext("webgl2", { antialias: true, powerPreference: "high-performance" });
    if (!gl) {
      this.#say("This browser does not offer WebGL2: the tab 3D shows a still picture.");
      return null;
    }
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.program = program;
    return gl;
  }

  /** Edges of the volume, x, y, z. */
  get #extent() {
    const { info } = this.view.store;
    const size = info?.voxel_size ?? [1, 1, 1];
    return [2, 1, 0].map((k) => (info?.shape[k] ?? 1) * size[k]);
  }

  /** How the volume lies in the picture: pixels are those of the screen a nm or voxel. */
  frame() {
    const extent = this.#extent;
    const { clientWidth: w, clientHeight: h } = this.node;
    // At first the volume just fits; while it is turned its scale stays.
    const turn = turning(START);
    const [across, tall] = [0, 3].map((row) => [0, 1, 2].reduce((sum, k) => sum + Math.abs(turn[row + k]) * extent[k], 0));
    const pixels = 0.92 * this.camera.zoom * Math.min(w / across, h / tall);
    return { w, h, radius: Math.hypot(...extent) / 2, middle: extent.map((v) => v / 2), pixels };
  }

  #draw() {
    const { gl, view, surfaces } = this;
    const { info } = view.store;
    if (!gl || !this.program || !info || gl.isContextLost()) return;
    const { w, h, radius, middle, pixels } = this.frame();
    if (!w || !h) return;
    const unit = Math.min(window.devicePixelRatio || 1, 2);
    [this.canvas.width, this.canvas.height] = [Math.round(w * unit), Math.round(h * unit)];
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const at = (/** @type {string} */ name) => gl.getUniformLocation(/** @type {WebGLProgram} */ (this.program), name);
    gl.uniformMatrix3fv(at("u_turn"), true, turning(this.camera));
    gl.uniform3fv(at("u_middle"), middle);
    // Right, up, and what is nearer to the viewer lies before the rest.
    gl.uniform3f(at("u_scale"), (2 * pixels) / w, (2 * pixels) / h, -1 / radius);
    const now = this.proposed?.parts.map(({ id }) => id) ?? [];
    if (surfaces) this.#solid(surfaces, (id) => view.seen.shows(id) && !now.includes(id));
    if (this.proposed) this.#solid(this.proposed, () => true);
    const extent = this.#extent;
    const box = Float32Array.from({ length: 24 }, (_, i) => ((Math.floor(i / 3) >> (i % 3)) & 1) * extent[i % 3]);
    this.#lines(box, EDGES, 0.5);
    if (view.place) {
      const size = info.voxel_size ?? [1, 1, 1];
      const place = [2, 1, 0].map((k) => (/** @type {number[]} */ (view.place)[k] + 0.5) * size[k]);
      const cross = [0, 1, 2].flatMap((k) => [0, extent[k]].flatMap((v) => place.map((p, i) => (i === k ? v : p))));
      this.#lines(Float32Array.from(cross), [0, 1, 2, 3, 4, 5], 0.75);
    }
  }

  /** @param {Surfaces} surfaces @param {(id: number) => boolean} shows */
  #solid(surfaces, shows) {
    const info = /** @type {import("./protocol.js").Info} */ (this.view.store.info);
    const gl = /** @type {WebGL2RenderingContext} */ (this.gl);
    const chosen = new Set(this.view.get("selected"));
    const tints = new Float32Array(surfaces.points.length);
    let [last, tint] = [0, [0, 0, 0]];
    surfaces.owners.forEach((id, i) => {
      if (id !== last) [last, tint] = [id, info.palette[slotOf(id, info)].map((v) => (chosen.has(id) ? 0.4 * v / 255 + 0.6 : v / 255))];
      tints.set(tint, 3 * i);
    });
    const parts = surfaces.parts.filter(({ id }) => shows(id));
    const corners = new Uint32Array(parts.reduce((n, part) => n + part.count, 0));
    let n = 0;
    for (const { first, count } of parts) {
      corners.set(surfaces.corners.subarray(first, first + count), n);
      n += count;
    }
    this.#shape(gl.TRIANGLES, surfaces.points, surfaces.normals, tints, corners);
  }

  /** @param {Float32Array} points @param {number[]} ends @param {number} gray */
  #lines(points, ends, gray) {
    this.#shape(/** @type {WebGL2RenderingContext} */ (this.gl).LINES, points, new Float32Array(points.length), new Float32Array(points.length).fill(gray), Uint32Array.from(ends));
  }

  /** @param {number} kind @param {Float32Array} points @param {Float32Array} normals @param {Float32Array} tints @param {Uint32Array} corners */
  #shape(kind, points, normals, tints, corners) {
    const gl = /** @type {WebGL2RenderingContext} */ (this.gl);
    const buffers = [...Object.entries({ point: points, normal: normals, tint: tints }).map(([name, values]) => {
      const place = gl.getAttribLocation(/** @type {WebGLProgram} */ (this.program), name);
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STREAM_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
      return buffer;
    }), gl.createBuffer()];
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[3]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STREAM_DRAW);
    gl.drawElements(kind, corners.length, gl.UNSIGNED_INT, 0);
    for (const buffer of buffers) gl.deleteBuffer(buffer);
  }

  /** @param {number} yaw @param {number} pitch @param {number} [zoom] */
  turn(yaw, pitch, zoom = 1) {
    const { camera } = this;
    camera.yaw += yaw;
    camera.pitch = Math.min(Math.max(camera.pitch + pitch, -Math.PI / 2), Math.PI / 2);
    camera.zoom = Math.min(Math.max(camera.zoom * zoom, 0.5), 20);
    this.redraw();
  }

  /** @param {number} x @param {number} y */
  #click(x, y) {
    const { view, surfaces } = this;
    const { info } = view.store;
    if (!surfaces || !info) return;
    const { w, h, middle, pixels } = this.frame();
    const turn = turning(this.camera);
    const [right, up] = [0, 3].map((row) => turn[row] * middle[0] + turn[row + 1] * middle[1] + turn[row + 2] * middle[2]);
    const found = hit(surfaces, view.seen.shows, turn, right + (x - w / 2) / pixels, up - (y - h / 2) / pixels);
    if (!found) return;
    const size = info.voxel_size ?? [1, 1, 1];
    const point = [0, 1, 2].map((k) => Math.min(Math.max(Math.floor(found.point[2 - k] / size[k]), 0), info.shape[k] - 1));
    view.set("selected", [found.id]);
    view.visit(point);
  }

  #listen() {
    const { node } = this;
    /** @type {{x: number, y: number, moved: boolean} | null} */
    let drag = null;
    node.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Element && event.target.closest("button")) return;
      node.focus({ preventScroll: true });
      node.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, moved: false };
      event.preventDefault();
    });
    node.addEventListener("pointermove", ({ clientX, clientY }) => {
      if (!drag) return;
      const [dx, dy] = [clientX - drag.x, clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) <= 4) return;
      drag = { x: clientX, y: clientY, moved: true };
      this.turn(dx / 120, dy / 120);
    });
    node.addEventListener("pointerup", ({ clientX, clientY }) => {
      const box = node.getBoundingClientRect();
      if (drag && !drag.moved) this.#click(clientX - box.left, clientY - box.top);
      drag = null;
    });
    node.addEventListener("pointercancel", () => { drag = null; });
    node.addEventListener("dblclick", () => {
      this.camera = { ...START };
      this.redraw();
    });
    node.addEventListener("wheel", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.turn(0, 0, Math.exp(-Math.max(-120, Math.min(event.deltaY, 120)) / 300));
    }, { passive: false });
    node.addEventListener("keydown", (event) => {
      const by = /** @type {Record<string, [number, number, number?]>} */ ({
        ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1], "+": [0, 0, 1.2], "=": [0, 0, 1.2], "-": [0, 0, 1 / 1.2],
      })[event.key];
      if (!by || event.target !== node) return;
      this.turn(...by);
      event.preventDefault();
      event.stopPropagation();
    });
  }
}
