// The parts of a model card that are words and tables: figures, checks, policies, history, lineage, and the ways into MLflow.
import { h } from "../../dom.js";
import { dateTime, integer, percent, ratio, score, significant, total } from "../../format.js";
import { errorNotice, notice } from "../parts/notice.js";

const KINDS = { promote: "Promoted", rollback: "Rolled back", policy: "Policy changed", outside: "Moved in MLflow" };
const MOVES = 20;

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
  xgboost_alone: "XGBoost alone",
  seed_recipe: "Isolation forest × 0.4 + XGBoost × 0.6, untuned",
  logistic_regression: "Logistic regression",
};
const SHARES = ["precision", "recall", "precision_at_budget", "recall_at_budget", "recall_at_fpr_0.01"];
const MONEY = ["cost_per_day", "cost_at_budget"];
const GATES = { passed: "passed", none: "not judged" };

/** A figure's or policy's name for people. */
export function nameOf(name) {
  const words = name.replaceAll("_", " ");
  return NAMES[name] || words.charAt(0).toUpperCase() + words.slice(1);
}

/** How the values of a figure are written. */
function formatOf(name) {
  return SHARES.includes(name) ? percent : MONEY.includes(name) ? (value) => total(value)
    : name === "alerts_per_day" ? (value) => significant(value) : ratio;
}

/** Which version answers, since when, and what it is for. */
export function headOf(live, settings, history) {
  const { card } = live;
  const promoted = history.moves?.find(({ to, outcome }) => String(to) === live.model_version && outcome !== "undone");
  return h("section", { class: "panel" },
    h("div", { class: "row apart" },
      h("h2", {}, `${card.model_name} · version ${live.model_version}`),
      h("span", { class: "badge", "data-decision": card.gate === "passed" ? "APPROVE" : "REVIEW" }, `Gate: ${GATES[card.gate] ?? card.gate}`)),
    h("p", {}, card.purpose),
    h("ul", { class: "limits muted" }, card.limits.map((limit) => h("li", {}, limit))),
    h("dl", { class: "figures" },
      entry("Live since", promoted ? dateTime(promoted.when) : "not known"),
      entry("Loaded by this gateway", dateTime(live.loaded_at)),
      entry("Named by", live.named_by),
      entry("Policy in use", nameOf(live.policy)),
      entry("Review from", score(live.alert_threshold)),
      entry("Decline from", live.decline_threshold > 1 ? "never" : score(live.decline_threshold))),
    mlflowLink(settings, `models/${card.model_name}/versions/${live.model_version}`, "This version in MLflow"));
}

/** Figures on test, each with its 95 % interval. */
export function figuresOf(card) {
  return tablePanel("Figures on test", "Of the evaluation twin, on rows that nothing was fitted or chosen on, with 95 % intervals.",
    ["Figure", "Value", "95 % interval"],
    Object.entries(card.figures).map(([name, { value, low, high }]) => {
      const format = formatOf(name);
      return [nameOf(name), format(value), `${format(low)} to ${format(high)}`];
    }));
}

/** Simpler models on the same split, beside this one; null where the card has none. */
export function baselinesOf({ ablations, figures }) {
  const rows = Object.entries(ablations);
  const mine = figures.average_precision;
  const interval = ({ low, high }) => `${ratio(low)} to ${ratio(high)}`;
  const signed = (value) => (Math.abs(value) < 0.0005 ? ratio(0) : `${value < 0 ? "−" : "+"}${ratio(Math.abs(value))}`);
  return rows.length > 0 && tablePanel("Baselines", "Simpler models on the same rows. The difference is this version minus the other; it is beyond chance where its interval does not include 0.",
    ["Model", "Average precision", "95 % interval", "Difference", "95 % interval"], [
      mine && [h("strong", {}, "This version"), ratio(mine.value), interval(mine), "", ""],
      ...rows.map(([name, { average_precision: each, difference }]) => [
        nameOf(name), ratio(each.value), interval(each), signed(difference.value), `${signed(difference.low)} to ${signed(difference.high)}`]),
    ].filter(Boolean));
}

/** What the gate looked at, the failed checks first; null where the card has none. */
export function checksOf({ checks }) {
  const order = [...checks].sort((a, b) => rank(a) - rank(b));
  return order.length > 0 && tablePanel("Gate", "What was checked before this version could go live; failed checks first.",
    ["Check", "Verdict", "Value", "Limit"],
    order.map(({ name, passed, value, limit, meaning, theme }) => [
      h("span", { class: "check" }, h("strong", {}, name), h("span", { class: "muted small block" }, theme),
        meaning && h("span", { class: "small block" }, meaning)),
      h("span", { class: "badge", "data-decision": passed === null ? null : passed ? "APPROVE" : "DECLINE" },
        passed === null ? "not judged" : passed ? "passed" : "failed"),
      h("span", { class: "why" }, value), h("span", { class: "why" }, limit)]));
}

function rank({ passed }) {
  return passed === false ? 0 : passed === null ? 1 : 2;
}

/** Every threshold policy's thresholds, the one in use marked. */
export function policiesOf({ card, policy }) {
  const recall = (each) => (each.test.recall ? percent(each.test.recall.value) : "–");
  const precision = (each) => (each.test.precision ? percent(each.test.precision.value) : "–");
  const review = card.review_cost === null ? "" : `; a review costs ${total(card.review_cost)}`;
  return tablePanel("Threshold policies", `The budget is ${integer(card.alerts_per_day)} alerts a day${review}. Thresholds are those that ship; recall and precision are the evaluation twin’s, on test.`,
    ["Policy", "Review from", "Decline from", "Recall", "Precision"],
    Object.entries(card.policies).map(([name, each]) => [
      name === policy ? h("strong", {}, `${nameOf(name)} (in use)`) : nameOf(name),
      score(each.alert), each.decline > 1 ? "never" : score(each.decline), recall(each), precision(each)]));
}

/** Where the version comes from. */
export function lineageOf(card, settings) {
  const { data, lineage } = card;
  const run = lineage.experiment && lineage.run
    && mlflowLink(settings, `experiments/${lineage.experiment}/runs/${lineage.run}`, "The run in MLflow");
  const facts = [
    ["data", `${data.name}${data.name.startsWith(data.source) ? "" : ` (${data.source})`}: ${integer(data.rows)} rows, ${integer(data.frauds)} frauds`],
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
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, h("table", { class: "stack" },
      h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {},
        row.map((cell, place) => h("td", { "data-name": place > 0 ? head[place] : null }, cell))))))),
    extra);
}

function entry(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/** A link in an element of its own, or null where nobody said where MLflow's page is. */
export function mlflowLink({ mlflow_page: page }, path, words, element = "p") {
  return page ? h(element, {}, h("a", { href: `${page.replace(/\/$/, "")}/#/${path}`, rel: "noreferrer" }, words)) : null;
}

/** A link to the table of runs with the best on top, which `pipelines/run_page.py` saves; of a version without a card, to all experiments. */
export function runsLink(settings, card) {
  const experiment = card?.lineage.experiment;
  const path = experiment ? `experiments/${experiment}/runs?workflowType=machine_learning&viewStateShareKey=best` : "experiments";
  return mlflowLink(settings, path, "Runs in MLflow", "span");
}

/** @param {Object} history what /model/history answers, or {error} */
export function historyOf(history) {
  if (history.error) {
    return [h("section", { class: "panel" }, h("h2", {}, "History"), errorNotice(history.error))];
  }
  const partial = history.source === "release pointer"
    ? notice("warning", "MLflow is unreachable: only the latest promotion is known.") : null;
  return [tablePanel("History", "Every change of the live version, newest first.",
    ["When", "What", "From", "To", "Who", "Why", "Gate"],
    history.moves.slice(0, MOVES).map((move) => [
      dateTime(move.when),
      `${KINDS[move.kind] || "Promoted"}${move.outcome === "done" ? "" : ` (${move.outcome})`}`,
      move.origin ?? "–",
      move.to ?? "–",
      move.asked_by ? `${move.who || "–"}, asked by ${move.asked_by}` : move.who || "–",
      h("span", { class: "why" }, move.why || "–"),
      move.gate,
    ]), partial), refusalsOf(history)];
}

function refusalsOf({ source, refusals }) {
  if (source !== "history") {
    return null;
  }
  return refusals.length === 0
    ? h("section", { class: "panel" }, h("h2", {}, "Refusals"), h("p", { class: "muted" }, "The gate has refused no candidate."))
    : tablePanel("Refusals", "Candidates that the gate kept out, newest first.", ["When", "Version", "Who", "Why"],
      refusals.slice(0, MOVES).map((move) => [
        dateTime(move.when), move.to ?? "–", move.who || "–", h("span", { class: "why" }, move.why || "–")]));
}
