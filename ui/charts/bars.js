// Horizontal bars with a name each and, where there is one, a limit.
import { s } from "../dom.js";
import { scale } from "./axes.js";

const ROW = 24;
const NAME = 116;
const VALUE = 64;

/**
 * @param {Array} data [{name, value, limit?, kind, text}]; `text` stands at the bar's end
 * @param {Object} options {label, width}
 */
export function bars(data, { label, width }) {
  const most = Math.max(...data.map(({ value, limit }) => Math.max(value, limit || 0)), 1e-9);
  const sx = scale({ min: 0, max: most }, NAME, Math.max(NAME + 40, width - VALUE));
  const height = data.length * ROW + 4;
  return s("svg", { class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height },
    data.map(({ name, value, limit, kind, text }, place) => {
      const top = place * ROW + 4;
      return [
        s("text", { x: NAME - 8, y: top + 13, "text-anchor": "end" }, name),
        limit && s("line", { class: "mark limit", x1: sx(limit), x2: sx(limit), y1: top - 3, y2: top + ROW - 5 }),
        s("rect", { class: `fill ${kind}`, x: NAME, y: top, width: Math.max(1, sx(value) - NAME), height: ROW - 8, rx: 2 }),
        s("text", { class: "strong value", x: sx(value) + 6, y: top + 13 }, text),
      ];
    }));
}
