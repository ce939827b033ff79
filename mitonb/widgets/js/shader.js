// The one fragment shader: image, maps, labels and preview of a plane, composed for each screen pixel.
// Layers that are off are left out by #define, because software GL pays for every texture read.

import { FINE, HEADS } from "./protocol.js";

export const VERTEX = `#version 300 es
void main() { vec2 p = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0; gl_Position = vec4(p, 0.0, 1.0); }`;

/** @param {Set<string>} on names of #defines */
export function fragment(on) {
  return `#version 300 es\n${[...on].sort().map((name) => `#define ${name}\n`).join("")}${BODY()}`;
}

/** @param {WebGL2RenderingContext} gl @param {string} vertex @param {string} fragment @throws {Error} where the driver refuses them */
export function programOf(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`The graphics driver refused the viewer's shader: ${gl.getShaderInfoLog(shader)}`);
    }
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}

const BODY = () => `
precision highp float;
precision highp int;
precision highp usampler2D;
uniform vec2 u_middle, u_scale, u_size, u_sheet;
#ifdef WINDOWED
uniform vec2 u_low;
#endif
// Where ids lie: the first row and column of their window, and pixels on a side that one of them stands for.
uniform vec3 u_labels_at, u_preview_at;
uniform vec2 u_window;
uniform float u_opacity[${HEADS.length + 1}];
uniform float u_paper, u_step, u_grain, u_unit, u_shown, u_rim, u_curtain;
uniform uint u_hash, u_slots;
uniform vec3 u_palette[64];
uniform vec3 u_stops[32];
uniform ivec2 u_ramp[${HEADS.length}];
uniform vec2 u_fade[${HEADS.length}];
uniform sampler2D u_image, ${HEADS.map((name) => `u_${name}`).join(", ")};
uniform usampler2D u_labels, u_other, u_preview, u_selected;
out vec4 color;

uniform usampler2D u_moved, u_hidden;
uniform uint u_shift, u_far;

// The pair of an id in a table of them (slotTable in colors.js); its first number is 0 where there is none.
uvec2 paired(usampler2D table, uint id, uint shift) {
  uint at = (id * 0x9e3779b1u) >> shift;
  for (int i = 0; i < 16; i++) {
    uvec2 found = texelFetch(table, ivec2(int(at & 1023u), int(at >> 10u)), 0).rg;
    if (found.r == id || found.r == 0u) return found;
    at = (at + 1u) & ((1u << (32u - shift)) - 1u);
  }
  return uvec2(0u);
}

vec3 hue(uint id) {
#ifdef MOVED
  uvec2 moved = paired(u_moved, id, u_shift);
  if (moved.r != 0u) return u_palette[moved.g];
#endif
  return u_palette[(((id * u_hash) >> 16u) * u_slots) >> 16u];
}

#ifdef SELECTED
bool chosen(uint id) {
  uint at = (id * 0x9e3779b1u) >> 22u;
  for (int i = 0; i < 16; i++) {
    uint found = texelFetch(u_selected, ivec2(int(at) & 31, int(at) >> 5), 0).r;
    if (found == id) return true;
    if (found == 0u) return false;
    at = (at + 1u) & 1023u;
  }
  return false;
}
#endif

// The id at a place of the plane that is not outside of it.
uint idOf(usampler2D ids, vec3 from, vec2 p) {
#ifdef WINDOWED
  ivec2 at = ivec2(floor((p - from.xy) / from.z));
  if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, textureSize(ids, 0)))) return 0u;
  return texelFetch(ids, at, 0).r;
#else
  return texelFetch(ids, ivec2(p), 0).r;
#endif
}

uint idAt(usampler2D ids, vec3 from, vec2 p) {
#ifdef WINDOWED
  ivec2 at = ivec2(floor((p - from.xy) / from.z));
  return texelFetch(ids, clamp(at, ivec2(0), textureSize(ids, 0) - 1), 0).r;
#endif
  return texelFetch(ids, ivec2(clamp(p, vec2(0.0), u_sheet - 1.0)), 0).r;
}

// Whether a neighbour at a distance d has another id. Without shortcuts: branches cost software GL more than reads.
bool edge(usampler2D ids, vec3 from, vec2 p, uint id, vec2 d) {
  uint other = (idAt(ids, from, p + vec2(d.x, 0.0)) ^ id) | (idAt(ids, from, p - vec2(d.x, 0.0)) ^ id)
             | (idAt(ids, from, p + vec2(0.0, d.y)) ^ id) | (idAt(ids, from, p - vec2(0.0, d.y)) ^ id);
  return other != 0u;
}

bool differs(uint other, uint id) {
  return other != id && other != 0u;
}

// Whether a neighbour at a distance d is another object.
bool touches(usampler2D ids, vec3 from, vec2 p, uint id, vec2 d) {
  return differs(idAt(ids, from, p + vec2(d.x, 0.0)), id) || differs(idAt(ids, from, p - vec2(d.x, 0.0)), id)
      || differs(idAt(ids, from, p + vec2(0.0, d.y)), id) || differs(idAt(ids, from, p - vec2(0.0, d.y)), id);
}

uint shown(uint id) {
#ifdef HIDDEN
  if (paired(u_hidden, id, u_far).r != 0u) return 0u;
#endif
#ifdef ALONE
  if (paired(u_hidden, id, u_far).r == 0u) return 0u;
#endif
  return id;
}

// A colour with an object of a set of labels on it.
vec3 labelled(vec3 c, usampler2D ids, vec2 p, uint id) {
#ifdef SELECTED
  bool picked = chosen(id);
#else
  const bool picked = false;
#endif
  // Outlines are as wide on the screen at every zoom, but never thinner than what can be hit by sampling.
  vec2 rim = u_rim * u_unit / u_scale;
  bool edged = edge(ids, u_labels_at, p, id, picked ? 2.0 * rim : rim);
  vec3 h = hue(id);
#ifdef OUTLINE
  if (edged) return picked ? mix(h, vec3(1.0), 0.75) : mix(c, h, min(1.0, 0.35 + u_opacity[0]));
  return picked ? mix(c, h, 0.25) : c;
#else
  vec3 filled = mix(c, h, picked ? min(1.0, u_opacity[0] + 0.2) : u_opacity[0]);
  if (!edged) return filled;
  // A dark gap tells objects apart that touch.
  if (touches(ids, u_labels_at, p, id, min(rim, 1.0 * u_unit / u_scale))) return filled * 0.25;
  return picked ? vec3(1.0) : mix(filled, h, 0.6);
#endif
}

// As mitonb/colors.py draws the map of head k, at a value 0..1 and a strength that fades it.
vec3 drawn(vec3 c, int k, float value, float strength, float opacity) {
  float at = clamp(value, 0.0, 1.0) * float(u_ramp[k].y - 1);
  int i = min(int(at), u_ramp[k].y - 2) + u_ramp[k].x;
  vec3 own = mix(u_stops[i], u_stops[i + 1], at - float(i - u_ramp[k].x));
  return mix(c, own, opacity * smoothstep(u_fade[k].x, u_fade[k].y, strength));
}

void main() {
  vec2 p = u_middle + (vec2(gl_FragCoord.x, u_size.y - gl_FragCoord.y) - 0.5 * u_size) / u_scale;
#ifdef WINDOWED
  vec2 spot = p - u_low;
#else
  vec2 spot = p;
#endif
  if (any(lessThan(spot, vec2(0.0))) || any(greaterThanEqual(spot, u_sheet))) { color = vec4(0.0); return; }
  vec3 c = vec3(u_paper);
#if defined(IMAGE) && defined(WINDOWED)
  vec2 seen = p / (vec2(textureSize(u_image, 0)) * u_grain);
  if (all(greaterThanEqual(seen, vec2(0.0))) && all(lessThan(seen, vec2(1.0)))) c = vec3(clamp((texture(u_image, seen).r * 255.0 - u_window.x) / max(u_window.y - u_window.x, 1.0), 0.0, 1.0));
#elif defined(IMAGE)
  c = vec3(clamp((texture(u_image, p / (vec2(textureSize(u_image, 0)) * u_grain)).r * 255.0 - u_window.x) / max(u_window.y - u_window.x, 1.0), 0.0, 1.0));
#endif
${FINE.map((name) => `#ifdef ${name.toUpperCase()}
  float ${name} = texture(u_${name}, spot / u_sheet).r;
  c = drawn(c, ${HEADS.indexOf(name)}, ${name}, ${name}, u_opacity[${HEADS.indexOf(name) + 1}]);
#endif`).join("\n")}
#ifdef OFFSETS
  vec2 o = texture(u_offsets, ((spot - 0.5) / u_step + 0.5) / vec2(textureSize(u_offsets, 0))).gr;
  float inside = 1.0;
#ifdef MASK
  inside = smoothstep(0.25, 0.5, texture(u_semantic, spot / u_sheet).r);
#endif
  c = drawn(c, 2, fract(atan(o.y, o.x) / 6.2831853), length(o), u_opacity[3] * inside);
#endif
#ifdef CENTER
  float heat = texture(u_center, ((spot - 0.5) / u_step + 0.5) / vec2(textureSize(u_center, 0))).r;
  c = drawn(c, 1, heat, heat, u_opacity[2]);
#endif
#ifdef PREVIEW
  uint q = idOf(u_preview, u_preview_at, p);
#endif
#ifdef LABELS
  uint id = idOf(u_labels, u_labels_at, p);
#ifdef PROPOSED
  // An object is shown as what it would become; all others stay as they are.
  if (q != 0u) id = 0u;
#endif
  id = shown(id);
#ifdef DIFFERENCE
  uint then = shown(idOf(u_other, u_labels_at, p));
  if (id != then) c = mix(c, then == 0u ? vec3(0.34, 0.71, 0.91) : id == 0u ? vec3(0.90, 0.62, 0.0) : vec3(0.80, 0.47, 0.65), max(0.6, u_opacity[0]));
  else if (id != 0u && edge(u_labels, u_labels_at, p, id, u_rim * u_unit / u_scale)) c = mix(c, vec3(0.75), 0.6);
#elif defined(CURTAIN)
  if (gl_FragCoord.x < u_curtain) { if (id != 0u) c = labelled(c, u_labels, p, id); }
  else {
    id = shown(idOf(u_other, u_labels_at, p));
    if (id != 0u) c = labelled(c, u_other, p, id);
  }
#else
  if (id != 0u) c = labelled(c, u_labels, p, id);
#endif
#endif
#ifdef PREVIEW
  // Stripes: not a label yet, only what the recipe would give.
  if (q != 0u) {
    float stripe = step(0.5, fract((gl_FragCoord.x + gl_FragCoord.y) / (9.0 * u_unit)));
    vec3 h = hue(q);
    c = mix(c, h, u_shown * mix(0.45, 0.9, stripe));
    if (edge(u_preview, u_preview_at, p, q, 1.25 * u_unit / u_scale)) c = mix(c, mix(h, vec3(1.0), 0.55), 0.9);
  }
#endif
  color = vec4(c, 1.0);
}`;
