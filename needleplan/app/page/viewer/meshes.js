// One body as three.js objects: one mesh where it is opaque, its backs and its fronts where it is a veil.

import * as THREE from "./three/three.module.js";
import { surfaceMaterial } from "./materials.js";

const OPAQUE_FROM = 0.98;

function geometryOf({ points, faces, colours, breath }) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(points, 3));
  geometry.setIndex(new THREE.BufferAttribute(faces.BYTES_PER_ELEMENT < 2 ? Uint16Array.from(faces) : faces, 1));
  geometry.computeVertexNormals();
  geometry.computeBoundingBox();
  if (breath) geometry.setAttribute("breath", new THREE.BufferAttribute(breath, 3));
  if (colours) {
    const colour = new THREE.Color();
    const linear = new Float32Array(colours.length);
    for (let k = 0; k < colours.length; k += 3) {
      colour.setRGB(colours[k] / 255, colours[k + 1] / 255, colours[k + 2] / 255, THREE.SRGBColorSpace);
      colour.toArray(linear, k);
    }
    geometry.setAttribute("color", new THREE.BufferAttribute(linear, 3));
  }
  return geometry;
}

/** What is drawn of a body; `breathShare` is the uniform that all bodies share. */
export class DrawnBody {
  constructor(body, breathShare) {
    this.geometry = geometryOf(body.arrays);
    const { pattern } = body;
    const { colour } = body.source;
    const { colours } = body.arrays;
    const material = (side, veiled) =>
      surfaceMaterial({
        color: colours ? "#ffffff" : colour,
        vertexColors: Boolean(colours),
        pattern,
        breathShare,
        side,
        transparent: veiled,
        depthWrite: !veiled,
      });
    this.solid = new THREE.Mesh(this.geometry, material(THREE.DoubleSide, false));
    this.backs = new THREE.Mesh(this.geometry, material(THREE.BackSide, true));
    this.fronts = new THREE.Mesh(this.geometry, material(THREE.FrontSide, true));
    this.group = new THREE.Group();
    this.group.add(this.solid, this.backs, this.fronts);
    // A breath moves points out of the box that would be tested, so nothing is culled.
    for (const mesh of this.group.children) mesh.frustumCulled = false;
  }

  /** Takes over visibility and opacity. */
  update(visible, opacity) {
    const opaque = opacity >= OPAQUE_FROM;
    this.group.visible = visible && opacity > 0;
    this.solid.visible = opaque;
    this.veiled = !opaque;
    this.backs.visible = this.veiled;
    this.fronts.visible = !opaque;
    this.backs.material.opacity = opacity;
    this.fronts.material.opacity = opacity;
  }

  /**
   * Orders veils for an eye in direction `toward`: backs by the body's far end, fronts by its near end. Of nested
   * bodies the outer one's back comes first and its front last, of bodies apart the farther one comes first.
   */
  order(toward) {
    const { min, max } = this.geometry.boundingBox;
    let near = 0;
    let far = 0;
    for (const [k, axis] of ["x", "y", "z"].entries()) {
      const ends = [toward[k] * min[axis], toward[k] * max[axis]];
      near += Math.max(...ends);
      far += Math.min(...ends);
    }
    this.backs.renderOrder = far;
    this.fronts.renderOrder = near;
  }

  /** Leaves the backs of a veil out while the scene moves on a slow computer. */
  coarsen(coarse) {
    this.backs.visible = this.veiled && !coarse;
  }

  dispose() {
    this.geometry.dispose();
    for (const mesh of this.group.children) mesh.material.dispose();
    this.group.removeFromParent();
  }
}
