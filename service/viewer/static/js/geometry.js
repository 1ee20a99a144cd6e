/** Transforms of world coordinates: 4 x 4, row by row, mm to mm, RAS+. */

export const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/** Read a transform's text: four rows of four numbers. */
export function parseTransform(text) {
  const numbers = text.trim().split(/\s+/).map(Number);
  if (numbers.length !== 16 || numbers.some(Number.isNaN)) throw new Error("A transform is damaged.");
  return numbers;
}

/** First `right`, then `left`. */
export function compose(left, right) {
  return left.map((_, index) => {
    const row = 4 * Math.floor(index / 4);
    const column = index % 4;
    return [0, 1, 2, 3].reduce((sum, k) => sum + left[row + k] * right[4 * k + column], 0);
  });
}

/** Carry a point. */
export function apply(transform, point) {
  return [0, 4, 8].map(
    (row) =>
      transform[row] * point[0] + transform[row + 1] * point[1] + transform[row + 2] * point[2] + transform[row + 3],
  );
}

/** The way back. */
export function invert(transform) {
  const [a, b, c, x, d, e, f, y, g, h, i, z] = transform;
  const cofactors = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d];
  const determinant = a * cofactors[0] + b * cofactors[3] + c * cofactors[6];
  const m = cofactors.map((value) => value / determinant);
  const shift = [0, 3, 6].map((row) => -(m[row] * x + m[row + 1] * y + m[row + 2] * z));
  return [...m.slice(0, 3), shift[0], ...m.slice(3, 6), shift[1], ...m.slice(6, 9), shift[2], 0, 0, 0, 1];
}
