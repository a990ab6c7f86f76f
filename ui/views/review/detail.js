// One prediction as a reviewer needs it: what was decided and why, and what was sent.
import { scale } from "../../charts/scale.js";
import { h } from "../../dom.js";
import { amount, dateTime, percent, significant, valueOf } from "../../format.js";
import { reasonsOf } from "../parts/reasons.js";
import { sampled } from "./queue.js";

const SEARCHED = 40;
const SHORT = 10;

/**
 * @param {Object} item as GET /predictions gives it
 * @param {import("../../fields.js").Catalogue|null} catalogue
 */
export function detailOf(item, catalogue) {
  return [
    h("div", { class: "row" }, badges(item)),
    h("h2", { class: "sum", tabindex: "-1" }, titleOf(item, catalogue)),
    h("p", { class: "muted" }, `Received ${dateTime(item.received_at)}`,
      item.transaction_id && ` · transaction ${item.transaction_id}`),
    sampled(item) && h("p", { class: "notice", "data-kind": "info" },
      "It was approved, and is here by chance: labels of alerts alone would say nothing of frauds that were let through."),
    item.history_partial && h("p", { class: "notice", "data-kind": "warning" },
      "The decision database was away: of earlier transactions only those that one gateway remembered counted."),
    scale({ score: item.hybrid_score, alert: item.alert_threshold, decline: item.decline_threshold }),
    h("dl", { class: "figures" },
      figure("Fraud probability", percent(item.fraud_probability)),
      figure("Hybrid score", significant(item.hybrid_score)),
      figure("Model version", item.model_version)),
    reasons(item.reasons),
    inputsOf(item.inputs, catalogue),
    h("p", { class: "muted small id" }, `Prediction ${item.prediction_id}`),
  ];
}

/** What a person knows a transaction by: its amount, or else its own name. */
export function titleOf({ inputs, transaction_id: name, prediction_id: id }, catalogue) {
  const field = catalogue?.withRole("amount");
  const value = inputs[field?.name];
  return typeof value === "number" ? amount(value / 10 ** (field.decimals ?? 0), field.unit) : name ?? `Prediction ${id.slice(0, 8)}`;
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
  return h("details", {}, h("summary", {}, "All that was sent"),
    names.length > SEARCHED && h("div", { class: "field find" },
      h("label", { for: "input-search" }, `Find one of ${names.length} fields`), find),
    h("dl", { class: names.some((name) => name.length > SHORT) ? "inputs wide" : "inputs" }, entries));
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
  return given?.length > 0 ? reasonsOf(given)
    : h("p", { class: "muted small" }, "The version that decided is not live any more, and no reasons were kept.");
}
