// What is picked, by pointer, key or address, and what is drawn anew then.

const state = { layer: 0, kernel: 0, resolution: 2, row: 0, masked: true, samples: true };
const byId = (id) => document.getElementById(id);

function button(parent, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  if (label) made.textContent = label;
  made.addEventListener("click", act);
  parent.append(made);
  return made;
}

function thumbnail(canvas, layer, index, side) {
  canvas.style.width = `${side}px`;
  const { context } = prepared(canvas, side);
  const values = kernelValues(layer, index, state.masked);
  const limit = layerLimit(layer, state.masked);
  if (layer.axes.length > 1) {
    const [rows, columns] = layer.axes;
    context.fillStyle = "#f7f7f7";
    context.fillRect(0, 0, side, side);
    const box = fitted(side, side + 6, extent(rows), extent(columns), { x: 0, y: 0 });
    image(context, values, rows.count, columns.count, { ...box, y: (side - box.height) / 2 },
      (v) => signed(0.5 + v / limit / 2), true);
    return;
  }
  context.fillStyle = colour("raised");
  context.fillRect(0, 0, side, side);
  context.strokeStyle = colour("kernel");
  const step = Math.max(1, Math.floor(values.length / 200));
  const points = [];
  for (let i = 0; i < values.length; i += step) {
    points.push([(side * i) / values.length, side / 2 - (values[i] / limit) * side * 0.46]);
  }
  line(context, points);
}

function listLayers() {
  DATA.layers.forEach((layer, index) => {
    const made = button(byId("layers"), "", () => pick({ layer: index }));
    const words = document.createElement("span");
    const size = document.createElement("small");
    words.textContent = layer.name;
    size.textContent = `${sizeText(layer.used)} of ${sizeText(layer.size)}`;
    words.append(size);
    made.append(document.createElement("canvas"), words);
  });
}

function listKernels(layer) {
  byId("kernels").replaceChildren();
  layer.kernels.forEach((kernel, index) => {
    const made = button(byId("kernels"), "", () => pick({ kernel: index }));
    made.setAttribute("role", "option");
    made.setAttribute("aria-label", kernelName(kernel));
    made.append(document.createElement("canvas"));
    thumbnail(made.firstChild, layer, index, 56);
  });
}

function kernelName(kernel) {
  return `kernel from input channel ${kernel.of[1]} to output channel ${kernel.of[0]}`;
}

function listResolutions(layer) {
  const place = byId("resolutions");
  place.querySelectorAll("button").forEach((one) => one.remove());
  layer.resolutions.forEach((resolution, index) => {
    const made = button(place, `${ratioText(resolution.ratio)}×`, () => pick({ resolution: index }));
    made.title = `${sizeText(usedSize(resolution))} of ${sizeText(resolution.size)} samples`;
  });
}

function mark(selector, attribute, chosen) {
  document.querySelectorAll(selector).forEach((one, i) =>
    one.setAttribute(attribute, String(i === chosen)));
}

function captions(layer, kernel, resolution) {
  const size = sizeText(usedSize(resolution));
  const slice = layer.size.length === 3 ? ", the slice in the middle" : "";
  const what = state.masked && layer.mask ? "generator × mask" : "the generator alone";
  caption("function-panel", "Continuous kernel", `${what}${slice}; points: its samples`);
  caption("sampled-panel", "Sampled kernel", `${size}${slice}`);
  if (layer.mask) {
    const numbers = (values) => values.map(numberText).join(", ");
    caption("mask-panel", "Mask",
      `σ ${numbers(layer.mask.sigma)}; mean ${numbers(layer.mask.mean)}; frame: what is used`);
  }
  const cutName = layer.axes.length > 1 ? "Cut along the dashed line" : "Continuous kernel";
  const samples = layer.axes.length > 1 ? "" : `, ${size} of ${sizeText(resolution.size)} samples`;
  caption("cut-panel", cutName, `${what}${samples}${layer.mask && state.masked ? "; grey: the mask" : ""}`);
  const share = 100 * kernel.spectrum.above[state.resolution];
  caption("spectrum-panel", "Spectrum",
    `of generator × mask, in dB; ${share < 0.01 ? "under 0.01" : numberText(share)} % of the energy lies over Nyquist's frequency`);
}

function draw() {
  const layer = DATA.layers[state.layer];
  const kernel = layer.kernels[state.kernel];
  const values = kernelValues(layer, state.kernel, state.masked);
  const limit = layerLimit(layer, state.masked);
  const isImage = layer.axes.length > 1;
  for (const name of ["function", "sampled"]) byId(`${name}-panel`).hidden = !isImage;
  byId("mask-panel").hidden = !isImage || !layer.mask;
  for (const name of ["cut", "spectrum"]) byId(`${name}-panel`).classList.toggle("full", !isImage);
  captions(layer, kernel, layer.resolutions[state.resolution]);
  if (isImage) {
    state.place = functionImage(layer, values, limit, state);
    sampledImage(layer, values, limit, state);
    if (layer.mask) maskImage(layer);
  }
  cut(layer, values, limit, state);
  spectrum(layer, kernel, state);
}

// Take over a choice, mark it everywhere, and draw what depends on it.
function pick(choice) {
  const isNew = "layer" in choice || "masked" in choice;
  Object.assign(state, choice);
  const layer = DATA.layers[state.layer];
  if ("layer" in choice) state.row = startRow(layer);
  state.kernel = Math.min(state.kernel, layer.kernels.length - 1);
  if (isNew) {
    listKernels(layer);
    listResolutions(layer);
  }
  mark("#layers button", "aria-current", state.layer);
  mark("#kernels button", "aria-selected", state.kernel);
  mark("#resolutions button", "aria-pressed", state.resolution);
  byId("kernel-name").textContent =
    `${layer.generator}, ${kernelName(layer.kernels[state.kernel])} (${layer.channels[1]} → ${layer.channels[0]})`;
  const place = `#layer=${state.layer}&kernel=${state.kernel}&resolution=${state.resolution}`;
  history.replaceState(null, "", place);
  draw();
}

// The row of samples nearest to the middle of the mask.
function startRow(layer) {
  if (layer.axes.length === 1) return 0;
  const rows = samplePositions(layer, layer.resolutions[2], 0);
  const middle = layer.mask ? layer.mask.mean[layer.mask.mean.length - 2] : 0;
  return rows.reduce((best, r) => (Math.abs(r - middle) < Math.abs(best - middle) ? r : best), rows[0]);
}

function begin() {
  byId("title").textContent = DATA.title || "Kernels";
  byId("summary").textContent =
    `${DATA.layers.length} layers with continuous kernels; ${DATA.parameters.toLocaleString("en")} parameters`;
  listLayers();
  DATA.layers.forEach((layer, i) => thumbnail(byId("layers").children[i].firstChild, layer, 0, 40));
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name, end, standard) => {
    const value = parseInt(given.get(name) ?? "", 10);
    return value >= 0 && value < end ? value : standard;
  };
  byId("with-mask").addEventListener("change", (event) => pick({ masked: event.target.checked }));
  byId("with-samples").addEventListener("change", (event) => pick({ samples: event.target.checked }));
  byId("function").addEventListener("click", (event) => {
    const row = state.place.row(event.offsetY);
    const axis = DATA.layers[state.layer].axes[0];
    pick({ row: Math.min(Math.max(row, axis.first), axis.last) });
  });
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const name = event.key === "ArrowLeft" || event.key === "ArrowRight" ? "kernel" : "layer";
    const count = name === "layer" ? DATA.layers.length : DATA.layers[state.layer].kernels.length;
    pick({ [name]: (state[name] + step + count) % count });
  });
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => pick({ layer: state.layer }));
  pick({
    layer: number("layer", DATA.layers.length, 0),
    kernel: number("kernel", Infinity, 0),
    resolution: number("resolution", DATA.layers[0].resolutions.length, 2),
  });
}

begin();
