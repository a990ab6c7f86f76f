// How much of it is labelled by now, and what the labels say.
import { columns } from "../../charts/columns.js";
import { figure } from "../../charts/figure.js";
import { fill, h } from "../../dom.js";
import { integer, part, significant } from "../../format.js";
import { beginning, spans, timeAxis, top } from "./window.js";

/** @returns {{element: HTMLElement, show: function(Object), end: function}} */
export function labelChart() {
  const made = figure("Alerts by outcome", [
    { kind: "third", name: "fraud" }, { kind: "known", name: "legitimate" }, { kind: "calm", name: "not labelled yet" }]);
  const words = h("dl", { class: "figures" });
  const sample = h("p", { class: "muted small" });
  return {
    element: h("section", { class: "panel" }, h("h2", {}, "Labels"), words, made.element, sample),
    show(found) {
      const data = spans(found).map(({ from, to, bucket: { decisions, labels } }) =>
        ({ from, to, alerts: decisions.REVIEW + decisions.DECLINE, ...labels }));
      const sum = (name) => data.reduce((total, each) => total + each[name], 0);
      const [alerts, labelled] = [sum("alerts"), sum("alerts_labelled")];
      const known = sum("alerts_fraud") + sum("approved_fraud");
      fill(words,
        entry("Alerts labelled", alerts === 0 ? "–" : part(Math.min(labelled, alerts), alerts), `${integer(labelled)} of ${integer(alerts)}`),
        entry("Precision", labelled === 0 ? "–" : part(sum("alerts_fraud"), labelled), `${integer(sum("alerts_fraud"))} were fraud`),
        entry("Recall", known === 0 ? "–" : part(sum("alerts_fraud"), known), `${integer(sum("approved_fraud"))} known to be missed`));
      fill(sample, sampleWords(found.review_sample));
      made.show({
        note: "Labels arrive late: recent days look better than they are.",
        empty: alerts === 0,
        draw: (width) => columns(data.map(({ from, to, alerts: all, alerts_fraud: fraud, alerts_labelled: known }) => ({
          from, to, parts: [{ kind: "third", value: fraud }, { kind: "known", value: known - fraud },
            { kind: "calm", value: Math.max(0, all - known) }] })), {
          label: `${integer(labelled)} of ${integer(alerts)} alerts are labelled, ${integer(sum("alerts_fraud"))} as fraud`,
          width, x: timeAxis(found), y: { min: 0, max: top(data.map(({ alerts: all }) => all)), whole: true } }),
        table: { head: ["From", "Alerts", "Labelled", "Fraud", "Missed frauds known"], rows: data.map((each) =>
          [beginning(each.from), ...[each.alerts, each.alerts_labelled, each.alerts_fraud, each.approved_fraud].map(integer)]) },
      });
    },
    end: made.end,
  };
}

function sampleWords({ drawn, labelled, frauds, missed_frauds: missed }) {
  const start = `${integer(drawn)} approvals were picked at random for review; ${integer(labelled)} of them are labelled`;
  if (missed === null || frauds === 0) {
    return missed === null ? `${start}.` : `${start}, none as fraud.`;
  }
  return `${start}, ${integer(frauds)} as fraud. That suggests about ${significant(missed, 2)} missed frauds among all approvals.`;
}

function entry(name, value, more) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "against" }, more));
}
