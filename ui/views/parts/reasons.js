// Why a transaction scored as it did: a sentence where the answer has one, else what the feature is, its value, and what
// is usual for it.
import { signedBars } from "../../charts/bars.js";
import { h } from "../../dom.js";
import { percent, significant, valueOf } from "../../format.js";

/**
 * @param {{feature: string, description: string, sentence: string|undefined, value: number|null, contribution: number}[]} given
 * @param {import("../../fields.js").Catalogue|null} catalogue knows what is usual
 * @returns {HTMLElement}
 */
export function reasonsOf(given, catalogue) {
  const terms = given.map(({ feature, description, sentence, value, contribution }) => ({
    label: sentence || description || feature,
    detail: sentence ? "" : `= ${valueOf(value)}${usualOf(catalogue?.usual(feature))}`,
    value: contribution,
  }));
  const shares = [...new Set(given.map(({ feature }) => catalogue?.usual(feature)?.share).filter(Boolean))];
  const bars = signedBars(terms, { up: " towards fraud", down: " away from fraud" });
  const numbers = h("button", { type: "button", class: "quiet small", "aria-expanded": "false", onclick: () => {
    const shown = bars.toggleAttribute("data-numbers");
    numbers.setAttribute("aria-expanded", String(shown));
    numbers.textContent = shown ? "Hide log-odds" : "Show log-odds";
  } }, "Show log-odds");
  return h("section", { class: "section" },
    h("div", { class: "row apart" }, h("h3", {}, "Reasons"), numbers),
    h("p", { class: "muted small" }, "What moved the score most: bars to the right point towards fraud, to the left away from it.",
      shares.length > 0 && ` “Usually”: where ${percent(shares[0])} of the training rows are.`),
    bars);
}

function usualOf(range) {
  return range ? `, usually ${significant(range.low, 2)} to ${significant(range.high, 2)}` : "";
}
