// Surfaces as they look: veils that are denser at their edge, patterns in mm, and breathing in the vertex shader.

import * as THREE from "./three/three.module.js";

const PATTERNS = { "": 0, stripes: 1, dots: 2, rings: 3 };

const VERTEX_HEAD = `
uniform float breathShare;
varying vec3 patternPoint;
attribute vec3 breath;
void main() {`;

// A body that does not breathe has no such attribute, and reads zeros.
const VERTEX_POINT = `#include <begin_vertex>
patternPoint = position;
transformed += breathShare * breath;`;

const FRAGMENT_HEAD = `
uniform int pattern;
uniform bool veiled;
varying vec3 patternPoint;
void main() {`;

// Stripes 9 mm and dots 6 mm apart, rings every 10 mm along y as on a needle's shaft. A veil is denser at its rim.
const FRAGMENT_END = `#include <opaque_fragment>
if (pattern == 1) {
  if (fract((patternPoint.x + patternPoint.y + 1.4 * patternPoint.z) / 9.0) < 0.32) gl_FragColor.rgb *= 0.45;
} else if (pattern == 2) {
  if (length(fract(patternPoint / 6.0) - 0.5) < 0.3) gl_FragColor.rgb *= 0.4;
} else if (pattern == 3) {
  if (fract(patternPoint.y / 10.0) < 0.14) gl_FragColor.rgb *= 0.35;
}
if (veiled) {
  float facing = abs(dot(normalize(normal), normalize(vViewPosition)));
  float rim = 0.42 * smoothstep(0.0, 0.08, opacity) * pow(1.0 - facing, 3.0);
  gl_FragColor.a = min(1.0, opacity * mix(1.5, 0.8, facing) + rim);
}`;

/**
 * Material of a surface; `options` are those of MeshPhongMaterial. Pattern and veil are uniforms, so that few
 * programs are compiled, which is what opening a page waits for.
 */
export function surfaceMaterial({ pattern = "", breathShare = { value: 0 }, ...options }) {
  const material = new THREE.MeshPhongMaterial({ specular: 0x2a2a2a, shininess: 28, ...options });
  material.onBeforeCompile = (shader) => {
    shader.uniforms.breathShare = breathShare;
    shader.uniforms.pattern = { value: PATTERNS[pattern] ?? 0 };
    shader.uniforms.veiled = { value: Boolean(options.transparent) };
    shader.vertexShader = shader.vertexShader
      .replace("void main() {", VERTEX_HEAD)
      .replace("#include <begin_vertex>", VERTEX_POINT);
    shader.fragmentShader = shader.fragmentShader
      .replace("void main() {", FRAGMENT_HEAD)
      .replace("#include <opaque_fragment>", FRAGMENT_END);
  };
  return material;
}
