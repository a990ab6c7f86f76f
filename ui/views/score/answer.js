// The gateway's answer to one transaction, for people.
import { scoreAxis } from "../../charts/axis.js";
import { scale } from "../../charts/scale.js";
import { h } from "../../dom.js";
import { percent, significant, valueOf } from "../../format.js";
import { copyable } from "../parts/copy.js";
import { notice } from "../parts/notice.js";
import { reasonsOf } from "../parts/reasons.js";
import { curl } from "./curl.js";

const DECISIONS = {
  APPROVE: "Let it pass.",
  REVIEW: "A person should look at it.",
  DECLINE: "Refuse it.",
};

/**
 * @param {Object} prediction what POST /predict answered
 * @param {{body: Object, decline: number|null, milliseconds: number, announce: function(string)}} about
 * @returns {Node[]}
 */
export function answerOf(prediction, { body, decline, milliseconds, announce }) {
  return [
    h("div", { class: "verdict", "data-decision": prediction.decision },
      h("span", { class: "badge large", "data-decision": prediction.decision }, prediction.decision),
      h("span", {}, DECISIONS[prediction.decision])),
    scale({ score: prediction.hybrid_score, alert: prediction.threshold_used, decline }),
    scoreAxis(prediction.threshold_used).logarithmic && h("p", { class: "muted small" }, "The scale is logarithmic."),
    h("dl", { class: "figures" },
      figure("Fraud probability", percent(prediction.fraud_probability)),
      figure("Hybrid score", significant(prediction.hybrid_score)),
      figure("Model version", prediction.model_version),
      figure("Answered in", `${milliseconds.toFixed(0)} ms`)),
    prediction.history === "partial" &&
      notice("warning", "The decision database is away: of earlier transactions only those that this gateway remembers count."),
    prediction.kept === "spool" && notice("warning", "The decision database is away: this prediction waits in the spool."),
    prediction.reasons?.length > 0 && reasonsOf(prediction.reasons),
    warnings(prediction.warnings || []),
    h("section", { class: "section" }, h("h3", {}, "Prediction id"),
      copyable(prediction.prediction_id, "prediction id", announce)),
    h("section", { class: "section" }, h("h3", {}, "The same by curl"), copyable(curl(body), "curl command", announce)),
  ];
}

function figure(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

function warnings(given) {
  return given.length > 0 && h("section", { class: "section" },
    h("h3", {}, "Never seen in training"),
    h("ul", { class: "plain" }, given.map(({ feature, value, minimum, maximum }) => h("li", {},
      minimum === undefined ? `${feature} = ${valueOf(value)}`
        : `${feature} = ${valueOf(value)}; training had ${significant(minimum, 4)} to ${significant(maximum, 4)}`))));
}
