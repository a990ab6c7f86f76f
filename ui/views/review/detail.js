// One prediction as a reviewer needs it: what was decided and why, and what was sent.
import { scale } from "../../charts/scale.js";
import { signedBars } from "../../charts/signed_bars.js";
import { h } from "../../dom.js";
import { amount, dateTime, percent, significant } from "../../format.js";
import { sampled } from "./queue.js";

/** @param {Object} item as GET /predictions gives it */
export function detailOf(item) {
  const { inputs } = item;
  return [
    h("div", { class: "row" }, badges(item)),
    h("h2", { class: "sum", tabindex: "-1" }, amount(inputs.Amount)),
    h("p", { class: "muted" }, `Received ${dateTime(item.received_at)}`,
      item.transaction_id && ` · transaction ${item.transaction_id}`),
    sampled(item) && h("p", { class: "notice", "data-kind": "info" },
      "It was approved, and is here by chance: labels of alerts alone would say nothing of frauds that were let through."),
    scale({ score: item.hybrid_score, alert: item.alert_threshold, decline: item.decline_threshold }),
    h("dl", { class: "figures" },
      figure("Fraud probability", percent(item.fraud_probability)),
      figure("Hybrid score", significant(item.hybrid_score)),
      figure("Model version", item.model_version)),
    reasons(item.reasons),
    h("details", {}, h("summary", {}, "All that was sent"), h("dl", { class: "inputs" },
      Object.entries(inputs).map(([name, value]) =>
        h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, significant(value, 6)))))),
    h("p", { class: "muted small id" }, `Prediction ${item.prediction_id}`),
  ];
}

/** What was decided, and whether chance brought it here. */
export function badges(item) {
  return [
    h("span", { class: "badge", "data-decision": item.decision }, item.decision),
    sampled(item) && h("span", { class: "badge sample" }, "Random sample"),
  ];
}

function figure(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

function reasons(given) {
  if (!given || given.length === 0) {
    return h("p", { class: "muted small" }, "The version that decided is not live any more, and no reasons were kept.");
  }
  const terms = given.map(({ feature, description, value, contribution }) => ({
    label: description || feature, detail: `= ${significant(value, 4)}`, value: contribution,
  }));
  return h("section", { class: "section" },
    h("h3", {}, "Reasons"),
    h("p", { class: "muted small" }, "What moved the score most, in log-odds: right is towards fraud, left away from it."),
    signedBars(terms, { up: " towards fraud", down: " away from fraud" }));
}
