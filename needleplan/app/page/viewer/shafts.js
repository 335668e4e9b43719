// Needles as shafts: ringed every 10 mm, a cone at the tip, and a ball at each end that can be moved.

import * as THREE from "./three/three.module.js";
import { surfaceMaterial } from "./materials.js";
import { minus, plus, size, unit } from "./vectors.js";

/** How far a shaft is drawn outside the entry, mm. */
export const OUTSIDE_MM = 80;
/** A shaft thinner than this would vanish at the first look, mm. */
const LEAST_RADIUS_MM = 0.9;

/** Outer end of the drawn shaft. */
export function hubOf(needle) {
  return plus(needle.entry, unit(minus(needle.entry, needle.tip)), OUTSIDE_MM);
}

/** The shaft of a needle ({entry, tip, radius_mm, colour, feasible, ghost}, mm seen from the centre). */
export function makeShaft(needle) {
  const hub = hubOf(needle);
  const radius = Math.max(needle.radius_mm, LEAST_RADIUS_MM) * (needle.ghost ? 0.6 : 1);
  const length = size(minus(hub, needle.tip));
  const point = Math.min(4 * radius, length / 2);
  const material = surfaceMaterial({
    color: needle.feasible === false ? "#ff4d6d" : needle.colour,
    pattern: needle.ghost ? "" : "rings",
    transparent: Boolean(needle.ghost),
    opacity: needle.ghost ? 0.55 : 1,
    depthWrite: !needle.ghost,
  });
  const shaft = new THREE.CylinderGeometry(radius, radius, length - point, 20).translate(
    0,
    (length + point) / 2,
    0,
  );
  const cone = new THREE.ConeGeometry(radius, point, 20).rotateX(Math.PI).translate(0, point / 2, 0);
  const group = new THREE.Group();
  group.add(new THREE.Mesh(shaft, material), new THREE.Mesh(cone, material));
  group.quaternion.setFromUnitVectors(
    new THREE.Vector3(0, 1, 0),
    new THREE.Vector3(...unit(minus(hub, needle.tip))),
  );
  group.position.set(...needle.tip);
  if (!needle.ghost) {
    const ball = new THREE.Mesh(new THREE.SphereGeometry(radius * 1.8, 20, 14), material);
    ball.position.set(0, size(minus(needle.entry, needle.tip)), 0);
    group.add(ball);
  }
  return group;
}

/** Frees what makeShaft made. */
export function disposeShaft(group) {
  group.traverse((part) => {
    part.geometry?.dispose();
    part.material?.dispose();
  });
  group.removeFromParent();
}
