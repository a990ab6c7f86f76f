// Columns over time, their parts on top of each other.
import { s } from "../dom.js";
import { frame } from "./axes.js";

/**
 * @param {Array} data [{from, to, parts: [{kind, value}]}]; kind is a class of style/charts.css
 * @param {Object} options {label, width, height, x, y}: axes as in `frame`
 */
export function columns(data, { label, width, height = 180, x, y }) {
  const plot = frame(label, width, height, x, y);
  for (const { from, to, parts } of data) {
    const [left, right] = [plot.sx(from), plot.sx(to)];
    let below = 0;
    for (const { kind, value } of parts) {
      if (value > 0) {
        const [base, top] = [plot.sy(below), plot.sy(below + value)];
        plot.svg.append(s("rect", {
          class: `fill ${kind}`, x: left + 0.5, y: top, width: Math.max(1, right - left - 1), height: Math.max(1, base - top),
        }));
        below += value;
      }
    }
  }
  return plot.svg;
}
