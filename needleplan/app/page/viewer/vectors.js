// Vectors of three numbers as plain arrays; the planes need them where there is no WebGL and no three.js.

export const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const plus = (a, b, scale = 1) => [a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const scaled = (a, factor) => [a[0] * factor, a[1] * factor, a[2] * factor];
export const size = (a) => Math.hypot(...a);
export const unit = (a) => scaled(a, 1 / (size(a) || 1));
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
