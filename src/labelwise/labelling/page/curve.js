// The learning curve: accuracy on the test slice by labels, with its 95 % intervals, and the same as a table.

import { el, percent, svg } from "./dom.js";

const WIDTH = 340;
const HEIGHT = 210;
const LEFT = 44;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 40;

/** Round steps: about `most` of them from low to high. */
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((value) => value >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step / 1e6; tick += step) found.push(tick);
  return found;
}

export function drawCurve(points) {
  const labels = points.map((point) => point.labels);
  const [first, last] = [Math.min(...labels), Math.max(...labels)];
  const [left, right] = first === last ? [Math.max(0, first - 10), first + 10] : [first, last];
  const lowest = Math.max(0, Math.floor(Math.min(...points.map((point) => point.low)) * 10) / 10);
  const highest = Math.min(1, Math.ceil(Math.max(...points.map((point) => point.high)) * 10) / 10);
  const x = (value) => LEFT + ((value - left) / (right - left)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - lowest) / (highest - lowest || 1)) * (HEIGHT - TOP - BOTTOM);
  const end = points.at(-1);
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img",
    "aria-label": `Learning curve: from ${percent(points[0].accuracy)} right with ${points[0].labels} labels to `
      + `${percent(end.accuracy)} with ${end.labels} labels. The table below holds the numbers.`,
  });
  for (const tick of ticks(lowest, highest, 4)) {
    picture.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, String(Math.round(tick * 100))));
  }
  for (const tick of ticks(left, right, 5)) {
    picture.append(svg("text", { class: "tick", x: x(tick), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, String(Math.round(tick))));
  }
  picture.append(
    svg("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "labels for training"),
    svg("text", { class: "axis", x: 12, y: (TOP + HEIGHT - BOTTOM) / 2, "text-anchor": "middle",
      transform: `rotate(-90 12 ${(TOP + HEIGHT - BOTTOM) / 2})` }, "right (%)"),
    ...marks(points, x, y),
  );
  return picture;
}

function marks(points, x, y) {
  const at = (value, point) => `${x(point.labels).toFixed(1)},${y(value).toFixed(1)}`;
  if (points.length === 1) {
    const [{ labels, low, high }] = points;
    return [svg("line", { class: "whisker", x1: x(labels), x2: x(labels), y1: y(low), y2: y(high) }), dot(points[0], x, y)];
  }
  const band = [...points.map((point) => at(point.high, point)), ...[...points].reverse().map((point) => at(point.low, point))];
  return [
    svg("polygon", { class: "band", points: band.join(" ") }),
    svg("polyline", { class: "line", points: points.map((point) => at(point.accuracy, point)).join(" ") }),
    ...points.map((point) => dot(point, x, y)),
  ];
}

const dot = (point, x, y) => svg("circle", { class: "dot", cx: x(point.labels), cy: y(point.accuracy), r: 3 });

export function curveTable(points) {
  const row = (cells, tag) => el("tr", {}, ...cells.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, cell)));
  return el("details", {}, el("summary", {}, "The numbers as a table"), el("table", {},
    el("thead", {}, row(["Labels", "Right", "95 % interval"], "th")),
    el("tbody", {}, ...points.map((point) => row(
      [String(point.labels), percent(point.accuracy), `${percent(point.low)} to ${percent(point.high)}`], "td")))));
}
