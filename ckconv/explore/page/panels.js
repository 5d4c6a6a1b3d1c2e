// The panels: the function, its samples, the mask, a cut through them, the spectrum.

const HEIGHT = 300;
const DOTS = 700; // samples that are drawn as points on an image
const MARGIN = { x: 30, y: 34 };

function caption(panel, bold, text) {
  const place = document.querySelector(`#${panel} figcaption`);
  const head = document.createElement("b");
  head.textContent = bold;
  place.replaceChildren(head, ` ${text}`);
}

function extent(axis) {
  return axis.last - axis.first;
}

// Maps positions to places in a box over both shown axes.
function placing(layer, box) {
  const [rows, columns] = layer.axes;
  return {
    x: (p) => box.x + ((p - columns.first) / extent(columns)) * box.width,
    y: (p) => box.y + ((p - rows.first) / extent(rows)) * box.height,
    row: (y) => rows.first + ((y - box.y) / box.height) * extent(rows),
  };
}

function functionImage(layer, values, limit, state) {
  const drawing = prepared(document.getElementById("function"), HEIGHT);
  const { context, width, height } = drawing;
  const [rows, columns] = layer.axes;
  const box = fitted(width, height, extent(rows), extent(columns), MARGIN);
  image(context, values, rows.count, columns.count, box, (v) => signed(0.5 + v / limit / 2), true);
  const place = placing(layer, box);
  const resolution = layer.resolutions[state.resolution];
  if (state.samples) drawDots(context, layer, values, limit, resolution, place);
  context.strokeStyle = colour("kernel");
  context.setLineDash([4, 3]);
  line(context, [[box.x, place.y(state.row)], [box.x + box.width, place.y(state.row)]]);
  context.setLineDash([]);
  colourBar(context, width, height, limit, signed);
  return place;
}

function drawDots(context, layer, values, limit, resolution, place) {
  const [rows, columns] = [0, 1].map((axis) => samplePositions(layer, resolution, axis));
  if (rows.length * columns.length > DOTS) return;
  context.lineWidth = 0.8;
  context.strokeStyle = "rgba(40, 40, 40, 0.75)";
  for (const r of rows) {
    for (const c of columns) {
      const [red, green, blue] = signed(0.5 + valueAt(layer, values, [r, c]) / limit / 2);
      context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
      context.beginPath();
      context.arc(place.x(c), place.y(r), 2.6, 0, 7);
      context.fill();
      context.stroke();
    }
  }
}

function colourBar(context, width, height, limit, shade) {
  const bar = { x: width / 2 - 70, y: height - 24, width: 140, height: 7 };
  const shares = Array.from({ length: 64 }, (_, i) => i / 63);
  image(context, shares, 1, 64, bar, shade, true);
  context.fillStyle = colour("muted");
  context.textBaseline = "middle";
  const ends = shade === signed ? [-limit, limit] : [0, limit];
  ["right", "left"].forEach((side, i) => {
    context.textAlign = side;
    context.fillText(numberText(ends[i]), i ? bar.x + bar.width + 6 : bar.x - 6, bar.y + 4);
  });
}

function sampledImage(layer, values, limit, state) {
  const resolution = layer.resolutions[state.resolution];
  const [rows, columns] = [0, 1].map((axis) => samplePositions(layer, resolution, axis));
  const sampled = rows.flatMap((r) => columns.map((c) => valueAt(layer, values, [r, c])));
  const { context, width, height } = prepared(document.getElementById("sampled"), HEIGHT);
  const box = fitted(width, height, rows.length, columns.length, MARGIN);
  const shade = (v) => signed(0.5 + v / limit / 2);
  image(context, sampled, rows.length, columns.length, box, shade, false);
  colourBar(context, width, height, limit, signed);
}

function maskImage(layer) {
  const { context, width, height } = prepared(document.getElementById("mask"), HEIGHT);
  const [rows, columns] = profiles(layer);
  const values = Array.from(rows).flatMap((r) => Array.from(columns, (c) => r * c));
  const box = fitted(width, height, extent(layer.axes[0]), extent(layer.axes[1]), MARGIN);
  image(context, values, rows.length, columns.length, box, positive, true);
  const place = placing(layer, box);
  const own = layer.resolutions.find((one) => one.ratio === 1);
  const [r, c] = [0, 1].map((axis) => samplePositions(layer, own, axis));
  const half = [0, 1].map((axis) => 1 / (own.size[axis + own.size.length - 2] - 1 || 1));
  const [left, right] = [c[0] - half[1], c[c.length - 1] + half[1]].map(place.x);
  const [top, bottom] = [r[0] - half[0], r[r.length - 1] + half[0]].map(place.y);
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width, box.height);
  context.clip();
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.2;
  context.strokeRect(left, top, right - left, bottom - top);
  context.restore();
  colourBar(context, width, height, 1, positive);
}

// The kernel along its last axis, through a row of it where it has two, with mask and samples.
function cut(layer, values, limit, state) {
  const drawing = prepared(document.getElementById("cut"), layer.axes.length > 1 ? 250 : 330);
  const axis = layer.axes[layer.axes.length - 1];
  const at = (p) => (layer.axes.length > 1 ? [state.row, p] : [p]);
  const { context } = drawing;
  const { x, y } = plot(drawing, [axis.first, axis.last], [-1.08 * limit, 1.08 * limit],
    { x: layer.causal === null ? "position" : "position; the latest sample lies at 1" });
  const count = Math.max(axis.count, 500);
  const fine = Array.from({ length: count }, (_, i) => axis.first + (extent(axis) * i) / (count - 1));
  if (layer.mask && state.masked) {
    const profile = profiles(layer)[layer.axes.length - 1];
    const places = Array.from(profile, (_, i) =>
      x(axis.first + (extent(axis) * i) / (axis.count - 1)));
    context.fillStyle = colour("mask");
    context.beginPath();
    places.forEach((place, i) => context.lineTo(place, y(limit * profile[i])));
    for (let i = places.length - 1; i >= 0; i--) context.lineTo(places[i], y(-limit * profile[i]));
    context.fill();
  }
  context.strokeStyle = colour("kernel");
  context.lineWidth = 1.6;
  line(context, fine.map((p) => [x(p), y(valueAt(layer, values, at(p)))]));
  if (!state.samples) return;
  const positions = samplePositions(layer, layer.resolutions[state.resolution], layer.axes.length - 1);
  context.fillStyle = colour("sample");
  context.strokeStyle = colour("paper");
  context.lineWidth = 1;
  const radius = Math.min(3.6, Math.max(1.2, 300 / positions.length));
  for (const p of positions) {
    context.beginPath();
    context.arc(x(p), y(valueAt(layer, values, at(p))), radius, 0, 7);
    context.fill();
    if (radius > 2) context.stroke();
  }
}

function spectrum(layer, kernel, state) {
  const drawing = prepared(document.getElementById("spectrum"), layer.axes.length > 1 ? 250 : 330);
  const { context } = drawing;
  const levels = unpacked(kernel.spectrum);
  const resolution = layer.resolutions[state.resolution];
  const nyquist = (Math.min(...resolution.size) - 1) / 4;
  const end = Math.min(Math.max(2.2 * nyquist, 1), layer.spectrumEnd);
  const { x, y, box } = plot(drawing, [0, end], [DATA.floor, 4], { x: "cycles per unit" });
  context.beginPath();
  context.moveTo(x(0), y(DATA.floor));
  levels.forEach((level, i) => {
    context.lineTo(x(Math.min(i * kernel.spectrum.step, end)), y(level));
    context.lineTo(x(Math.min((i + 1) * kernel.spectrum.step, end)), y(level));
  });
  context.lineTo(x(Math.min(levels.length * kernel.spectrum.step, end)), y(DATA.floor));
  context.fillStyle = colour("kernel");
  context.globalAlpha = 0.25;
  context.fill();
  context.globalAlpha = 1;
  const marks = [["Nyquist", nyquist, colour("nyquist"), 22]];
  if (layer.bound !== null) marks.push(["bound", layer.bound, colour("bound"), 44]);
  for (const [name, frequency, ink, height] of marks) {
    const text = `${name} ${numberText(frequency)}`;
    const place = x(Math.min(frequency, end));
    context.strokeStyle = ink;
    context.lineWidth = 1.4;
    if (frequency <= end) line(context, [[place, box.top], [place, box.bottom]]);
    tag(context, frequency <= end ? text : `${text} →`, place, height, ink, box);
  }
}
