// Arrays of the scene: base64 of little-endian bytes, gzipped or not, and points on a grid of steps.

const TYPES = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i16: Int16Array,
  f32: Float32Array,
};

/** The typed array of `packed`; throws when its length is not what its shape says. */
export async function decodeArray(packed) {
  const type = TYPES[packed.dtype];
  if (!type) throw new Error(`an array of the scene has the unknown type ${packed.dtype}`);
  const text = atob(packed.data);
  let bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k += 1) bytes[k] = text.charCodeAt(k);
  if (packed.gzip) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  }
  const count = packed.shape.reduce((product, length) => product * length, 1);
  if (bytes.byteLength !== count * type.BYTES_PER_ELEMENT) {
    throw new Error(
      `an array of the scene holds ${bytes.byteLength} bytes where its shape asks for ` +
        `${count * type.BYTES_PER_ELEMENT}`,
    );
  }
  return new type(bytes.buffer, 0, count);
}

/** Quantised points in mm as a Float32Array, seen from `origin` (any number of components). */
export async function decodePoints(quantised, origin) {
  const steps = await decodeArray(quantised.array);
  const width = quantised.low_mm.length;
  const points = new Float32Array(steps.length);
  for (let k = 0; k < steps.length; k += 1) {
    points[k] = quantised.low_mm[k % width] - origin[k % width] + quantised.step_mm * steps[k];
  }
  return points;
}

/** One loop of a contour as pairs in mm, whether it is written as pairs or quantised. */
export async function decodeLoop(loop) {
  if (Array.isArray(loop)) return loop;
  const flat = await decodePoints(
    loop,
    loop.low_mm.map(() => 0),
  );
  return Array.from({ length: flat.length / 2 }, (_, k) => [flat[2 * k], flat[2 * k + 1]]);
}
