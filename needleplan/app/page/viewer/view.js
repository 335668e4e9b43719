// Where the eye is: a turntable about the patient's long axis, never upside down.

import { clamp, cross, dot, minus, plus, scaled, size, unit } from "./vectors.js";

const HALF_TURN = Math.PI / 2;
/** Vertical opening of the camera, degrees. */
export const OPENING_DEG = 26;

/** Target, azimuth, elevation and distance of the eye; lengths in mm seen from the scene's centre. */
export class View {
  constructor(scene) {
    this.axes = scene.axes;
    this.pole = unit(scene.up);
    const anterior = scaled(scene.axes.posterior, -1);
    const flat = plus(anterior, this.pole, -dot(anterior, this.pole));
    this.front = unit(dot(flat, flat) > 1e-6 ? flat : scene.axes.left);
    this.side = cross(this.pole, this.front);
    // The places on the skin where needles enter belong to the first look.
    const entries = scene.needles.map((needle) => 1.08 * size(minus(needle.entry_mm, scene.centre_mm)));
    this.radius = Math.max(scene.radius_mm, ...entries);
    this.first = scene.toward;
    this.reset();
  }

  /** Back to the first direction, target and distance. */
  reset() {
    this.target = [0, 0, 0];
    this.lookFrom(this.first);
    this.distance = this.farEnough(this.radius);
  }

  /** The distance from which a ball of this radius fits into the picture. */
  farEnough(radius, aspect = 1) {
    const half = (OPENING_DEG / 2) * (Math.PI / 180);
    return (1.02 * radius) / Math.sin(Math.min(half, Math.atan(Math.tan(half) * aspect)));
  }

  /** Turns the eye so that it stands in `direction` of the target; at a pole `above` points up in the picture. */
  lookFrom(direction, above = null) {
    const d = unit(direction);
    this.elevation = Math.asin(clamp(dot(d, this.pole), -1, 1));
    let flat = d;
    if (above && Math.abs(dot(d, this.pole)) > 0.999) flat = scaled(above, -Math.sign(dot(d, this.pole)));
    this.azimuth = Math.atan2(dot(flat, this.side), dot(flat, this.front));
  }

  /** Turns by angles in radians. */
  turn(azimuth, elevation) {
    this.azimuth += azimuth;
    this.elevation = clamp(this.elevation + elevation, -HALF_TURN, HALF_TURN);
  }

  /** Moves the target by mm to the right and up in the picture. */
  pan(right, up) {
    const frame = this.frame();
    this.target = plus(plus(this.target, frame.right, right), frame.up, up);
  }

  /** Multiplies the distance. */
  zoom(factor) {
    this.distance = clamp(this.distance * factor, 0.15 * this.radius, 12 * this.radius);
  }

  /** Unit vectors from the target to the eye, up and to the right in the picture, and the eye's place. */
  frame() {
    const flat = plus(scaled(this.front, Math.cos(this.azimuth)), this.side, Math.sin(this.azimuth));
    const toward = plus(scaled(flat, Math.cos(this.elevation)), this.pole, Math.sin(this.elevation));
    const up = plus(scaled(flat, -Math.sin(this.elevation)), this.pole, Math.cos(this.elevation));
    return { toward, up, right: cross(up, toward), eye: plus(this.target, toward, this.distance) };
  }

  /** Takes a named view; false where the name is unknown. `needles` are seen from the scene's centre. */
  look(name, needles) {
    const { left, posterior, superior } = this.axes;
    const anterior = scaled(posterior, -1);
    const named = {
      front: [anterior],
      back: [posterior],
      left: [left],
      right: [scaled(left, -1)],
      above: [superior, anterior],
      below: [scaled(superior, -1), anterior],
    };
    if (name === "reset") this.reset();
    else if (named[name]) {
      this.target = [0, 0, 0];
      this.lookFrom(...named[name]);
    } else {
      const needle = needles.get(name.replace(/^needle /, ""));
      if (!needle) return false;
      this.target = needle.tip;
      this.lookFrom(minus(needle.entry, needle.tip), anterior);
    }
    return true;
  }

  /** Plain numbers for whoever looks from outside. */
  state() {
    const { toward, up } = this.frame();
    return {
      azimuth_deg: (this.azimuth * 180) / Math.PI,
      elevation_deg: (this.elevation * 180) / Math.PI,
      distance_mm: this.distance,
      target_mm: this.target,
      toward,
      up,
    };
  }
}
