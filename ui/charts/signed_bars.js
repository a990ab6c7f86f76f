// Terms of a sum as bars to the right (towards fraud) and to the left (away from it): a list, so that it is read out.
import { h, s } from "../dom.js";
import { significant } from "../format.js";
import { across } from "./axis.js";

/**
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
