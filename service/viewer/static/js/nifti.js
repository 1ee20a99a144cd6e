/** As much of NIfTI-1 as our own results need: little-endian, one volume, an sform. */

import { apply, compose } from "./geometry.js";

const DATA_TYPES = { 2: Uint8Array, 4: Int16Array, 8: Int32Array, 16: Float32Array };
const FLOAT32 = 16;
const SCANNER = 1;
const AT = { dim: 40, datatype: 70, bitpix: 72, offset: 108, qformCode: 252, sformCode: 254, sform: 280 };

/** Inflate a file, if it is compressed. */
export async function inflate(buffer) {
  const magic = new Uint8Array(buffer, 0, 2);
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return buffer;
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** The voxels of an inflated file, first axis fastest; a view, not a copy. */
export function voxels(buffer) {
  const header = new DataView(buffer);
  const kind = DATA_TYPES[header.getInt16(AT.datatype, true)];
  return new kind(buffer, header.getFloat32(AT.offset, true), shapeOf(buffer).reduce((a, b) => a * b));
}

/** Voxels along each axis. */
export function shapeOf(buffer) {
  const header = new DataView(buffer);
  return [1, 2, 3].map((axis) => header.getInt16(AT.dim + 2 * axis, true));
}

/** Voxel index to world mm. */
export function affineOf(buffer) {
  const header = new DataView(buffer);
  const rows = Array.from({ length: 12 }, (_, k) => header.getFloat32(AT.sform + 4 * k, true));
  return [...rows, 0, 0, 0, 1];
}

/** A copy that lies elsewhere: its world mm carried by a transform. */
export function moved(buffer, transform) {
  const copy = buffer.slice(0);
  const header = new DataView(copy);
  compose(transform, affineOf(buffer)).slice(0, 12).forEach((value, k) => {
    header.setFloat32(AT.sform + 4 * k, value, true);
  });
  // A transform may shear, which a qform cannot say.
  header.setInt16(AT.qformCode, 0, true);
  header.setInt16(AT.sformCode, SCANNER, true);
  return copy;
}

/** Numerator over denominator, voxel by voxel, zero where nothing divides: float32 on their grid. */
export function ratio(numerator, denominator) {
  const above = voxels(numerator);
  const below = voxels(denominator);
  const offset = new DataView(numerator).getFloat32(AT.offset, true);
  const made = new ArrayBuffer(offset + 4 * above.length);
  new Uint8Array(made).set(new Uint8Array(numerator, 0, offset));
  const header = new DataView(made);
  header.setInt16(AT.datatype, FLOAT32, true);
  header.setInt16(AT.bitpix, 32, true);
  const values = new Float32Array(made, offset);
  for (let k = 0; k < above.length; k += 1) values[k] = below[k] ? above[k] / below[k] : 0;
  return made;
}

/** The middle, in world mm, of the voxel of a value that is nearest to a point; none: null. */
export function nearestVoxel(buffer, value, point) {
  const values = voxels(buffer);
  const affine = affineOf(buffer);
  const [ni, nj] = shapeOf(buffer);
  let found = null;
  let least = Infinity;
  for (let at = values.indexOf(value); at >= 0; at = values.indexOf(value, at + 1)) {
    const place = apply(affine, [at % ni, Math.floor(at / ni) % nj, Math.floor(at / (ni * nj))]);
    const distance = place.reduce((sum, mm, axis) => sum + (mm - point[axis]) ** 2, 0);
    if (distance < least) [found, least] = [place, distance];
  }
  return found;
}
