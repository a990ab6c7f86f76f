// Bars: across with a name each, columns over time, and terms of a sum to both sides of nothing.
import { h, s } from "../dom.js";
import { significant } from "../format.js";
import { frame, scale } from "./axes.js";
import { across } from "./scores.js";

const ROW = 24;
const NAME = 116;
const VALUE = 64;

/**
 * Across, with a name each and, where there is one, a limit.
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

/**
 * Over time, their parts on top of each other.
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

/**
 * Terms of a sum, to the right (towards fraud) and to the left (away from it): a list, so that it is read out.
 * Their numbers are seen while the list has the attribute `data-numbers`.
 * @param {{label: string, detail: string, value: number}[]} terms
 * @param {{up: string, down: string}} words what a positive and a negative value mean
 * @returns {HTMLElement}
 */
export function signedBars(terms, words) {
  const largest = Math.max(...terms.map((term) => Math.abs(term.value)), 1e-9);
  return h("ol", { class: "signed-bars" }, terms.map(({ label, detail, value }) => {
    const share = Math.abs(value) / largest / 2;
    const sign = value >= 0 ? "+" : "−";
    return h("li", {},
      h("span", { class: "term" }, h("strong", {}, label), detail && [" ", h("span", { class: "muted" }, detail)]),
      h("span", { class: "number" }, h("span", { class: "log-odds" }, `${sign}${significant(Math.abs(value))}`),
        h("span", { class: "unseen" }, value >= 0 ? words.up : words.down)),
      s("svg", { class: "chart", width: "100%", height: 12, "aria-hidden": "true" },
        s("rect", { class: value >= 0 ? "up" : "down", y: 1, height: 10, rx: 2, width: across(share),
          x: across(value >= 0 ? 0.5 : 0.5 - share) }),
        s("line", { class: "axis", x1: "50%", x2: "50%", y1: 0, y2: 12 })));
  }));
}
