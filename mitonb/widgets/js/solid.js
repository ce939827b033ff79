// Surfaces, planes of the image and lines in 3-D, drawn with WebGL2; what stays as it is stays on the graphics card.

import { perFrame } from "./dom.js";

/**
 * @typedef {{id: number, first: number, count: number}} Part  of the triangles: the corners of one object
 * @typedef {{points: Float32Array, normals: Float32Array, corners: Uint32Array, numbers: Uint32Array, parts: Part[]}} Surfaces
 *   points and normals x, y, z in nm or voxels; the number of the part of each point
 * @typedef {{yaw: number, pitch: number, zoom: number, pan: [number, number]}} Camera
 * @typedef {{at: number[], side: number[]}} Cut  what lies beyond `at` on the sides that are not 0, on all of them, is cut away
 * @typedef {{turn: number[], middle: number[], pan: [number, number], scale: [number, number, number], cut?: Cut}} Look
 * @typedef {{vertices: WebGLVertexArrayObject, buffers: WebGLBuffer[], tints: WebGLTexture, parts: Part[], count: number}} Held
 */

const WIDE = 1024;
const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec3 point; layout(location=1) in vec3 normal; layout(location=2) in uint number;
uniform mat3 u_turn; uniform vec3 u_middle, u_scale; uniform vec2 u_pan; uniform int u_kind; uniform sampler2D u_tints; uniform vec4 u_color;
out vec3 v_point, v_normal; out vec4 v_color;
void main() {
  v_point = point;
  v_normal = u_turn * normal;
  v_color = u_kind == 0 ? texelFetch(u_tints, ivec2(int(number) % ${WIDE}, int(number) / ${WIDE}), 0) : u_color;
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
export const EDGES = [1, 2, 4].flatMap((step) => Array.from({ length: 8 }, (_, i) => i).filter((i) => !(i & step)).flatMap((i) => [i, i + step]));

/** What of x, y, z goes right, up and to the viewer: rows of three. In an image y runs down, and z away. @param {{yaw: number, pitch: number}} camera */
export function turning({ yaw, pitch }) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [cy, 0, -sy, sp * sy, -cp, sp * cy, -cp * sy, -sp, -cp * cy];
}

/** Surfaces of several messages as one. @param {{meshes: number[][], points: Float32Array, corners: Uint32Array}[]} pieces points z, y, x @returns {Surfaces} */
export function joined(pieces) {
  const points = new Float32Array(pieces.reduce((n, p) => n + p.points.length, 0));
  const corners = new Uint32Array(pieces.reduce((n, p) => n + p.corners.length, 0));
  const numbers = new Uint32Array(points.length / 3);
  /** @type {Part[]} */
  const parts = [];
  let [vertex, corner] = [0, 0];
  for (const piece of pieces) {
    let [from, at] = [0, 0];
    for (const [id, vertices, triangles] of piece.meshes) {
      numbers.fill(parts.length, vertex, vertex + vertices);
      parts.push({ id, first: corner, count: 3 * triangles });
      for (let i = 0; i < 3 * vertices; i += 3) for (let k = 0; k < 3; k++) points[3 * vertex + i + k] = piece.points[from + i + 2 - k];
      for (let i = 0; i < 3 * triangles; i++) corners[corner + i] = piece.corners[at + i] + vertex;
      [from, at, vertex, corner] = [from + 3 * vertices, at + 3 * triangles, vertex + vertices, corner + 3 * triangles];
    }
  }
  return { points, corners, numbers, parts, normals: normalsOf(points, corners) };
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

/** Whether a point is cut away. @param {number[]} point @param {Cut} [cut] */
export const isCut = (point, cut) => !!cut && cut.side.some(Boolean) && cut.side.every((s, k) => !s || s * (point[k] - cut.at[k]) > 0);

/**
 * The surface that is nearest to the viewer under a point of the picture.
 * @param {Surfaces} surfaces @param {(id: number) => boolean} shows @param {number[]} turn @param {number} right @param {number} up where it lies after turning
 * @param {Cut} [cut]
 * @returns {{id: number, point: number[]} | null} x, y, z
 */
export function hit({ points: p, corners, parts }, shows, turn, right, up, cut) {
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
      const point = [0, 1, 2].map((k) => (1 - u - v) * p[a + k] + u * p[b + k] + v * p[c + k]);
      if (isCut(point, cut)) continue;
      nearest = near;
      found = { id, point };
    }
  }
  return found;
}

export class Solid {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: false, powerPreference: "high-performance" });
    /** null where the browser does not offer it */
    this.gl = gl;
    /** @type {Record<string, Held>} */
    this.held = {};
    /** @type {{low: number[], high: number[]} | null} */
    this.image = null;
    /** @type {WebGLTexture | undefined} */
    this.texture = undefined;
    if (!gl) return;
    // A processor that draws needs a second for four points a pixel: while things move it draws one for four pixels.
    this.slow = /swiftshader|llvmpipe|software/i.test(gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
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
    const names = ["turn", "middle", "scale", "pan", "kind", "tints", "color", "at", "side", "low", "high", "image"];
    this.at = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, `u_${name}`)]));
    gl.uniform1i(this.at.tints, 0);
    gl.uniform1i(this.at.image, 1);
    gl.vertexAttribI4ui(2, 0, 0, 0, 0);  // lines have no number, and its kind must be right all the same
    this.loose = [gl.createBuffer(), gl.createBuffer()];
    // A texture of the right kind must be there, though nothing is read of it.
    this.setImage(new Uint8Array(1), [1, 1, 1], [0, 0, 0], [1, 1, 1]);
    this.image = null;
  }

  dispose() {
    this.gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Keep surfaces under a name, in place of those before; null drops them. @param {string} name @param {Surfaces | null} surfaces */
  hold(name, surfaces) {
    const { gl } = this;
    if (!gl) return;
    const old = this.held[name];
    if (old) {
      for (const buffer of old.buffers) gl.deleteBuffer(buffer);
      gl.deleteVertexArray(old.vertices);
      gl.deleteTexture(old.tints);
      delete this.held[name];
    }
    if (!surfaces) return;
    const vertices = gl.createVertexArray();
    gl.bindVertexArray(vertices);
    const buffers = [surfaces.points, surfaces.normals, surfaces.numbers].map((values, k) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(k);
      if (k < 2) gl.vertexAttribPointer(k, 3, gl.FLOAT, false, 0, 0);
      else gl.vertexAttribIPointer(k, 1, gl.UNSIGNED_INT, 0, 0);
      return buffer;
    });
    buffers.push(gl.createBuffer());
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[3]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, surfaces.corners, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    this.held[name] = { vertices, buffers, tints: gl.createTexture(), parts: surfaces.parts, count: surfaces.corners.length };
  }

  /** Give the parts their colours, 0 to 255; null hides one. @param {string} name @param {(id: number, number: number) => number[] | null} color */
  paint(name, color) {
    const { gl } = this;
    const held = this.held[name];
    if (!gl || !held) return;
    const rows = Math.max(1, Math.ceil(held.parts.length / WIDE));
    const tints = new Uint8Array(4 * WIDE * rows);
    held.parts.forEach(({ id }, i) => {
      const tint = color(id, i);
      if (tint) tints.set([tint[0], tint[1], tint[2], 255], 4 * i);
    });
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, held.tints);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, WIDE, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, tints);
  }

  /** Take the image, of which planes can be shown then. @param {Uint8Array} data @param {number[]} shape z, y, x @param {number[]} low x, y, z of its first corner @param {number[]} high */
  setImage(data, [z, y, x], low, high) {
    const gl = /** @type {WebGL2RenderingContext} */ (this.gl);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_3D, this.texture ??= gl.createTexture());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, name, gl.CLAMP_TO_EDGE);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, gl.LINEAR);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, x, y, z, 0, gl.RED, gl.UNSIGNED_BYTE, data);
    this.image = { low, high };
  }

  /** Begin a picture of so many CSS pixels; false where it cannot be drawn now. @param {number} w @param {number} h @param {Look} look @param {boolean} [moves] */
  begin(w, h, { turn, middle, pan, scale, cut }, moves = false) {
    const { gl, canvas, at } = this;
    if (!gl || !at || !w || !h || gl.isContextLost()) return false;
    const unit = this.slow ? (moves ? 0.5 : 1.5) : Math.min(2 * (window.devicePixelRatio || 1), 3);
    const [width, height] = [Math.round(w * unit), Math.round(h * unit)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(at.turn, true, turn);
    gl.uniform3fv(at.middle, middle);
    gl.uniform2fv(at.pan, pan);
    gl.uniform3fv(at.scale, scale);
    gl.uniform3fv(at.at, cut?.at ?? [0, 0, 0]);
    gl.uniform3fv(at.side, cut?.side ?? [0, 0, 0]);
    return true;
  }

  /** @param {string} name */
  surfaces(name) {
    const { gl, at } = this;
    const held = this.held[name];
    if (!gl || !at || !held) return;
    gl.uniform1i(at.kind, 0);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, held.tints);
    gl.bindVertexArray(held.vertices);
    gl.drawElements(gl.TRIANGLES, held.count, gl.UNSIGNED_INT, 0);
    gl.bindVertexArray(null);
  }

  /** @param {ArrayLike<number>} points @param {number[]} ends @param {number} gray 0 to 1 */
  lines(points, ends, gray) {
    const gl = /** @type {WebGL2RenderingContext} */ (this.gl);
    this.#loose(gl.LINES, 1, points, ends, [gray, gray, gray, 1]);
  }

  /** The plane of the image where one coordinate has a value. @param {number} k x, y or z @param {number} value */
  plane(k, value) {
    if (!this.image || !this.gl || !this.at) return;
    const { gl, at, image: { low, high } } = this;
    const [a, b] = [0, 1, 2].filter((other) => other !== k);
    const points = [0, 1, 2, 3].flatMap((i) => [0, 1, 2].map((c) => (c === k ? value : (c === a ? i & 1 : c === b ? i >> 1 : 0) ? high[c] : low[c])));
    gl.uniform3fv(at.low, low);
    gl.uniform3fv(at.high, high);
    this.#loose(gl.TRIANGLES, 2, points, [0, 1, 2, 2, 1, 3], [0, 0, 0, 1]);
  }

  /** @param {number} kind @param {number} how @param {ArrayLike<number>} points @param {number[]} corners @param {number[]} color */
  #loose(kind, how, points, corners, color) {
    const { gl, at, loose } = this;
    if (!gl || !at || !loose) return;
    gl.uniform1i(at.kind, how);
    gl.uniform4fv(at.color, color);
    gl.bindBuffer(gl.ARRAY_BUFFER, loose[0]);
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(points), gl.STREAM_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, loose[1]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, Uint32Array.from(corners), gl.STREAM_DRAW);
    gl.drawElements(kind, corners.length, gl.UNSIGNED_INT, 0);
  }
}

const BY_KEY = /** @type {Record<string, [number, number, number?]>} */ ({
  ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1], "+": [0, 0, 1.2], "=": [0, 0, 1.2], "-": [0, 0, 1 / 1.2],
});

/**
 * Draw at most once a frame, roughly while calls come and well when they have ended.
 * @param {(moves: boolean) => void} draw
 */
export function rough(draw) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let rest;
  const well = perFrame(() => draw(false));
  const roughly = perFrame(() => draw(true));
  const moved = () => {
    roughly();
    clearTimeout(rest);
    rest = setTimeout(well, 180);
  };
  return { well, moved, cancel: () => { clearTimeout(rest); well.cancel(); roughly.cancel(); } };
}

/**
 * Turn by a drag or the arrows, move by a drag with Shift or the right button, zoom by the wheel, plus and minus; a click that does not move is a click.
 * @param {HTMLElement} node
 * @param {{turn: (yaw: number, pitch: number, zoom?: number) => void, move: (dx: number, dy: number) => void, click: (x: number, y: number, event: PointerEvent) => void, reset: () => void}} does
 */
export function orbit(node, { turn, move, click, reset }) {
  /** @type {{x: number, y: number, moved: boolean, pans: boolean} | null} */
  let drag = null;
  node.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && event.target.closest("button, input, select")) return;
    node.focus({ preventScroll: true });
    node.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, moved: false, pans: event.shiftKey || event.button > 0 };
    event.preventDefault();
  });
  node.addEventListener("contextmenu", (event) => event.preventDefault());
  node.addEventListener("pointermove", ({ clientX, clientY }) => {
    if (!drag) return;
    const [dx, dy] = [clientX - drag.x, clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) <= 4) return;
    drag = { ...drag, x: clientX, y: clientY, moved: true };
    if (drag.pans) move(dx, dy);
    else turn(dx / 120, dy / 120);
  });
  node.addEventListener("pointerup", (event) => {
    const box = node.getBoundingClientRect();
    if (drag && !drag.moved && !event.button) click(event.clientX - box.left, event.clientY - box.top, event);
    drag = null;
  });
  node.addEventListener("pointercancel", () => { drag = null; });
  node.addEventListener("dblclick", reset);
  node.addEventListener("wheel", (event) => {
    event.preventDefault();
    event.stopPropagation();
    turn(0, 0, Math.exp(-Math.max(-120, Math.min(event.deltaY, 120)) / 300));
  }, { passive: false });
  node.addEventListener("keydown", (event) => {
    const by = BY_KEY[event.key];
    if (!by || event.target !== node) return;
    turn(...by);
    event.preventDefault();
    event.stopPropagation();
  });
}

/** @param {Camera} camera @param {number} yaw @param {number} pitch @param {number} [zoom] */
export function turnCamera(camera, yaw, pitch, zoom = 1) {
  camera.yaw += yaw;
  camera.pitch = Math.min(Math.max(camera.pitch + pitch, -Math.PI / 2), Math.PI / 2);
  camera.zoom = Math.min(Math.max(camera.zoom * zoom, 0.5), 20);
}

/**
 * How a box of some extent lies in a picture: at first it just fits, and while it is turned its scale stays.
 * @param {number[]} extent x, y, z @param {Camera} camera @param {Camera} start @param {number} w @param {number} h
 * @returns {number} pixels of the picture a nm or voxel
 */
export function pixelsOf(extent, camera, start, w, h) {
  const turn = turning(start);
  const [across, tall] = [0, 3].map((row) => [0, 1, 2].reduce((sum, k) => sum + Math.abs(turn[row + k]) * extent[k], 0));
  return 0.92 * camera.zoom * Math.min(w / across, h / tall);
}
