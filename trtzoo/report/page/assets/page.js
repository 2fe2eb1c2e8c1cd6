const { cells, texts, models, families, kinds } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const ms = (seconds) => (seconds * 1e3).toFixed(2);
const title = (cell) => `${cell.model}, ${cell.precision.toUpperCase()}, batch ${cell.batch}`;

// --- figures ---

const views = new Map();

/** Draw a figure in place of the previous one. Points with a row open it, by mouse and by keyboard. */
async function draw(id, spec) {
  views.get(id)?.finalize();
  const options = { ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: showTip, patch: label };
  const drawn = await vegaEmbed(`#${id}`, spec, options);
  views.set(id, drawn);
  drawn.view.addEventListener("click", (_, item) => item?.datum?.row !== undefined && open(item.datum.row));
  for (const mark of byId(id).querySelectorAll("path[aria-roledescription=point]")) makeFocusable(mark);
}

function makeFocusable(mark) {
  const { words, row } = mark.__data__.datum;
  mark.setAttribute("tabindex", "0");
  mark.addEventListener("focus", () => showTip(null, mark.getBoundingClientRect(), null, words));
  mark.addEventListener("blur", () => showTip());
  if (row === undefined) return mark.setAttribute("role", "img");
  mark.setAttribute("role", "button");
  mark.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open(row);
  });
}

/** Vega's tooltip handler. Without text, the tooltip is hidden. */
function showTip(_, event, item, words) {
  const tip = byId("tip");
  tip.hidden = !words;
  if (!words) return;
  tip.textContent = words;
  const x = event.clientX ?? event.right, y = event.clientY ?? event.bottom;
  const left = Math.min(x + 14, innerWidth - tip.offsetWidth - 8), top = y + 14 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 14 : y + 14;
  tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
}

function point(cell, row) {
  const seconds = cell.seconds ?? cell.published, full = cell.state !== "published";
  const lines = [title(cell), `${ms(seconds)} ms ${full ? "measured" : "published"}`, `${cell.device}, ${cell.runtime}`];
  if (cell.low !== undefined) lines[1] += `, ${ms(cell.low)} to ${ms(cell.high)}`;
  lines.push(cell.top1 === undefined ? "top-1 unknown" : `top-1 ${cell.top1.toFixed(3)} ${cell.evaluated ? "evaluated" : "published"}`);
  lines.push(...(cell.marks ?? []), cell.note ?? "");
  return { x: seconds * 1e3, low: cell.low && cell.low * 1e3, high: cell.high && cell.high * 1e3, y: cell.top1, model: cell.model,
    family: families[cell.model], kind: full ? "full" : "hollow", words: lines.filter(Boolean).join("\n"), row };
}

const FASTEST = "fastest";
const runtime = (cell) => [cell.runtime, ...cell.protocol.split(", ").slice(1)].join(", ");
const FIGURE = [
  { id: "figure-device", field: (cell) => cell.device },
  { id: "figure-protocol", field: (cell) => cell.protocol.split(", ")[0], usual: "trtzoo" },
  { id: "figure-runtime", field: runtime, usual: FASTEST, first: [FASTEST] },
  { id: "figure-precision", field: (cell) => cell.precision, usual: "fp32", text: (value) => value.toUpperCase() },
  { id: "figure-batch", field: (cell) => String(cell.batch), usual: "4", order: (a, b) => a - b },
];

/** The cells to draw. Each chooser offers what the ones before it leave, and keeps its value where that is among them. */
function chosen() {
  let left = cells.filter((cell) => cell.state !== "failed");
  for (const { id, field, usual, first = [], text = (value) => value, order } of FIGURE) {
    const select = byId(id), found = [...new Set(left.map(field))];
    const values = [...first, ...(order ? found.sort(order) : found)];
    const value = [select.value, usual].find((wanted) => values.includes(wanted)) ?? values[0];
    select.replaceChildren(...values.map((each) => new Option(text(each), each, false, each === value)));
    if (value !== FASTEST) left = left.filter((cell) => field(cell) === value);
  }
  return byId("figure-runtime").value === FASTEST ? fastest(left) : left;
}

/** The fastest good cell of each model, whatever its runtime; one with wrong outputs only where there is no other. */
function fastest(all) {
  const rank = (cell) => [Number((cell.marks ?? []).includes("wrong outputs")), cell.seconds ?? cell.published];
  const before = (a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1];
  return [...new Set(all.map((cell) => cell.model))].map((model) => all.filter((cell) => cell.model === model).sort(before)[0]);
}

function latency() {
  const shown = chosen(), first = shown[0];
  const gpu = shown.find((cell) => cell.gpu)?.gpu;
  const printed = cells.filter((cell) => cell.state === "published" && cell.gpu === gpu && first.state !== "published" &&
    cell.precision === first.precision && cell.batch === first.batch);
  const points = [...printed, ...shown].map((cell) => point(cell, cells.indexOf(cell)));
  const which = new Set(shown.map(runtime)).size > 1 ? ", the fastest runtime of each model" : "";
  byId("latency-title").textContent = `Latency of ${first.precision.toUpperCase()}, batch ${first.batch}: ${first.device}${which}` +
    (printed.length ? `, beside the published ${gpu}` : "");
  return draw("latency", scatter(points, "Latency, ms", 340));
}

function counts(id, unit, name) {
  const points = ["published", "exact"].flatMap((source) => models.filter((model) => model[source]).map((model) => ({
    x: model[source][id], y: model.top1, model: model.model, family: families[model.model], kind: source === "exact" ? "full" : "hollow",
    words: `${model.model}\n${model[source][id].toFixed(2)} ${unit} ${source === "exact" ? "counted exactly" : "published"}\ntop-1 ${model.top1?.toFixed(3) ?? "unknown"}`,
  })));
  return draw(id, scatter(points, name, 260));
}

// --- one cell ---

function open(row) {
  const cell = cells[row], dialog = byId("cell"), note = byId("cell-note");
  byId("cell-title").textContent = `${title(cell)}: ${cell.device}`;
  byId("cell-number").textContent = numbers(cell);
  note.textContent = [cell.note, ...(cell.marks ?? [])].filter(Boolean).join("; ");
  note.hidden = !note.textContent;
  const names = cell.facts.filter((_, index) => index % 2 === 0), words = cell.facts.filter((_, index) => index % 2);
  byId("cell-facts").replaceChildren(...names.flatMap((name, index) => [element("dt", texts[name]), element("dd", texts[words[index]])]));
  byId("cell-figure").hidden = !cell.histogram;
  showTip();
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  if (cell.histogram) samples(cell);
}

function numbers(cell) {
  const parts = [];
  if (cell.seconds !== undefined) parts.push(`${ms(cell.seconds)} ms`);
  if (cell.low !== undefined) parts.push(`95 % interval ${ms(cell.low)} to ${ms(cell.high)}`);
  if (cell.p99 !== undefined) parts.push(`p99 ${ms(cell.p99)}`);
  if (cell.published !== undefined) parts.push(`published ${ms(cell.published)} ms on a ${cell.gpu}`);
  if (cell.share !== undefined) parts.push(`${(cell.share * 100).toFixed(0)} % of the device's limit`);
  if (cell.ratio !== undefined) parts.push(`measured / published ${cell.ratio.toFixed(2)}`);
  return parts.join("; ");
}

function samples(cell) {
  const { counts, beyond = 0, slowest } = cell.histogram;
  const inside = counts.reduce((sum, count) => sum + count, 0);
  byId("cell-caption").textContent = `${inside + beyond} raw samples by latency; the line is the reported latency` +
    (beyond ? `; ${beyond} slower than drawn, up to ${ms(slowest)} ms` : "");
  return draw("samples", distribution(cell.histogram, cell.seconds));
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// --- the table ---

const table = byId("cells"), body = table.tBodies[0], rows = [...body.rows];
let haystack;
const order = new Intl.Collator("en", { numeric: true }).compare;

function sort(heading) {
  const key = heading.firstElementChild.dataset.key, down = heading.ariaSort === "ascending";
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  heading.ariaSort = down ? "descending" : "ascending";
  const value = (row) => cells[row.dataset.row][key];
  const known = rows.filter((row) => value(row) !== undefined), unknown = rows.filter((row) => value(row) === undefined);
  known.sort((a, b) => (typeof value(a) === "number" ? value(a) - value(b) : order(value(a), value(b))) * (down ? -1 : 1));
  body.append(...known, ...unknown);
}

function filter() {
  const wanted = [...document.querySelectorAll("[data-filter]")].filter((select) => select.value);
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  haystack ??= rows.map((row) => row.textContent.toLowerCase());
  let left = 0;
  for (const row of rows) {
    const cell = cells[row.dataset.row];
    row.hidden = !(wanted.every((select) => String(cell[select.dataset.filter]) === select.value) &&
      words.every((word) => haystack[row.dataset.row].includes(word)));
    left += Number(!row.hidden);
  }
  byId("count").textContent = left === rows.length ? `${left.toLocaleString("en")} cells`
    : `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} cells`;
}

/** Below a model's name, a phone shows the columns that it has no room for. */
function condense(row) {
  const cell = cells[row.dataset.row], line = element("span", [cell.precision.toUpperCase(), `batch ${cell.batch}`, cell.device, cell.runtime, cell.protocol].join(", "));
  const note = element("span", row.lastElementChild.textContent);
  for (const made of [line, note]) made.className = "narrow";
  row.cells[0].append(line, note);
}

table.tHead.addEventListener("click", (event) => event.target.dataset.key && sort(event.target.parentElement));
body.addEventListener("click", (event) => event.target.matches("button") && open(event.target.closest("tr").dataset.row));
byId("filters").addEventListener("input", filter);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(filter));
byId("close").addEventListener("click", () => byId("cell").close());
const narrow = matchMedia("(max-width: 44rem)");
if (narrow.matches) rows.forEach(condense);
else narrow.addEventListener("change", () => rows.forEach(condense), { once: true });
for (const { id } of FIGURE) byId(id).addEventListener("change", latency);
Promise.all([latency(), counts("flops", "GFLOPs", "FLOPs, G"), counts("params", "M", "Parameters, M")])
  .then(() => { document.documentElement.dataset.ready = "yes"; });
