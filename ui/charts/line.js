// Lines over time or over another figure; a missing value leaves a gap.
import { s } from "../dom.js";
import { frame, thresholds } from "./axes.js";

/**
 * @param {Object} data
 * @param {Array} data.series [{kind, points: [[x, y | null], ...], dots?, step?}]; kind is a class of style/charts.css
 * @param {Array} [data.marks] lines down: {x, kind}, and across: {y, kind, name}
 * @param {Array} [data.dots] where something stands on a curve: [{x, y, kind, name?}]
 * @param {Object} options {label, width, height, x, y}: axes as in `frame`
 */
export function line({ series, marks = [], dots: stands = [] }, { label, width, height = 220, x, y }) {
  const plot = frame(label, width, height, x, y, marks.filter(({ name }) => name).map(({ name }) => name));
  thresholds(plot, marks);
  for (const { kind, points, dots, step } of series) {
    plot.svg.append(s("path", { class: `line ${kind}`, d: path(points, plot, step) }));
    if (dots || points.length === 1) {
      plot.svg.append(...circles(points, plot, kind));
    } else {
      plot.svg.append(...circles(alone(points), plot, kind));
    }
  }
  plot.svg.append(...stands.map(({ x: at, y: high, kind, name }) =>
    s("circle", { class: `dot ${kind}`, cx: plot.sx(at), cy: plot.sy(high), r: 5 }, name && s("title", {}, name))));
  return plot.svg;
}

function circles(points, plot, kind) {
  return points.filter(([, y]) => y !== null).map(([x, y]) => s("circle",
    { class: `point ${kind}`, cx: plot.sx(x), cy: plot.sy(y), r: 3 }));
}

/** Points between two gaps: a path would not show them. */
function alone(points) {
  const there = (place) => points[place] !== undefined && points[place][1] !== null;
  return points.filter((_, place) => there(place) && !there(place - 1) && !there(place + 1));
}

function path(points, { sx, sy }, step) {
  let drawn = "";
  let before = null;
  for (const [x, y] of points) {
    if (y === null) {
      before = null;
      continue;
    }
    const [px, py] = [sx(x).toFixed(1), sy(y).toFixed(1)];
    drawn += before === null ? `M${px},${py}` : step ? `H${px}V${py}` : `L${px},${py}`;
    before = y;
  }
  return drawn;
}
