// One prediction as a reviewer needs it: what was decided and why, and what was sent.
import { scale } from "../../charts/scores.js";
import { h } from "../../dom.js";
import { age, amount, dateTime, integer, percent, score, total, valueOf } from "../../format.js";
import { reasonsOf } from "../parts/reasons.js";
import { sampled } from "./queue.js";

const SEARCHED = 40;
const SHORT = 10;
const SOURCES = { single: "a single request", batch: "a batch", trial: "a trial, which counts nowhere" };

/**
 * @param {Object} item as GET /predictions gives it
 * @param {import("../../fields.js").Catalogue|null} catalogue
 */
export function detailOf(item, catalogue) {
  const sum = amountOf(item, catalogue);
  return [
    h("div", { class: "row" }, badges(item)),
    h("h2", { class: "sum", tabindex: "-1" }, titleOf(item, catalogue)),
    h("p", { class: "muted" }, `Received ${dateTime(item.received_at)} (${age(item.received_at)} ago) in ${SOURCES[item.source] ?? item.source}`,
      item.key_name && ` by ${item.key_name}`, item.transaction_id && ` · transaction ${item.transaction_id}`),
    item.label && h("p", { class: "muted" }, `Labelled ${item.label.label} by ${item.label.reviewer}`,
      item.label.note && `: “${item.label.note}”`),
    sampled(item) && item.review_rate !== null && h("p", { class: "notice", "data-kind": "info" },
      "Approved, and picked at random to measure how much fraud we miss."),
    item.history_partial && h("p", { class: "notice", "data-kind": "warning" },
      "The decision database was unreachable: only earlier transactions that this gateway remembered were counted."),
    scale({ score: item.hybrid_score, alert: item.alert_threshold, decline: item.decline_threshold }),
    h("dl", { class: "figures" },
      figure("Fraud probability", percent(item.fraud_probability)),
      sum !== null && figure("Expected loss", total(sum.value * item.fraud_probability, sum.unit)),
      figure("Score", score(item.hybrid_score)),
      figure("Model version", item.model_version)),
    reasons(item.reasons, catalogue),
    inputsOf(item.inputs, catalogue),
    h("p", { class: "muted small id" }, `Prediction ${item.prediction_id}`),
  ];
}

/** The amount in whole units of its currency; null where there is none. */
function amountOf({ inputs }, catalogue) {
  const field = catalogue?.withRole("amount");
  const value = inputs[field?.name];
  return typeof value === "number" ? { value: value / 10 ** (field.decimals ?? 0), unit: field.unit } : null;
}

/** What a person knows a transaction by: its amount, or else its own name. */
export function titleOf(item, catalogue) {
  const sum = amountOf(item, catalogue);
  return sum ? amount(sum.value, sum.unit) : item.transaction_id ?? `Prediction ${item.prediction_id.slice(0, 8)}`;
}

/**
 * All open alerts of one card or customer, and one label for all of them.
 * @param {Object[]} items none while they are looked for
 * @param {Object} item the one that is looked at
 * @param {{open: number, label: function(string)}} act
 */
export function caseOf(items, item, catalogue, { open, label }) {
  const entity = catalogue.withRole("entity").name;
  const whose = `${entity} ${item.inputs[entity]}`;
  if (items.length < 2) {
    return h("p", { class: "muted small" }, items.length === 0 ? `Looking for other alerts of ${whose}…` : `No other open alert of ${whose}.`);
  }
  const button = (word, key, kind) => h("button", { type: "button", class: kind, disabled: open < 2, onclick: () => label(word),
    "aria-keyshortcuts": `Shift+${key}` }, `All ${integer(open)}: ${word}`, h("kbd", {}, `⇧${key}`));
  return h("section", { class: "panel slim case", "aria-label": "Case" },
    h("p", {}, h("strong", {}, `${integer(items.length)} open alerts of ${whose}`), ": ",
      items.map((each) => titleOf(each, catalogue)).join(", ")),
    h("div", { class: "row labels-of-case" }, button("fraud", "F", "fraud"), button("legitimate", "L", "legitimate")));
}

/** All fields, those that move the score most first; many of them with a search. */
function inputsOf(inputs, catalogue) {
  const telling = catalogue?.telling.map(({ name }) => name).filter((name) => name in inputs) ?? [];
  const names = [...new Set([...telling, ...Object.keys(inputs)])];
  const entries = names.map((name) => {
    const value = inputs[name];
    const moment = catalogue?.field(name)?.type === "timestamp" && value;
    return h("div", {}, h("dt", {}, name),
      h("dd", { class: typeof value === "number" ? "number" : null }, moment ? dateTime(value) : valueOf(value, 6)));
  });
  const find = h("input", { type: "search", id: "input-search", autocomplete: "off", spellcheck: "false", oninput: () =>
    entries.forEach((entry, place) => {
      entry.hidden = !names[place].toLowerCase().includes(find.value.trim().toLowerCase());
    }) });
  return h("details", {}, h("summary", {}, "All fields"),
    names.length > SEARCHED && h("div", { class: "field find" },
      h("label", { for: "input-search" }, `Find one of ${names.length} fields`), find),
    h("dl", { class: names.some((name) => name.length > SHORT) ? "inputs wide" : "inputs" }, entries));
}

/** What was decided, and whether chance brought it here. */
export function badges(item) {
  return [
    h("span", { class: "badge", "data-decision": item.decision }, item.decision),
    sampled(item) && item.review_rate !== null && h("span", { class: "badge sample" }, "Random sample"),
    item.source === "trial" && h("span", { class: "badge" }, "Trial"),
  ];
}

function figure(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

function reasons(given, catalogue) {
  return given?.length > 0 ? reasonsOf(given, catalogue)
    : h("p", { class: "muted small" }, "No reasons were kept, and the version that decided is no longer live.");
}
