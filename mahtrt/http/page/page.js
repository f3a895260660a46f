const by = name => document.getElementById(name);
const SVG = "http://www.w3.org/2000/svg";
const MOST_NAMES = 30;
let running = null, shown = null, model = null, asked = 0;

// What became of a request, by the service's word for it (x-error-kind) or its status.
const TOLD = {
  token: "The service asks for a token, and this is none of its. Put it into the field Token.",
  "too-large": "The image is too large for this service.",
  "queue-full": "The service is busy. Try again in a second.",
  memory: "The service has no memory left. Try again in a second.",
  "not-ready": "The bundle is not ready.",
  ending: "The service is ending.",
  slow: "The image took too long to arrive.",
  unknown: "The service has no such bundle.",
  "no-decoder": "The service lacks a decoder for this file.",
  defect: "The service failed.",
};
const BY_STATUS = {401: "token", 404: "unknown", 408: "slow", 413: "too-large", 415: "no-decoder",
  500: "defect", 503: "queue-full"};

function make(name, facts = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(facts)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function draw(name, facts, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(facts)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

async function ask(path, options = {}) {
  const headers = {...options.headers};
  const token = by("token").value.trim();
  if (/^[\x21-\x7e]+$/.test(token)) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(path, {...options, headers, cache: "no-store", credentials: "omit"});
  const text = await answer.text();
  let document_ = {};
  try { document_ = JSON.parse(text); } catch { /* told below by the status */ }
  if (answer.ok) return document_;
  const word = answer.headers.get("x-error-kind") ?? "";
  const told = TOLD[word] ?? TOLD[BY_STATUS[answer.status]] ?? "The service refused the image.";
  const own = typeof document_.error === "string" ? ` It says: ${document_.error}` : "";
  const problem = new Error(`${told}${own} (HTTP ${answer.status})`);
  problem.status = answer.status;
  throw problem;
}

function tell(text, kind = "bad") {
  by("message").textContent = text;
  by("message").className = `message ${kind}`;
  by("message").hidden = !text;
}

function state(text, kind) {
  by("state").textContent = text;
  by("state").className = `state ${kind}`;
}

async function findModels() {
  by("choose").disabled = true;
  asked += 1;
  const own = asked;
  let names = [];
  try {
    names = (await ask("v2/models")).models ?? [];
  } catch (problem) {
    if (own !== asked) return;
    if (problem.status === 401) state("The service asks for a token.", "");
    else state(problem.status ? problem.message : "The service does not answer.", "bad");
    return;
  }
  if (own !== asked) return;
  const before = by("model").value;
  by("model").replaceChildren(...names.map(name => make("option", {value: name}, name)));
  if (names.includes(before)) by("model").value = before;
  by("model").disabled = names.length < 2;
  await findModel();
}

async function findModel() {
  const name = by("model").value;
  by("choose").disabled = true;
  asked += 1;
  const own = asked;
  try {
    const found = await ask(`v2/models/${encodeURIComponent(name)}`);
    if (own !== asked) return;
    model = found;
  } catch (problem) {
    if (own !== asked) return;
    state(problem.status ? problem.message : "The service does not answer.", "bad");
    return;
  }
  if ((model.inputs ?? []).length > 1) {
    const inputs = model.inputs.map(each => each.name).join(", ");
    state(`${name} takes several images at once (${inputs}), which this page cannot.`, "bad");
    return;
  }
  state(`${name} is ready.`, "good");
  by("choose").disabled = false;
}

async function take(file) {
  running?.abort();
  running = new AbortController();
  const signal = running.signal;
  by("result").hidden = true;
  if (by("choose").disabled) {
    tell("No bundle is ready to take an image. What keeps it is said at the top.");
    return;
  }
  tell(`Asking about ${file.name} …`, "wait");
  by("drop").classList.add("busy");
  const query = new URLSearchParams();
  for (const [field, name] of [["spacing", "spacing_mm"], ["frame", "frame"]]) {
    const value = by(field).value.trim();
    if (value) query.set(name, value);
  }
  const path = `v1/landmarks/${encodeURIComponent(by("model").value)}${query.size ? `?${query}` : ""}`;
  let found, lasted;
  try {
    const begun = performance.now();
    const headers = {"content-type": "application/octet-stream"};
    found = await ask(path, {method: "POST", body: file, headers, signal});
    lasted = performance.now() - begun;
  } catch (problem) {
    if (signal.aborted) return;
    tell(problem.status ? problem.message
      : "The service did not answer: it ended, refused the connection, or the file went away.");
    return;
  } finally {
    if (!signal.aborted) by("drop").classList.remove("busy");
  }
  const picture = await pictureOf(file, Number(by("frame").value) || 1);
  if (!signal.aborted) show(found, picture, file.name, lasted);
}

// What can be drawn of a file here: {element, width, height, words}; the element may be missing.
async function pictureOf(file, frame) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isDicom(bytes)) return dicomElement(bytes, frame);
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(image.src);
    return {words: "The browser cannot draw this file: the landmarks are on an empty frame."};
  }
  return {element: image, width: image.naturalWidth, height: image.naturalHeight, words: ""};
}

function dicomElement(bytes, frame) {
  let read = null;
  try { read = dicomPicture(bytes); } catch { /* the service read it; the page need not */ }
  const compressed = "The browser cannot draw this DICOM file (compressed or in colour): "
    + "the landmarks are on an empty frame";
  if (!read?.pixels) {
    return {width: read?.width, height: read?.height,
      words: `${compressed}${read ? " of the image's size." : "."}`};
  }
  const canvas = make("canvas", {width: read.width, height: read.height});
  const shades = new ImageData(read.pixels(frame), read.width, read.height);
  canvas.getContext("2d").putImageData(shades, 0, 0);
  return {element: canvas, width: read.width, height: read.height,
    words: "Preview by this page, stretched from dark to bright; the service applies the file's own window."};
}

const number = (value, digits) => value === null || value === undefined ? "" : value.toFixed(digits);

function show(found, picture, name, lasted) {
  const image = found.images[0], rows = image.landmarks ?? [];
  if (shown) URL.revokeObjectURL(shown.url);
  shown = {found, name, url: picture.element?.src ?? ""};
  tell("", "wait");
  by("result").hidden = false;
  by("title").textContent = name;
  by("names").checked = rows.length <= MOST_NAMES;
  showPicture(rows, picture);
  showSummary(found, rows, lasted);
  showWarnings(found, image, rows);
  showLandmarks(rows);
  showMore(image);
  showFacts(found, image, picture);
  by("live").textContent = `${name}: ${by("summary").textContent}`;
  by("result").scrollIntoView({block: "nearest"});
}

function showPicture(rows, picture) {
  const most = key => Math.max(1, ...rows.map(row => row[key] ?? 0)) * 1.1;
  const width = picture.width || most("x"), height = picture.height || most("y");
  const words = `${rows.length} landmarks`;
  const svg = draw("svg", {viewBox: `-0.5 -0.5 ${width} ${height}`, role: "img",
    "aria-label": `${words}: ${rows.map(row => row.name).join(", ")}`});
  const children = [];
  if (picture.element) {
    picture.element.setAttribute(picture.element.localName === "img" ? "alt" : "aria-label",
      `The image, ${width} by ${height} pixels`);
    if (picture.element.localName === "canvas") picture.element.setAttribute("role", "img");
    children.push(picture.element);
  } else {
    svg.append(draw("rect", {class: "frame", x: -0.5, y: -0.5, width, height}));
  }
  const unit = width / 100, points = rows.filter(row => row.x !== null && row.y !== null);
  const placed = points.map(row => (
    {left: row.x - 1.8 * unit, top: row.y - 1.8 * unit, long: 3.6 * unit, size: 3.6 * unit}));
  for (const row of points) {
    const doubt = row.two_peaks ? " doubt" : "";
    const at = {cx: row.x, cy: row.y};
    const width_ = {"stroke-width": 0.4 * unit};
    const label = labelOf(row, unit, width, height, placed);
    svg.append(draw("g", {}, draw("title", {}, row.name),
      draw("circle", {...at, ...width_, r: 1.8 * unit, class: `mark${doubt}`}),
      draw("circle", {...at, r: 0.45 * unit, class: `dot${doubt}`}), label));
  }
  by("picture").replaceChildren(...children, svg);
  by("caption").textContent = picture.words;
  nameOrNot();
}

// A name beside its point, where it covers no other name and no point.
function labelOf(row, unit, width, height, placed) {
  const size = 3.3 * unit, long = row.name.length * size * 0.58, gap = 2.6 * unit;
  const places = [];
  for (const down of [0, -1, 1, -2, 2]) {
    for (const left of [row.x + gap, row.x - gap - long]) {
      places.push({left, top: row.y + down * size - size / 2});
    }
  }
  const covers = (a, b) => a.left < b.left + b.long && b.left < a.left + a.long
    && a.top < b.top + b.size && b.top < a.top + a.size;
  const isFree = place => place.left >= 0 && place.left + long <= width && place.top >= 0
    && place.top + size <= height && !placed.some(other => covers({...place, long, size}, other));
  const place = places.find(isFree) ?? places[0];
  placed.push({...place, long, size});
  return draw("text", {x: place.left, y: place.top + 0.8 * size, "font-size": size,
    "stroke-width": 0.7 * unit}, row.name);
}

function nameOrNot() {
  by("picture").querySelector("svg")?.classList.toggle("unnamed", !by("names").checked);
}

function showSummary(found, rows, lasted) {
  const verdict = found.verdict;
  const gate = verdict
    ? make("span", {class: `status ${verdict.passed ? "pass" : "fail"}`},
      verdict.passed ? "The engine passed its accuracy gate." : "The engine failed its accuracy gate.")
    : make("span", {class: "status"}, "The engine was not judged by an accuracy gate.");
  const text = `${rows.length} landmarks by ${found.engine}, ${found.device}, in ${Math.round(lasted)} ms `
    + "with the way there and back. ";
  by("summary").replaceChildren(text, gate);
}

function showWarnings(found, image, rows) {
  const doubtful = rows.filter(row => row.two_peaks).map(row => row.name);
  const told = [
    ...(found.verdict?.passed === false ? found.verdict.reasons.map(each => `Gate: ${each}`) : []),
    ...(doubtful.length ? [`${doubtful.join(", ")}: the heatmap is far wider than usual (two peaks, `
      + "or no clear one); the point may be far off."] : []),
    ...(found.notes ?? []),
    ...(image.dicom?.notes ?? []),
  ];
  by("warnings").replaceChildren(...told.map(each => make("li", {}, each)));
  by("warnings").hidden = !told.length;
}

function fill(table, caption, titles, rows) {
  const head = make("tr", {}, ...titles.map(title => make("th", {scope: "col"}, title)));
  const body = rows.map(({cells, kind}) => make("tr", kind ? {class: kind} : {},
    ...cells.map((cell, k) => k ? make("td", {}, cell) : make("th", {scope: "row"}, cell))));
  table.replaceChildren(make("caption", {}, caption), make("thead", {}, head),
    make("tbody", {}, ...body));
}

function showLandmarks(rows) {
  const inMm = rows.some(row => row.x_mm !== undefined);
  const isSeen = rows.some(row => row.visible !== undefined);
  const titles = ["landmark", "x", "y", ...(inMm ? ["x, mm", "y, mm"] : []), "confidence", "spread",
    ...(isSeen ? ["visible"] : [])];
  by("landmarks").hidden = !rows.length;
  fill(by("landmarks"), "Landmarks", titles, rows.map(row => ({
    kind: row.two_peaks ? "doubt" : "",
    cells: [row.name, number(row.x, 1), number(row.y, 1),
      ...(inMm ? [number(row.x_mm, 2), number(row.y_mm, 2)] : []), number(row.confidence, 3),
      number(row.spread_px, 2), ...(isSeen ? [row.visible ? "yes" : "no"] : [])],
  })));
}

function showMore(image) {
  const tables = [];
  if (image.quantities?.length) {
    const table = make("table");
    fill(table, "Clinical quantities", ["quantity", "value", "unit"], image.quantities.map(each => ({
      cells: [each.name, number(each.value, 2), each.unit ?? ""]})));
    tables.push(table);
  }
  for (const [name, rows] of Object.entries(image.labels ?? {})) {
    const table = make("table");
    fill(table, name, ["label", "probability"], (Array.isArray(rows) ? rows : []).map(each => ({
      cells: [each.name, number(each.probability, 3)]})));
    tables.push(table);
  }
  by("more").replaceChildren(...tables);
  by("more").hidden = !tables.length;
}

function showFacts(found, image, picture) {
  const verdict = found.verdict, spacing = image.spacing_mm;
  const facts = [
    ["Bundle", found.bundle], ["Version", (model?.versions ?? []).join(", ")],
    ["Engine", `${found.engine} on ${found.device}`],
    ["Image", picture.width ? `${picture.width} × ${picture.height} pixels` : ""],
    ["Pixel spacing", spacing ? `${spacing.join(" × ")} mm (rows, columns)` : "not known"],
    ["Spacing from", image.spacing_source ?? ""],
    ["Gate", verdict ? `${verdict.passed ? "passed" : "failed"}, measured on ${verdict.images ?? "?"} images`
      + (typeof verdict.mean_px !== "number" ? "" : `; mean displacement ${verdict.mean_px.toFixed(3)} px of the network`)
      : "not judged"],
    ["Gate compared with", verdict?.reference ?? ""],
  ];
  by("facts").replaceChildren(...facts.filter(([, value]) => value).map(([title, value]) =>
    make("div", {}, make("dt", {}, title), make("dd", {}, value))));
}

function save() {
  const text = JSON.stringify(shown.found, null, 2);
  const url = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  make("a", {href: url, download: `${shown.name}.landmarks.json`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

by("choose").addEventListener("click", () => by("file").click());
by("file").addEventListener("change", () => {
  const [file] = by("file").files;
  if (file) take(file);
  by("file").value = "";
});
by("model").addEventListener("change", findModel);
by("token").addEventListener("change", findModels);
by("names").addEventListener("change", nameOrNot);
by("save").addEventListener("click", save);
by("form").addEventListener("submit", event => event.preventDefault());
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  window.addEventListener(name, event => {
    event.preventDefault();
    by("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
  });
}
window.addEventListener("drop", event => {
  const files = event.dataTransfer?.files ?? [];
  if (files.length > 1) tell("Several files were dropped; the page takes one image at a time.");
  else if (files.length) take(files[0]);
});
findModels();
