// The picture in three dimensions: drawn when something changed, never in an endless loop.

import * as THREE from "./three/three.module.js";
import { DrawnBody } from "./meshes.js";
import { disposeShaft, makeShaft } from "./shafts.js";
import { OPENING_DEG } from "./view.js";
import { dot, minus } from "./vectors.js";

const BACKGROUND = "#14171c";
/** While the scene turns and a picture takes longer than this, it is drawn with half as many points a side, ms. */
const SLOW_MS = 70;
/** The page itself is painted before its first full picture, ms. */
const FULL_AFTER_MS = 150;

/** Renderer, camera, light and meshes. */
export class Stage {
  /** The canvas's drawing context; null where the browser gives no WebGL. */
  static contextOf(canvas) {
    // Kept after drawing, so that the page can be printed as it was last seen.
    return canvas.getContext("webgl2", {
      antialias: !(window.devicePixelRatio >= 2),
      preserveDrawingBuffer: true,
    });
  }

  constructor(canvas, context, view, afterDraw) {
    this.renderer = new THREE.WebGLRenderer({ canvas, context });
    this.canvas = canvas;
    this.view = view;
    this.afterDraw = afterDraw;
    this.breathShare = { value: 0 };
    this.world = new THREE.Scene();
    this.world.background = new THREE.Color(BACKGROUND);
    this.camera = new THREE.PerspectiveCamera(OPENING_DEG, 1, 1, 1000);
    this.lamp = new THREE.DirectionalLight("#fff6ea", 2.1);
    this.world.add(new THREE.HemisphereLight("#dfe9ff", "#6b5f5a", 1.5), this.lamp, this.lamp.target);
    this.drawnBodies = new Map();
    this.shafts = new Map();
    this.frames = 0;
    this.drawnAt = 0;
    this.lastMs = 0;
    this.coarse = false;
    this.pending = 0;
    // Nothing is drawn before begin(), so that opening a page costs one picture.
    this.waiting = true;
    this.size = [1, 1];
  }

  /** Width and height of the picture in CSS pixels. */
  resize(width, height) {
    if (this.size[0] === width && this.size[1] === height) return;
    this.size = [Math.max(1, width), Math.max(1, height)];
    this.sharpen();
  }

  sharpen() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2) * (this.coarse ? 0.5 : 1);
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(...this.size, false);
    this.camera.aspect = this.size[0] / this.size[1];
    this.invalidate();
  }

  /** While the scene moves a slow computer draws coarsely; once it rests the picture is drawn in full. */
  moving(active) {
    const coarse = active && (this.coarse || this.lastMs > SLOW_MS);
    if (coarse === this.coarse) return;
    this.coarse = coarse;
    this.sharpen();
  }

  setBody(body, visible) {
    this.removeBody(body.id);
    const drawn = new DrawnBody(body, this.breathShare);
    this.drawnBodies.set(body.id, drawn);
    this.world.add(drawn.group);
    this.updateBody(body, visible);
  }

  updateBody(body, visible) {
    this.drawnBodies.get(body.id)?.update(visible, body.opacity);
    this.invalidate();
  }

  removeBody(id) {
    this.drawnBodies.get(id)?.dispose();
    this.drawnBodies.delete(id);
    this.invalidate();
  }

  setNeedle(needle) {
    this.removeNeedle(needle.key);
    const shaft = makeShaft(needle);
    shaft.visible = needle.shown;
    this.shafts.set(needle.key, shaft);
    this.world.add(shaft);
    this.invalidate();
  }

  removeNeedle(key) {
    const shaft = this.shafts.get(key);
    if (shaft) disposeShaft(shaft);
    this.shafts.delete(key);
    this.invalidate();
  }

  /** Asks for a new picture before the next one is shown. */
  invalidate() {
    if (!this.pending && !this.waiting) this.pending = requestAnimationFrame(() => this.draw());
  }

  /** Draws the first picture, coarsely, and a full one soon after; from here on each change brings a new one. */
  begin() {
    this.waiting = false;
    this.coarse = true;
    this.sharpen();
    this.draw();
    this.fuller = setTimeout(() => this.moving(false), FULL_AFTER_MS);
  }

  draw() {
    cancelAnimationFrame(this.pending);
    this.pending = 0;
    // The computer draws while this code goes on, so only the time between two pictures tells how slow it is.
    const now = performance.now();
    this.lastMs = now - this.drawnAt < 1000 ? now - this.drawnAt : 0;
    this.drawnAt = now;
    const { toward, up, right, eye } = this.view.frame();
    const box = new THREE.Box3();
    for (const drawn of this.drawnBodies.values()) {
      drawn.order(toward);
      drawn.coarsen(this.coarse);
      if (drawn.group.visible) box.union(drawn.geometry.boundingBox);
    }
    const depth = this.view.distance;
    const extent = box.isEmpty() ? 2 * this.view.radius : box.getSize(new THREE.Vector3()).length();
    this.camera.near = Math.max(1, depth - extent - 150);
    this.camera.far = depth + extent + 150;
    this.camera.up.set(...up);
    this.camera.position.set(...eye);
    this.camera.lookAt(...this.view.target);
    this.camera.updateProjectionMatrix();
    this.camera.updateMatrixWorld();
    this.lamp.position
      .set(...eye)
      .addScaledVector(new THREE.Vector3(...up), 0.45 * depth)
      .addScaledVector(new THREE.Vector3(...right), 0.35 * depth);
    this.lamp.target.position.set(...this.view.target);
    this.renderer.render(this.world, this.camera);
    this.frames += 1;
    this.afterDraw();
  }

  /** Where a point (seen from the centre) falls in the picture, CSS pixels, and whether it lies before the eye. */
  project(point) {
    const placed = new THREE.Vector3(...point).project(this.camera);
    const { eye, toward } = this.view.frame();
    return {
      x: ((placed.x + 1) / 2) * this.size[0],
      y: ((1 - placed.y) / 2) * this.size[1],
      ahead: dot(minus(eye, point), toward) > 0,
    };
  }

  /** Millimetres that one CSS pixel is wide at the depth of a point. */
  mmPerPixel(point = this.view.target) {
    const { eye, toward } = this.view.frame();
    const depth = dot(minus(eye, point), toward);
    return (2 * depth * Math.tan((OPENING_DEG * Math.PI) / 360)) / this.size[1];
  }

  dispose() {
    clearTimeout(this.fuller);
    cancelAnimationFrame(this.pending);
    for (const id of [...this.drawnBodies.keys()]) this.removeBody(id);
    for (const key of [...this.shafts.keys()]) this.removeNeedle(key);
    cancelAnimationFrame(this.pending);
    this.renderer.dispose();
  }
}
