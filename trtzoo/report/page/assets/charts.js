// The figures, as Vega-Lite. Colours are the page's CSS variables, so that they follow the reader's light or dark by themselves.

const CONFIG = {
  background: null,
  font: "system-ui, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)", titleColor: "var(--muted)", titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12,
    gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", gridOpacity: 0.7,
  },
};
const COLOUR = { field: "family", type: "nominal", legend: null,
  scale: { domain: ["densenet", "dpn"], range: ["var(--densenet)", "var(--dpn)"] } };
const SHAPE = { field: "family", type: "nominal", legend: null,
  scale: { domain: ["densenet", "dpn"], range: ["circle", "diamond"] } };

/** Points that no other point of their kind beats in both cost and accuracy, by rising cost. */
function front(points) {
  let best = -Infinity;
  return [...points].sort((a, b) => a.x - b.x || b.y - a.y).filter((point) => point.y > best && ((best = point.y), true));
}

const PLACES = {
  right: { align: "left", dx: 7, dy: -9 },
  left: { align: "right", dx: -7, dy: -9 },
  below: { align: "center", dx: 0, dy: 17 },
};

/** Where a point's name goes: away from those that are close to it and about as accurate. */
function place(point, all, wide) {
  const measure = (other) => (wide ? Math.log(other.x) : other.x);
  const costs = all.map(measure), near = (Math.max(...costs) - Math.min(...costs)) / 6;
  const close = all.filter((other) => Math.abs(other.y - point.y) < 0.004 && Math.abs(measure(other) - measure(point)) < near);
  const before = close.some((other) => other.x < point.x), after = close.some((other) => other.x > point.x);
  return before && after ? "below" : after ? "left" : "right";
}

/** Accuracy against a cost. A point: {x, low, high, y, model, family, kind: "full" or "hollow", words, row}. */
function scatter(points, title, height) {
  const kinds = ["hollow", "full"].map((kind) => points.filter((point) => point.kind === kind));
  const labelled = kinds[1].length ? 1 : 0;
  const costs = points.map((point) => point.x), wide = Math.min(...costs) > 0 && Math.max(...costs) > 8 * Math.min(...costs);
  const x = { field: "x", type: "quantitative", title: wide ? `${title} (logarithmic)` : title,
    scale: { ...(wide ? { type: "log" } : { zero: false }), nice: false, padding: 40 }, axis: { format: "~g" } };
  const y = { field: "y", type: "quantitative", title: "Top-1 accuracy", scale: { zero: false, padding: 16 }, axis: { format: ".3~f" } };
  const lines = kinds.filter((kind) => kind.length > 1).map((kind) => ({
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
  const halo = { stroke: "var(--paper)", strokeWidth: 4, strokeJoin: "round" };
  const names = Object.entries(PLACES).flatMap(([name, offset]) => [halo, {}].map((more) => ({
    data: { values: kinds[labelled].filter((point) => place(point, kinds[labelled], wide) === name) },
    mark: { type: "text", ...offset, fontSize: 11.5, fill: "var(--ink)", aria: false, ...more },
    encoding: { x, y, text: { field: "model" } },
  })));
  const marks = {
    mark: { type: "point", size: 95, strokeWidth: 2, opacity: 1, cursor: "pointer" },
    encoding: {
      x, y, shape: SHAPE, stroke: COLOUR,
      fill: { condition: { test: "datum.kind === 'full'", ...COLOUR }, value: "var(--paper)" },
      description: { field: "words" }, tooltip: { field: "words" },
    },
  };
  const layer = [...lines, bars, ...names, marks].filter(({ data }) => !data || data.values.length);
  return { data: { values: points }, width: "container", height, autosize: { type: "fit", contains: "padding" }, layer, config: CONFIG };
}

/** The distribution of a cell's samples, with a line at the number told. */
function distribution(histogram, told) {
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
    data: { values: [{ from: told * 1e3 }] },
    mark: { type: "rule", color: "var(--ink)", strokeWidth: 2, aria: false },
    encoding: { x },
  };
  return { width: "container", height: 180, autosize: { type: "fit", contains: "padding" }, layer: [bars, line], config: CONFIG };
}
