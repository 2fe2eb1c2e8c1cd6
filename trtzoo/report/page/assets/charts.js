// The figures, as Vega-Lite. Colours are the page's CSS variables, so they follow the light or dark scheme.

const CONFIG = {
  background: null,
  font: "system-ui, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12,
    gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", gridOpacity: 0.7,
  },
};
const SHAPES = ["circle", "diamond", "triangle-up", "square"];

/** A channel by family: the families of the page take the colours and shapes in turn. */
const byFamily = (range) => ({ field: "family", type: "nominal", legend: null,
  scale: { domain: kinds, range: kinds.map((_, index) => range[index % SHAPES.length]) } });

/** The points that no other point of their kind beats in both cost and accuracy, by rising cost. */
function front(points) {
  let best = -Infinity;
  const known = points.filter((point) => !point.unknown);
  return known.sort((a, b) => a.x - b.x || b.y - a.y).filter((point) => point.y > best && ((best = point.y), true));
}

const SIDES = ["top-right", "top-left", "bottom-right", "bottom-left", "right", "left", "top", "bottom"];
const DISTANCES = [3, 8, 16];

/** Vega's label placement, which Vega-Lite does not offer: each label stands clear of points, other labels and the frame. */
function label(spec) {
  const named = spec.marks.find((mark) => mark.name === "named_marks");
  if (!named) return spec;
  const others = spec.marks.filter((mark) => mark.name === "others_marks").map((mark) => mark.name);
  spec.marks.push({
    type: "text", name: "labels", from: { data: named.name }, interactive: false, aria: false,
    encode: { enter: { text: { field: "datum.model" }, fontSize: { value: 11.5 }, fill: { value: "var(--ink)" },
      stroke: { value: "var(--paper)" }, strokeWidth: { value: 4 }, strokeJoin: { value: "round" } } },
    transform: [{ type: "label", size: { signal: "[width, height]" }, avoidMarks: others,
      anchor: DISTANCES.flatMap(() => SIDES), offset: DISTANCES.flatMap((pixels) => SIDES.map(() => pixels)) }],
  });
  return spec;
}

/** Give the networks whose accuracy nobody knows a place below all others; return the line between, if there are any. */
function ground(points) {
  const known = points.map((point) => point.y).filter((y) => y !== undefined);
  if (known.length === points.length) return [];
  const low = known.length ? Math.min(...known) : 0.5, room = Math.max(0.02, (Math.max(...known, low) - low) / 4);
  for (const point of points.filter((point) => point.y === undefined)) Object.assign(point, { y: low - room, unknown: true });
  const y = { datum: low - room / 2 };
  return [
    { data: { values: [{}] }, mark: { type: "rule", color: "var(--muted)", strokeDash: [1, 4], aria: false }, encoding: { y } },
    { data: { values: [{}] }, encoding: { y, x: { value: "width" } },
      mark: { type: "text", text: "accuracy unknown", align: "right", baseline: "top", dx: -2, dy: 3, color: "var(--muted)", aria: false } },
  ];
}

/** Accuracy against a cost. A point: {x, low, high, y, model, family, kind: "full" or "hollow", words, row}. */
function scatter(points, title, height) {
  const line = ground(points), COLOUR = byFamily(["var(--first)", "var(--second)", "var(--third)", "var(--fourth)"]), SHAPE = byFamily(SHAPES);
  const sides = ["hollow", "full"].map((kind) => points.filter((point) => point.kind === kind));
  const labelled = sides[1].length ? 1 : 0;
  const costs = points.map((point) => point.x), wide = Math.min(...costs) > 0 && Math.max(...costs) > 8 * Math.min(...costs);
  const x = { field: "x", type: "quantitative", title: wide ? `${title} (logarithmic)` : title,
    scale: { ...(wide ? { type: "log" } : { zero: false }), nice: false, padding: 40 }, axis: { format: "~g" } };
  const y = { field: "y", type: "quantitative", title: "Top-1 accuracy", scale: { zero: false, padding: 16 },
    axis: { format: ".3~f", ...(line.length && { labelExpr: `datum.value < ${line[0].encoding.y.datum} ? "" : datum.label` }) } };
  const lines = sides.filter((kind) => front(kind).length > 1).map((kind) => ({
    data: { values: front(kind) },
    mark: { type: "line", interpolate: "step-after", color: "var(--muted)", strokeWidth: 1.5, opacity: 0.7,
      strokeDash: kind[0].kind === "hollow" ? [4, 3] : [1, 0], aria: false },
    encoding: { x, y },
  }));
  const bars = {
    data: { values: points.filter((point) => point.low !== undefined) },
    mark: { type: "rule", strokeWidth: 2, aria: false },
    encoding: { x: { ...x, field: "low" }, x2: { field: "high" }, y, color: COLOUR },
  };
  const marks = sides.map((kind, index) => ({
    name: index === labelled ? "named" : "others",
    data: { values: kind },
    mark: { type: "point", size: 95, strokeWidth: 2, opacity: 1, cursor: "pointer" },
    encoding: {
      x, y, shape: SHAPE, stroke: COLOUR,
      fill: index ? COLOUR : { value: "var(--paper)" },
      description: { field: "words" }, tooltip: { field: "words" },
    },
  }));
  const layer = [...lines, ...line, bars, ...marks].filter(({ data }) => data.values.length);
  return { width: "container", height, autosize: { type: "fit", contains: "padding" }, layer, config: CONFIG };
}

/** The distribution of a cell's samples, with a line at the reported latency. */
function distribution(histogram, seconds) {
  const width = histogram.width || histogram.start / 100;
  const bins = histogram.counts.map((count, index) => {
    const from = (histogram.start + index * width) * 1e3, to = from + width * 1e3;
    return { from, to, count, words: `${from.toFixed(3)} to ${to.toFixed(3)} ms: ${count}` };
  });
  const x = { field: "from", type: "quantitative", title: "ms", scale: { zero: false, nice: false, padding: 4 } };
  const bars = {
    data: { values: bins },
    mark: { type: "bar", color: "var(--accent)", opacity: 0.75, binSpacing: 1 },
    encoding: { x: { ...x, bin: "binned" }, x2: { field: "to" }, y: { field: "count", type: "quantitative", title: "samples" },
      description: { field: "words" }, tooltip: { field: "words" } },
  };
  const line = {
    data: { values: [{ from: seconds * 1e3 }] },
    mark: { type: "rule", color: "var(--ink)", strokeWidth: 2, aria: false },
    encoding: { x },
  };
  return { width: "container", height: 180, autosize: { type: "fit", contains: "padding" }, layer: [bars, line], config: CONFIG };
}
