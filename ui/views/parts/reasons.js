// Why a transaction scored as it did: a sentence where the answer has one, else what the feature is and its value.
import { signedBars } from "../../charts/signed_bars.js";
import { h } from "../../dom.js";
import { valueOf } from "../../format.js";

/**
 * @param {{feature: string, description: string, sentence: string|undefined, value: number|null, contribution: number}[]} given
 * @returns {HTMLElement}
 */
export function reasonsOf(given) {
  const terms = given.map(({ feature, description, sentence, value, contribution }) => ({
    label: sentence || description || feature,
    detail: sentence ? "" : `= ${valueOf(value)}`,
    value: contribution,
  }));
  return h("section", { class: "section" },
    h("h3", {}, "Reasons"),
    h("p", { class: "muted small" }, "What moved the score most, in log-odds: right is towards fraud, left away from it."),
    signedBars(terms, { up: " towards fraud", down: " away from fraud" }));
}
