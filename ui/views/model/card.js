// The parts of a model card that are words and tables.
import { h } from "../../dom.js";
import { dateTime, integer, significant } from "../../format.js";
import { mlflowLink } from "./links.js";

const NAMES = {
  average_precision: "Average precision",
  roc_auc: "Area under ROC",
  precision: "Precision",
  recall: "Recall",
  cost_per_day: "Cost a day",
  alerts_per_day: "Alerts a day",
  precision_at_budget: "Precision at the alert budget",
  recall_at_budget: "Recall at the alert budget",
  cost_at_budget: "Cost a day at the alert budget",
  calibration_error: "Calibration error",
  recall_at_fpr: "Recall at FPR",
  "recall_at_fpr_0.01": "Recall at 1 % false positives",
};

/** A figure's or policy's name for people. */
export function nameOf(name) {
  const words = name.replaceAll("_", " ");
  return NAMES[name] || words.charAt(0).toUpperCase() + words.slice(1);
}

/** Which version answers, since when, and what it is for. */
export function headOf(live, settings) {
  const { card } = live;
  return h("section", { class: "panel" },
    h("div", { class: "row apart" },
      h("h2", {}, `${card.model_name} · version ${live.model_version}`),
      h("span", { class: "badge", "data-decision": card.gate === "passed" ? "APPROVE" : "REVIEW" }, `Gate: ${card.gate}`)),
    h("p", {}, card.purpose),
    h("ul", { class: "limits muted" }, card.limits.map((limit) => h("li", {}, limit))),
    h("dl", { class: "figures" },
      entry("Live since", dateTime(live.loaded_at)),
      entry("Named by", live.named_by),
      entry("Policy in use", nameOf(live.policy)),
      entry("Review from", significant(live.alert_threshold)),
      entry("Decline from", live.decline_threshold > 1 ? "never" : significant(live.decline_threshold))),
    mlflowLink(settings, `models/${card.model_name}/versions/${live.model_version}`, "This version in MLflow"));
}

/** Figures on test, each with its 95 % interval. */
export function figuresOf(card) {
  return tablePanel("Figures on test", "Of the evaluation twin on rows that nothing was fitted or chosen on, with 95 % intervals.",
    ["Figure", "Value", "95 % interval"],
    Object.entries(card.figures).map(([name, { value, low, high }]) =>
      [nameOf(name), significant(value), `${significant(low)} to ${significant(high)}`]));
}

/** Every threshold policy's thresholds, the one in use marked. */
export function policiesOf({ card, policy }) {
  const recall = (each) => (each.test.recall ? significant(each.test.recall.value) : "–");
  const precision = (each) => (each.test.precision ? significant(each.test.precision.value) : "–");
  const review = card.review_cost === null ? "" : `; a review costs ${significant(card.review_cost)}`;
  return tablePanel("Threshold policies", `${integer(card.alerts_per_day)} alerts a day are budgeted${review}. Recall and precision on test.`,
    ["Policy", "Review from", "Decline from", "Recall", "Precision"],
    Object.entries(card.policies).map(([name, each]) => [
      name === policy ? h("strong", {}, `${nameOf(name)} (in use)`) : nameOf(name),
      significant(each.alert), each.decline > 1 ? "never" : significant(each.decline), recall(each), precision(each)]));
}

/** Where the version comes from. */
export function lineageOf(card, settings) {
  const { data, lineage } = card;
  const run = lineage.experiment && lineage.run
    && mlflowLink(settings, `experiments/${lineage.experiment}/runs/${lineage.run}`, "The run in MLflow");
  const facts = [
    ["data", `${data.name} (${data.source}), ${integer(data.rows)} rows, ${integer(data.frauds)} frauds`],
    ...Object.entries(data.splits).map(([name, part]) =>
      [name, `${integer(part.rows)} rows, ${integer(part.frauds)} frauds, ${significant(part.days)} days`]),
    ...Object.entries(lineage).filter(([, value]) => value),
  ];
  return h("section", { class: "panel" }, h("h2", {}, "Lineage"),
    h("dl", { class: "lineage" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, nameOf(name)), h("dd", {}, value)))),
    run);
}

/** A panel that is a table. */
export function tablePanel(title, lead, head, rows, extra = null) {
  return h("section", { class: "panel" }, h("h2", {}, title), lead && h("p", { class: "muted small" }, lead),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, h("table", {},
      h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))))),
    extra);
}

function entry(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
