// The gateway's answer to one transaction, for people; its id and the request as a command, to copy.
import { scale, scoreAxis } from "../../charts/scores.js";
import { h } from "../../dom.js";
import { amount, percent, score, significant, valueOf } from "../../format.js";
import { currentKey } from "../../keys.js";
import { notice } from "../parts/notice.js";
import { reasonsOf } from "../parts/reasons.js";

const DECISIONS = {
  APPROVE: "Let it pass.",
  REVIEW: "Someone should look at it.",
  DECLINE: "Refuse it.",
};

/** What an answer is about: the amount and the id that were sent. */
export function nameOf(prediction, body, catalogue) {
  const field = catalogue.withRole("amount");
  const sum = typeof body[field?.name] === "number" ? amount(body[field.name] / 10 ** (field.decimals ?? 0), field.unit) : null;
  const id = prediction.transaction_id ?? (prediction.prediction_id ? `prediction ${prediction.prediction_id.slice(0, 13)}…` : null);
  return [sum, id].filter(Boolean).join(", ") || "this transaction";
}

/**
 * @param {Object} prediction what POST /predict answered
 * @param {{body: Object, decline: number|null, milliseconds: number, announce: function(string), catalogue: Object,
 *   query: string}} about
 * @returns {Node[]}
 */
export function answerOf(prediction, { body, decline, milliseconds, announce, catalogue, query }) {
  return [
    h("div", { class: "verdict", "data-decision": prediction.decision },
      h("span", { class: "badge large", "data-decision": prediction.decision }, prediction.decision),
      h("span", {}, DECISIONS[prediction.decision]),
      prediction.source === "trial" && h("span", { class: "badge" }, "Trial")),
    warnings(prediction.warnings || [], body, catalogue),
    scale({ score: prediction.hybrid_score, alert: prediction.threshold_used, decline }),
    scoreAxis(prediction.threshold_used).logarithmic && h("p", { class: "muted small" }, "The scale is logarithmic."),
    h("dl", { class: "figures" },
      figure("Fraud probability", percent(prediction.fraud_probability)),
      figure("Score", score(prediction.hybrid_score)),
      figure("Model version", prediction.model_version),
      figure("Answered in", `${milliseconds.toFixed(0)} ms`)),
    prediction.history === "partial" &&
      notice("warning", "The decision database is unreachable: only earlier transactions that this gateway remembers were counted."),
    prediction.kept === "spool" && notice("warning", "The decision database is unreachable: this prediction is kept on this machine until it is back."),
    prediction.reasons?.length > 0 && reasonsOf(prediction.reasons, catalogue),
    h("section", { class: "section" }, h("h3", {}, "Prediction id"),
      prediction.prediction_id ? copyable(prediction.prediction_id, "prediction id", announce)
        : h("p", { class: "muted" }, "Not kept, as you asked.")),
    h("section", { class: "section" }, h("h3", {}, "The same with curl"), copyable(curl(body, query), "curl command", announce)),
  ];
}

function figure(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/** Beside the decision: a score of what training never saw is a guess. */
function warnings(given, body, catalogue) {
  return given.length > 0 && h("section", { class: "notice outside", "data-kind": "warning", "aria-label": "Outside the training range" },
    h("h3", {}, "Outside the training range"),
    h("p", {}, "The model has seen nothing like this; its score is less certain."),
    h("ul", { class: "plain" }, given.map((warning) => h("li", {}, warningWords(warning, body, catalogue)))));
}

function warningWords({ feature, value, minimum, maximum }, body, catalogue) {
  const given = feature in body ? body[feature] : value; // as it was sent: the model sees it with fewer digits
  const field = catalogue.field(feature);
  const shown = field?.role === "amount" ? (each) => amount(each / 10 ** (field.decimals ?? 0), field.unit)
    : (each) => (typeof each === "number" ? significant(each, 4) : valueOf(each));
  return minimum === undefined ? `${feature} = ${shown(given)}`
    : `${feature} = ${shown(given)}; training had ${shown(minimum)} to ${shown(maximum)}`;
}

/**
 * Text to take along: shown as it is, with a button that copies it.
 * @param {string} text
 * @param {string} name what it is, for the button and for screen readers
 * @param {function(string)} announce
 */
function copyable(text, name, announce) {
  const code = h("pre", { class: "copy-text", tabindex: "0", role: "region", "aria-label": name }, text);
  const button = h("button", { type: "button", class: "copy-button", "aria-label": `Copy ${name}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce(`${name} copied`);
    } catch { // plain HTTP on another machine has no clipboard
      getSelection().selectAllChildren(code);
      announce(`${name} selected; copy it with the keyboard`);
    }
  });
  return h("div", { class: "copy" }, code, button);
}

/**
 * The request as a command for a shell. The key is a variable in it, never the key itself.
 * @param {Object} body
 * @param {string} query what else was asked for
 */
function curl(body, query) {
  const address = new URL(`predict?${query}`, document.baseURI.split("#")[0]);
  return [
    `curl -sS ${inQuotes(address.href)}`,
    currentKey() && '-H "X-API-Key: $FRAUD_API_KEY"',
    "-H 'Content-Type: application/json'",
    `-d ${inQuotes(JSON.stringify(body))}`,
  ].filter(Boolean).join(" \\\n  ");
}

function inQuotes(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
