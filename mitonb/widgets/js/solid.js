// Surfaces, planes of the image and lines in 3-D, drawn with WebGL2; what stays as it is stays on the graphics card.

import { programOf } from "./shader.js";

/**
 * @typedef {{id: number, first: number, count: number, from: number, to: number}} Part  the corners and the points of one object
 * @typedef {{points: Float32Array, normals: Float32Array, corners: Uint32Array, parts: Part[]}} Surfaces  points and normals x, y, z in nm or voxels
 * @typedef {{at: number[], side: number[]}} Cut  what lies beyond `at` on the sides that are not 0, on all of them, is cut away
 * @typedef {{turn: number[], middle: number[], pan: [number, number], scale: [number, number, number], cut?: Cut}} Look
 * @typedef {{data: Uint8Array, shape: number[], low: number[], high: number[]}} Image  shape z, y, x; its first corner and its last, x, y, z
 * @typedef {{vertices: WebGLVertexArrayObject, buffers: WebGLBuffer[], surfaces: Surfaces}} Held
 */

const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec3 point; layout(location=1) in vec3 normal; layout(location=2) in vec4 tint;
uniform mat3 u_turn; uniform vec3 u_middle, u_scale; uniform vec2 u_pan;
out vec3 v_point, v_normal; out vec4 v_color;
void main() {
  v_point = point;
  v_normal = u_turn * normal;
  v_color = tint;
  vec3 p = u_turn * (point - u_middle) - vec3(u_pan, 0.0);
  gl_Position = v_color.a == 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(p * u_scale, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float; precision highp int; precision highp sampler3D;
in vec3 v_point, v_normal; in vec4 v_color;
uniform int u_kind; uniform vec3 u_at, u_side, u_low, u_high; uniform sampler3D u_image;
out vec4 color;
void main() {
  if (u_kind == 1) { color = v_color; return; }
  if (u_kind == 2) { color = vec4(vec3(texture(u_image, (v_point - u_low) / (u_high - u_low)).r), 1.0); return; }
  vec3 beyond = u_side * (v_point - u_at);
  if (any(notEqual(u_side, vec3(0.0))) && all(greaterThan(mix(vec3(1.0), beyond, notEqual(u_side, vec3(0.0))), vec3(0.0)))) discard;
  vec3 n = normalize(v_normal) * (gl_FrontFacing ? 1.0 : -1.0);
  float lit = 0.42 + 0.58 * max(0.0, dot(n, normalize(vec3(-0.35, 0.5, 0.8))));
  float shine = 0.22 * pow(max(0.0, dot(n, normalize(vec3(-0.19, 0.27, 0.94)))), 24.0);
  color = vec4(v_color.rgb * lit * (gl_FrontFacing ? 1.0 : 0.6) + shine, 1.0);
}`;
const NONE = "This browser does not offer WebGL2, which 3-D needs: save a picture (.png) instead.";
const LOST = "The browser took its graphics memory back: the objects come back when there is some again. If they do not, close other pictures or reload the page.";
/** The corners of a box by their bits, two an edge. */
const EDGES = [1, 2, 4].flatMap((step) => [0, 1, 2, 3, 4, 5, 6, 7].filter((i) => !(i & step)).flatMap((i) => [i, i + step]));

/** What of x, y, z goes right, up and to the viewer: rows of three. In an image y runs down, and z away. @param {{yaw: number, pitch: number}} camera */
export function turning({ yaw, pitch }) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [cy, 0, -sy, sp * sy, -cp, sp * cy, -cp * sy, -sp, -cp * cy];
}

/** Surfaces as they were packed. @param {Record<string, any>} head @returns {Surfaces} */
export function surfacesOf({ meshes, points, corners }) {
  /** @type {Part[]} */
  const parts = [];
  let [first, from] = [0, 0];
  for (const [id, vertices, triangles] of meshes) {
    parts.push({ id, first, count: 3 * triangles, from, to: from + vertices });
    [first, from] = [first + 3 * triangles, from + vertices];
  }
  return { points, corners, parts, normals: normalsOf(points, corners) };
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

/** How far right, up or to the viewer a point lies. @param {number[]} turn @param {number} row @param {ArrayLike<number>} p @param {number} [i] where its x stands */
export const along = (turn, row, p, i = 0) => turn[3 * row] * p[i] + turn[3 * row + 1] * p[i + 1] + turn[3 * row + 2] * p[i + 2];

/** The rectangle of a box where one coordinate has a value. @param {number} k x, y or z @param {number} value @param {{low: number[], high: number[]}} box */
export function sheet(k, value, { low, high }) {
  const [a, b] = [0, 1, 2].filter((other) => other !== k);
  const points = [0, 1, 2, 3].flatMap((i) => [0, 1, 2].map((c) => (c === k ? value : (c === a ? i & 1 : c === b ? i >> 1 : 0) ? high[c] : low[c])));
  return { points, corners: [0, 1, 2, 2, 1, 3], parts: [{ id: 0, first: 0, count: 6, from: 0, to: 4 }] };
}

/**
 * The surface that is nearest to the viewer under a point of the picture.
 * @param {{points: ArrayLike<number>, corners: ArrayLike<number>, parts: Part[]}} surfaces @param {(id: number) => boolean} shows @param {number[]} turn @param {number} right @param {number} up where it lies after turning
 * @param {Cut} [cut]
 * @returns {{id: number, point: number[]} | null} x, y, z
 */
export function hit({ points: p, corners, parts }, shows, turn, right, up, cut) {
  /** @type {{id: number, point: number[]} | null} */
  let found = null;
  let nearest = -Infinity;
  const seen = (/** @type {number} */ i, /** @type {number} */ row) => along(turn, row, p, i);
  const isCut = (/** @type {number[]} */ point) => cut?.side.some(Boolean) && cut.side.every((s, k) => !s || s * (point[k] - cut.at[k]) > 0);
  for (const { id, first, count } of parts) {
    if (!shows(id)) continue;
    for (let t = first; t < first + count; t += 3) {
      const [a, b, c] = [3 * corners[t], 3 * corners[t + 1], 3 * corners[t + 2]];
      const [ax, ay, bx, by, cx, cy] = [seen(a, 0), seen(a, 1), seen(b, 0), seen(b, 1), seen(c, 0), seen(c, 1)];
      const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
      if (!area) continue;
      const u = ((right - ax) * (cy - ay) - (cx - ax) * (up - ay)) / area;
      const v = ((bx - ax) * (up - ay) - (right - ax) * (by - ay)) / area;
      if (u < 0 || v < 0 || u + v > 1) continue;
      const near = (1 - u - v) * seen(a, 2) + u * seen(b, 2) + v * seen(c, 2);
      if (near <= nearest) continue;
      const point = [0, 1, 2].map((k) => (1 - u - v) * p[a + k] + u * p[b + k] + v * p[c + k]);
      if (isCut(point)) continue;
      nearest = near;
      found = { id, point };
    }
  }
  return found;
}

export class Solid {
  /** @param {HTMLCanvasElement} canvas @param {() => void} changed `why` is another, or all is to be painted and drawn again */
  constructor(canvas, changed) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: false, powerPreference: "high-performance" });
    this.gl = /** @type {WebGL2RenderingContext} */ (gl);
    /** Why nothing can be drawn now, if so. */
    this.why = gl ? "" : NONE;
    /** @type {Map<string, Held>} */
    this.held = new Map();
    /** @type {Image | null} */
    this.image = null;
    /** @type {Record<string, WebGLUniformLocation | null>} */
    this.at = {};
    /** @type {WebGLBuffer | null} */
    this.loose = null;
    this.off = new AbortController();
    const { signal } = this.off;
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();  // else it never comes back
      this.why = LOST;
      changed();
    }, { signal });
    canvas.addEventListener("webglcontextrestored", () => {
      this.#start();
      changed();
    }, { signal });
    if (gl) this.#start();
  }

  /** Give the graphics card all that it needs. */
  #start() {
    const { gl } = this;
    // A processor that draws needs a second for four points a pixel: while things move it draws one for four pixels.
    this.slow = /swiftshader|llvmpipe|software/i.test(gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
    try {
      this.program = programOf(gl, VERTEX, FRAGMENT);
    } catch (error) {
      this.why = /** @type {Error} */ (error).message;
      return;
    }
    gl.useProgram(this.program);
    gl.enable(gl.DEPTH_TEST);
    const names = ["turn", "middle", "scale", "pan", "kind", "at", "side", "low", "high"];
    this.at = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(/** @type {WebGLProgram} */ (this.program), `u_${name}`)]));
    this.loose = gl.createBuffer();
    this.texture = gl.createTexture();
    this.why = "";
    const shown = [...this.held];
    this.held.clear();
    for (const [name, { surfaces }] of shown) this.hold(name, surfaces);
    this.setImage(this.image);
  }

  dispose() {
    this.off.abort();
    this.gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Keep surfaces under a name, in place of those before; null drops them. @param {string} name @param {Surfaces | null} surfaces */
  hold(name, surfaces) {
    const { gl } = this;
    for (const buffer of this.held.get(name)?.buffers ?? []) gl.deleteBuffer(buffer);
    gl?.deleteVertexArray(this.held.get(name)?.vertices ?? null);
    this.held.delete(name);
    if (!surfaces || !gl) return;
    const vertices = gl.createVertexArray();
    gl.bindVertexArray(vertices);
    const { points, normals, corners } = surfaces;
    const buffers = [points, normals, new Uint8Array(4 * points.length / 3), corners].map((values, k) => {
      const kind = k < 3 ? gl.ARRAY_BUFFER : gl.ELEMENT_ARRAY_BUFFER;
      const buffer = gl.createBuffer();
      gl.bindBuffer(kind, buffer);
      gl.bufferData(kind, values, gl.STATIC_DRAW);
      if (k < 3) gl.enableVertexAttribArray(k);
      if (k < 2) gl.vertexAttribPointer(k, 3, gl.FLOAT, false, 0, 0);
      else if (k === 2) gl.vertexAttribPointer(k, 4, gl.UNSIGNED_BYTE, true, 0, 0);
      return buffer;
    });
    gl.bindVertexArray(null);
    this.held.set(name, { vertices, buffers, surfaces });
  }

  /** Give the parts their colours, 0 to 255; null hides one. @param {string} name @param {(id: number, number: number) => number[] | null} color */
  paint(name, color) {
    const { gl } = this;
    const held = this.held.get(name);
    if (!held) return;
    const { points, parts } = held.surfaces;
    const tints = new Uint8Array(4 * points.length / 3);
    const words = new Uint32Array(tints.buffer);
    parts.forEach(({ id, from, to }, i) => {
      const tint = color(id, i);
      if (!tint || from === to) return;
      tints.set([tint[0], tint[1], tint[2], 255], 4 * from);
      words.fill(words[from], from, to);
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, held.buffers[2]);
    gl.bufferData(gl.ARRAY_BUFFER, tints, gl.DYNAMIC_DRAW);
  }

  /** Take the image, of which planes can be shown then. @param {Image | null} image */
  setImage(image) {
    const { gl } = this;
    this.image = image;
    if (!gl) return;
    // A texture of the right kind must be there, though nothing may be read of it.
    const { data, shape: [z, y, x] } = image ?? { data: new Uint8Array(1), shape: [1, 1, 1] };
    gl.bindTexture(gl.TEXTURE_3D, this.texture ?? null);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, name, gl.CLAMP_TO_EDGE);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, gl.LINEAR);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, x, y, z, 0, gl.RED, gl.UNSIGNED_BYTE, data);
  }

  /** Begin a picture of so many CSS pixels; false where it cannot be drawn now. @param {number} w @param {number} h @param {Look} look @param {boolean} [moves] */
  begin(w, h, { turn, middle, pan, scale, cut }, moves = false) {
    const { gl, canvas, at } = this;
    if (this.why || !w || !h) return false;
    const unit = this.slow ? (moves ? 0.5 : 1.5) : Math.min(2 * (window.devicePixelRatio || 1), 3);
    const [width, height] = [Math.round(w * unit), Math.round(h * unit)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(at.turn, true, turn);
    gl.uniform2fv(at.pan, pan);
    for (const [name, value] of Object.entries({ middle, scale, at: cut?.at ?? [0, 0, 0], side: cut?.side ?? [0, 0, 0] })) gl.uniform3fv(at[name], value);
    return true;
  }

  /** @param {string} name */
  surfaces(name) {
    const { gl } = this;
    const held = this.held.get(name);
    if (!held) return;
    gl.uniform1i(this.at.kind, 0);
    gl.bindVertexArray(held.vertices);
    gl.drawElements(gl.TRIANGLES, held.surfaces.corners.length, gl.UNSIGNED_INT, 0);
    gl.bindVertexArray(null);
  }

  /** The edges of a box. @param {{low: number[], high: number[]}} box */
  edges({ low, high }) {
    this.lines(EDGES.flatMap((i) => [0, 1, 2].map((k) => ((i >> k) & 1 ? high[k] : low[k]))), 0.5);
  }

  /** @param {number[]} points two a line @param {number} gray 0 to 1 */
  lines(points, gray) {
    this.#loose(this.gl.LINES, 1, points, gray);
  }

  /** The plane of the image where one coordinate has a value. @param {number} k x, y or z @param {number} value */
  plane(k, value) {
    const { gl, at, image } = this;
    if (!image) return;
    gl.uniform3fv(at.low, image.low);
    gl.uniform3fv(at.high, image.high);
    this.#loose(gl.TRIANGLE_STRIP, 2, sheet(k, value, image).points, 1);
  }

  /** @param {number} kind @param {number} how @param {number[]} points @param {number} gray */
  #loose(kind, how, points, gray) {
    const { gl, at } = this;
    gl.uniform1i(at.kind, how);
    gl.vertexAttrib4f(2, gray, gray, gray, 1);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.loose);
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(points), gl.STREAM_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    gl.drawArrays(kind, 0, points.length / 3);
  }
}
