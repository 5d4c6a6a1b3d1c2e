// What the page holds: a network's layers, their kernels as functions on a fine grid.

const DATA = JSON.parse(document.getElementById("data").textContent);

function unpacked(packed) {
  const bytes = atob(packed.values);
  const values = new Float32Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    const whole = bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8);
    values[i] = packed.scale * (whole > 32767 ? whole - 65536 : whole);
  }
  return values;
}

const CACHE = new Map();

function once(key, make) {
  if (!CACHE.has(key)) CACHE.set(key, make());
  return CACHE.get(key);
}

// The mask along each shown axis, on its fine grid; ones where there is none.
function profiles(layer) {
  return once(`mask ${layer.name}`, () =>
    layer.axes.map((axis, d) =>
      layer.mask ? unpacked(layer.mask.profiles[d]) : new Float32Array(axis.count).fill(1)));
}

// A kernel on the fine grid, rows behind each other: with the mask, or the generator alone.
function kernelValues(layer, index, masked) {
  return once(`${layer.name} ${index} ${masked}`, () => {
    const values = unpacked(layer.kernels[index]);
    if (!masked || !layer.mask) return values;
    const parts = profiles(layer);
    const columns = parts[parts.length - 1];
    return values.map((value, i) => {
      const row = parts.length > 1 ? parts[0][Math.floor(i / columns.length)] : 1;
      return value * row * columns[i % columns.length] * layer.mask.slice;
    });
  });
}

function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
}

// The scale that all kernels of a layer share.
function layerLimit(layer, masked) {
  return once(`limit ${layer.name} ${masked}`, () =>
    Math.max(...layer.kernels.map((_, i) => largest(kernelValues(layer, i, masked)))));
}

// Weights of the four fine samples around a position: Catmull and Rom's, exact on the grid.
function around(axis, position) {
  const step = (axis.last - axis.first) / (axis.count - 1);
  const place = Math.min(Math.max((position - axis.first) / step, 0), axis.count - 1);
  const left = Math.min(Math.floor(place + 1e-4), axis.count - 1);
  const t = Math.max(place - left, 0);
  const weights = t < 1e-3 ? [0, 1, 0, 0] : [
    -0.5 * t + t * t - 0.5 * t ** 3, 1 - 2.5 * t * t + 1.5 * t ** 3,
    0.5 * t + 2 * t * t - 1.5 * t ** 3, -0.5 * t * t + 0.5 * t ** 3];
  const clamped = (i) => Math.min(Math.max(i, 0), axis.count - 1);
  return weights.map((weight, k) => [clamped(left + k - 1), weight]);
}

// A kernel's value at a position, one number per shown axis.
function valueAt(layer, values, position) {
  const columns = layer.axes[layer.axes.length - 1];
  const across = around(columns, position[position.length - 1]);
  if (layer.axes.length === 1) return across.reduce((sum, [i, w]) => sum + w * values[i], 0);
  let sum = 0;
  for (const [row, weight] of around(layer.axes[0], position[0])) {
    if (!weight) continue;
    for (const [i, w] of across) sum += weight * w * values[row * columns.count + i];
  }
  return sum;
}

// Where a resolution's samples lie along a shown axis, those in use alone.
function samplePositions(layer, resolution, axis) {
  const d = axis + resolution.size.length - layer.axes.length;
  const n = resolution.size[d];
  const [start, stop] = resolution.crop[d];
  const positions = [];
  for (let i = start; i < stop; i++) positions.push(n > 1 ? -1 + (2 * i) / (n - 1) : 0);
  return positions;
}

function usedSize(resolution) {
  return resolution.crop.map(([start, stop]) => stop - start);
}

function sizeText(size) {
  return size.join("×");
}

function ratioText(ratio) {
  return { 0.25: "¼", 0.5: "½" }[ratio] || String(ratio);
}
