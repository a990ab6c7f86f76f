// A scored file at a glance: how many rows of each decision, what amount is at risk, how the scores are spread.
import { scoreAxis } from "../../charts/axis.js";
import { histogram } from "../../charts/histogram.js";
import { h } from "../../dom.js";
import { integer, percent, total } from "../../format.js";
import { notice } from "../parts/notice.js";

/**
 * @param {import("./results.js").Results} results
 * @param {number|null} decline the decline threshold, where it is known
 * @param {string|null} amount what the contract calls the amount
 * @returns {HTMLElement}
 */
export function summaryOf(results, decline, amount) {
  const byDecision = results.summary();
  const risk = byDecision[1].amount + byDecision[2].amount;
  const alerts = byDecision[1].rows + byDecision[2].rows;
  return h("section", { class: "panel summary", "aria-labelledby": "summary-title" },
    h("h2", { id: "summary-title" }, "Summary"),
    results.spooled && notice("warning", "The decision database was away: predictions wait in the spool."),
    h("dl", { class: "figures" },
      byDecision.map(({ decision, rows }) => h("div", {},
        h("dt", {}, h("span", { class: "badge", "data-decision": decision }, decision)),
        h("dd", {}, integer(rows), h("span", { class: "share" }, results.count ? percent(rows / results.count) : "")))),
      amount !== null && h("div", {}, h("dt", {}, `${amount} at risk`),
        h("dd", {}, total(risk), h("span", { class: "share" }, `in ${integer(alerts)} alerts`))),
      h("div", {}, h("dt", {}, "Bad rows"), h("dd", {}, integer(results.bad.length))),
      h("div", {}, h("dt", {}, "Model version"), h("dd", {}, results.version ?? "–"))),
    results.count > 0 && h("figure", {},
      histogram(results.scores, { alert: results.alert, decline }),
      h("figcaption", { class: "muted small" },
        "Rows by hybrid score; heights are logarithmic, so that a few frauds can be seen beside many ordinary rows",
        scoreAxis(results.alert).logarithmic ? ", and so is the score’s own scale." : ".")));
}
