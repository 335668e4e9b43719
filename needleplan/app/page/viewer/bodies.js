// Bodies of the scene as meshes: shown or hidden, opaque or veiled, moved by breathing, chosen by growth.

import { decodeArray, decodePoints } from "./decode.js";

/** Zone and margin differ from all else by more than their colour. */
const GROUP_PATTERNS = { zones: "stripes", margin: "dots" };

/** What a body is before and without any drawing: kept for the list, the planes and state(). */
export class Body {
  constructor(source, kept) {
    if (!/^#[0-9a-f]{6}$/i.test(source.colour)) {
      throw new Error(`body ${source.id} has the colour ${source.colour}, which is not written as #rrggbb`);
    }
    this.source = source;
    this.id = source.id;
    this.name = source.name;
    this.group = source.group;
    this.pattern = source.pattern ?? (source.colours ? "" : (GROUP_PATTERNS[source.group] ?? ""));
    this.moment = source.moment ?? null;
    this.shown = kept ? kept.shown : source.shown !== false;
    this.opacity = kept ? kept.opacity : source.opacity;
    this.triangles = source.faces.shape[0];
    this.arrays = null;
    this.drawn = null;
  }

  /** Unpacks the arrays; points are seen from `centre`. */
  async unpack(centre) {
    const { points, faces, colours, breath } = this.source;
    const [place, corners, paint, moved] = await Promise.all([
      decodePoints(points, centre),
      decodeArray(faces),
      colours ? decodeArray(colours) : null,
      breath ? decodeArray(breath) : null,
    ]);
    const count = place.length / 3;
    for (let k = 0; k < corners.length; k += 1) {
      if (corners[k] >= count) throw new Error(`a triangle of body ${this.id} names a point that is not there`);
    }
    if ((paint && paint.length !== place.length) || (moved && moved.length !== place.length)) {
      throw new Error(`body ${this.id} has colours or breathing for another number of points than it has`);
    }
    this.arrays = { points: place, faces: corners, colours: paint, breath: null };
    if (moved) this.arrays.breath = Float32Array.from(moved, (value) => value * this.source.breath_step_mm);
  }

  /** Whether it is to be seen while growth moment `moment` is chosen. */
  visibleAt(moment) {
    return this.shown && (this.moment === null || this.moment === moment);
  }

  /** Mean of the points at this share of the breath, mm seen from the centre. */
  centre(share) {
    const sum = [0, 0, 0];
    const { points, breath } = this.arrays;
    for (let k = 0; k < points.length; k += 1) sum[k % 3] += points[k] + (breath ? share * breath[k] : 0);
    return sum.map((value) => (3 * value) / points.length);
  }
}
