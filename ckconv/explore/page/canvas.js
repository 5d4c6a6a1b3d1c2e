// Drawing: colours, crisp canvases, images of kernels, axes of curves.

const SIGNED = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582",
  "d6604d", "b2182b", "67001f"];
const POSITIVE = ["000004", "1c1044", "4f127b", "812581", "b5367a", "e55964", "fb8861", "fec287",
  "fcfdbf"];

function scaleOf(stops) {
  const colours = stops.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
    const left = Math.min(Math.floor(place), colours.length - 2);
    return colours[left].map((c, k) => c + (place - left) * (colours[left + 1][k] - c));
  };
}

const signed = scaleOf(SIGNED);
const positive = scaleOf(POSITIVE);

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A canvas of this height, as many pixels as the screen shows, and its context in CSS pixels.
function prepared(canvas, height) {
  const width = canvas.clientWidth || parseInt(canvas.style.width, 10) || 56;
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * dense);
  canvas.height = Math.round(height * dense);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(dense, dense);
  context.font = "11px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
  return { context, width, height };
}

// An image of numbers, (rows, columns), in a box; smooth or in squares.
function image(context, values, rows, columns, box, shade, smooth) {
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const pixels = small.getContext("2d");
  const data = pixels.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const [r, g, b] = shade(values[i]);
    data.data.set([r, g, b, 255], 4 * i);
  }
  pixels.putImageData(data, 0, 0);
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, box.x, box.y, box.width, box.height);
}

// The largest box of the ratio rows : columns in the middle of a canvas, with a margin.
function fitted(width, height, rows, columns, margin) {
  const scale = Math.min((width - 2 * margin.x) / columns, (height - margin.y - 6) / rows);
  const box = { width: columns * scale, height: rows * scale };
  return { ...box, x: (width - box.width) / 2, y: 4 + (height - margin.y - 6 - box.height) / 2 };
}

function niceStep(span, count) {
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

function ticks(low, high, count) {
  const step = niceStep(high - low || 1, count);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9 * step; t += step) {
    found.push(Math.abs(t) < 1e-9 * step ? 0 : t);
  }
  return found;
}

function numberText(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 10000)) return value.toExponential(0).replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

// Axes of a plot; returns what maps values to places.
function plot(drawing, xRange, yRange, labels) {
  const { context, width, height } = drawing;
  const box = { left: 48, right: width - 12, top: 10, bottom: height - 34 };
  const x = (v) => box.left + ((v - xRange[0]) / (xRange[1] - xRange[0])) * (box.right - box.left);
  const y = (v) => box.bottom - ((v - yRange[0]) / (yRange[1] - yRange[0])) * (box.bottom - box.top);
  context.strokeStyle = colour("line");
  context.fillStyle = colour("muted");
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const t of ticks(...xRange, Math.max(3, Math.floor((box.right - box.left) / 80)))) {
    line(context, [[x(t), box.top], [x(t), box.bottom]]);
    context.fillText(numberText(t), x(t), box.bottom + 5);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const t of ticks(...yRange, 4)) {
    line(context, [[box.left, y(t)], [box.right, y(t)]]);
    context.fillText(numberText(t), box.left - 6, y(t));
  }
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillText(labels.x, (box.left + box.right) / 2, height - 1);
  return { x, y, box };
}

function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

// Words beside a vertical line, on a ground of their own so that nothing crosses them.
function tag(context, text, x, y, ink, box) {
  const width = context.measureText(text).width;
  const left = x + 6 + width > box.right ? x - 6 - width : x + 6;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = colour("paper");
  context.globalAlpha = 0.85;
  context.fillRect(left - 3, y - 8, width + 6, 16);
  context.globalAlpha = 1;
  context.fillStyle = ink;
  context.fillText(text, left, y);
}
