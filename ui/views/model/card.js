// The parts of a model card that are words and tables: figures, checks, policies, history, lineage, and the ways into MLflow.
import { h } from "../../dom.js";
import { dateMinute, integer, percent, ratio, score, significant, total } from "../../format.js";
import { entryAt } from "./what_if.js";
import { errorNotice, notice } from "../parts/notice.js";

const PHONE = matchMedia("(max-width: 40rem)");
const KINDS = { promote: "Promoted", rollback: "Rolled back", policy: "Policy changed", outside: "Moved in MLflow" };
const MOVES = 5;
const NARROW = 3;

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
    h("dl", { class: "figures three" },
      entry("Live since", promoted ? dateMinute(promoted.when) : "not known"),
      entry("Loaded by this gateway", dateMinute(live.loaded_at)),
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
    ].filter(Boolean), { fold: true });
}

/** What the gate looked at: what failed and what could not be judged; what passed, folded. Null where the card has no checks. */
export function checksOf({ checks }) {
  const passed = checks.filter((check) => check.passed);
  const others = checks.filter((check) => !check.passed).sort((a, b) => rank(a) - rank(b));
  const title = `${integer(passed.length)} of ${integer(checks.length)} checks passed`;
  return checks.length > 0 && panel("Gate", {}, h("p", { class: "muted small" }, "What was checked before this version could go live."),
    others.length > 0 && checksTable("Gate", others),
    passed.length > 0 && h("details", {}, h("summary", {}, title), checksTable("Passed", passed)));
}

function checksTable(name, checks) {
  return table(name, ["Check", "Verdict", "Value", "Limit"], checks.map(({ name: check, passed, value, limit, meaning, theme }) => [
    h("span", { class: "check" }, h("strong", {}, check), h("span", { class: "muted small block" }, theme),
      meaning && h("span", { class: "small block" }, meaning)),
    h("span", { class: "badge", "data-decision": passed === null ? null : passed ? "APPROVE" : "DECLINE" },
      passed === null ? "not judged" : passed ? "passed" : "failed"),
    h("span", { class: "why" }, value), h("span", { class: "why" }, limit)]));
}

function rank({ passed }) {
  return passed === false ? 0 : 1;
}

/** Every threshold policy's thresholds and what they would cost, the one in use marked. */
export function policiesOf({ card, policy }) {
  const { what_if: curve } = card;
  const recall = (each) => (each.test.recall ? percent(each.test.recall.value) : "–");
  const precision = (each) => (each.test.precision ? percent(each.test.precision.value) : "–");
  const costs = curve.cost_per_day.length > 0; // none without an amount
  const review = card.review_cost === null ? "" : `; a review costs ${total(card.review_cost)}`;
  return tablePanel("Threshold policies", `The budget is ${integer(card.alerts_per_day)} alerts a day${review}. Thresholds are those that ship; alerts ${
    costs ? "and cost " : ""}are of rows the model had not seen; recall and precision are the evaluation twin’s, on test.`,
    ["Policy", "Review from", "Decline from", "Alerts a day", ...(costs ? ["Cost a day"] : []), "Recall", "Precision"],
    Object.entries(card.policies).map(([name, each]) => {
      const at = entryAt(curve, each.alert);
      return [name === policy ? h("strong", {}, `${nameOf(name)} (in use)`) : nameOf(name),
        score(each.alert), each.decline > 1 ? "never" : score(each.decline), significant(curve.alerts_per_day[at]),
        ...(costs ? [total(curve.cost_per_day[at])] : []), recall(each), precision(each)];
    }), { fold: true });
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
  return panel("Lineage", { fold: true },
    h("dl", { class: "lineage" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, nameOf(name)), h("dd", {}, value)))),
    run);
}

/** A panel with a heading; `fold`: on a phone its heading alone is seen until it is opened. */
export function panel(title, { fold = false }, ...children) {
  return fold
    ? h("section", { class: "panel" }, h("details", { class: "fold", open: !PHONE.matches },
      h("summary", {}, h("h2", {}, title)), h("div", { class: "folded" }, children)))
    : h("section", { class: "panel" }, h("h2", {}, title), children);
}

/** A panel that is a table; `rest`: more of its rows, folded under words that say how many. */
export function tablePanel(title, lead, head, rows, { extra = null, rest = [], fold = false } = {}) {
  return panel(title, { fold }, lead && h("p", { class: "muted small" }, lead), table(title, head, rows),
    rest.length > 0 && h("details", {}, h("summary", {}, `${integer(rest.length)} older`), table(`${title}, older`, head, rest)),
    extra);
}

/** A table that scrolls in its frame; on a phone its rows are lists, or where it has few columns a table all the same. */
export function table(name, head, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h("table", { class: head.length > NARROW ? "stack" : "narrow" },
      h("thead", {}, h("tr", {}, head.map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, rows.map((row) => h("tr", {},
        row.map((cell, place) => h("td", { "data-name": place > 0 ? head[place] : null }, cell)))))));
}

function entry(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/** A link in an element of its own, or null where the settings do not name MLflow's page. */
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
  const rows = history.moves.map((move) => [
    dateMinute(move.when),
    h("span", { class: "few" }, `${KINDS[move.kind] || "Promoted"}${move.outcome === "done" ? "" : ` (${move.outcome})`}`),
    `${move.origin ?? "–"} → ${move.to ?? "–"}`,
    h("span", { class: "few" }, move.asked_by ? `${move.who || "–"}, asked by ${move.asked_by}` : move.who || "–"),
    h("span", { class: "why" }, move.why || "–"),
    move.gate,
  ]);
  return [tablePanel("History", "Every change of the live version, newest first.",
    ["When", "What", "Version", "Who", "Why", "Gate"], rows.slice(0, MOVES),
    { extra: partial, rest: rows.slice(MOVES), fold: true }), refusalsOf(history)];
}

function refusalsOf({ source, refusals }) {
  if (source !== "history") {
    return null;
  }
  if (refusals.length === 0) {
    return panel("Refusals", {}, h("p", { class: "muted" }, "The gate has refused no candidate."));
  }
  const rows = refusals.map((move) => [
    dateMinute(move.when), move.to ?? "–", move.who || "–", h("span", { class: "why" }, move.why || "–")]);
  return tablePanel("Refusals", "Candidates that the gate kept out, newest first.", ["When", "Version", "Who", "Why"],
    rows.slice(0, MOVES), { rest: rows.slice(MOVES), fold: true });
}
