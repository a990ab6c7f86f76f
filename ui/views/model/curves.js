// Precision and recall, cost and calibration, as the card has them.
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { h } from "../../dom.js";
import { nameOf, panel } from "./card.js";
import { entryAt } from "./what_if.js";
import { integer, percent, score, short, significant, total } from "../../format.js";

const LEAST = 1e-6;
const LEAST_ALERTS = 0.1;

/** @returns {{element: HTMLElement, end: function}} */
export function curvesOf({ card, alert_threshold: alert }) {
  const costs = card.test_curve.cost_per_day.length > 0; // none without an amount
  const figures = [precisionRecall(card.test_curve), ...(costs ? [cost(card)] : []), calibration(card.calibration)];
  return {
    element: panel("Curves on test", { fold: true },
      h("p", { class: "muted small" }, `Measured on test rows, cost on rows the model had not seen. The version in use reviews from a score of ${score(alert)}.`),
      h("div", { class: "charts" }, figures.map(({ element }) => element))),
    end: () => figures.forEach((each) => each.end()),
  };
}

function precisionRecall({ recall, precision, threshold }) {
  const made = figure("Precision and recall");
  const points = recall.map((x, place) => [x, precision[place]]);
  made.show({
    note: "The further to the upper right, the better.",
    draw: (width) => line({ series: [{ kind: "first", points, step: true }] }, {
      label: `Precision falls from ${percent(precision[0])} to ${percent(precision.at(-1))} as recall rises to ${percent(recall.at(-1))}`,
      width, x: { min: 0, max: 1, label: "recall", format: share }, y: { min: 0, max: 1, format: share } }),
    table: { head: ["Threshold", "Recall", "Precision"],
      rows: points.map(([x, y], place) => [score(threshold[place]), percent(x), percent(y)]) },
  });
  return made;
}

/** Cost over alerts a day; where each threshold policy stands, as the what-if curve has it. */
function cost({ what_if: curve, policies, policy }) {
  const made = figure("Cost", [{ kind: "second", name: "policy in use" }, { kind: "calm", name: "other policies" },
    { kind: "third", name: "least cost" }]);
  const points = curve.alerts_per_day.map((x, place) => [Math.max(x, LEAST_ALERTS), curve.cost_per_day[place]]);
  const costs = curve.cost_per_day;
  const best = costs.indexOf(Math.min(...costs));
  const placed = Object.entries(policies).map(([name, { alert }]) => ({ name, at: entryAt(curve, alert) }));
  const stands = placed.sort(({ name }) => (name === policy ? 1 : -1)).map(({ name, at }) => ({
    x: points[at][0], y: costs[at], kind: name === policy ? "second" : "calm",
    name: `${nameOf(name)}: ${significant(points[at][0])} alerts, ${total(costs[at])} a day` }));
  made.show({
    note: `Of missed fraud and reviews, a day. Least, ${total(costs[best])}, at ${significant(points[best][0])} alerts a day.`,
    draw: (width) => line({ series: [{ kind: "first", points }],
      dots: [{ x: points[best][0], y: costs[best], kind: "third", name: "least cost" }, ...stands] }, {
      label: `Cost a day over alerts a day; least, ${total(costs[best])}, at ${significant(points[best][0])} alerts`,
      width, x: { min: points[0][0], max: points.at(-1)[0], log: true, label: "alerts a day" },
      y: { min: 10 ** Math.floor(Math.log10(Math.max(costs[best], 1))), max: Math.max(...costs) * 1.2, log: true, format: short } }),
    table: { head: ["Threshold", "Alerts a day", "Cost a day"],
      rows: points.map(([x, y], place) => [score(curve.threshold[place]), significant(x), total(y)]) },
  });
  return made;
}

function calibration({ predicted, observed, rows }) {
  const made = figure("Calibration", [{ kind: "first", name: "observed" }, { kind: "faint", name: "perfect" }]);
  const points = predicted.map((x, place) => [Math.max(x, LEAST), Math.max(observed[place], LEAST)]);
  const least = 10 ** Math.floor(Math.log10(Math.min(...points.flat(), 0.1)));
  const ends = { min: least, max: 1, log: true };
  made.show({
    note: "In bins of equal predicted fraud, so that the rare high scores count.",
    draw: (width) => line({ series: [
      { kind: "faint", points: [[least, least], [1, 1]] }, { kind: "first", points, dots: true }] }, {
      label: `Predicted against observed share of fraud in ${points.length} bins`,
      width, x: { ...ends, label: "predicted probability" }, y: ends }),
    table: { head: ["Predicted", "Observed", "Rows"],
      rows: predicted.map((x, place) => [percent(x), percent(observed[place]), integer(rows[place])]) },
  });
  return made;
}

function share(value) {
  return `${Math.round(value * 100)} %`;
}
