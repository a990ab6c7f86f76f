// Precision and recall, cost and calibration, as the card has them.
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { h } from "../../dom.js";
import { integer, percent, short, significant } from "../../format.js";

const LEAST = 1e-6;

/** @returns {{element: HTMLElement, end: function}} */
export function curvesOf({ card, alert_threshold: alert }) {
  const costs = card.test_curve.cost_per_day.length > 0; // none without an amount
  const figures = [precisionRecall(card.test_curve), ...(costs ? [cost(card)] : []), calibration(card.calibration)];
  return {
    element: h("section", { class: "panel" }, h("h2", {}, "Curves on test"),
      h("p", { class: "muted small" }, `The policy in use reviews from a hybrid score of ${significant(alert)}.`),
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
      rows: points.map(([x, y], place) => [significant(threshold[place]), percent(x), percent(y)]) },
  });
  return made;
}

function cost({ test_curve: curve }) {
  const made = figure("Cost");
  const points = curve.alerts_per_day.map((x, place) => [x, curve.cost_per_day[place]]);
  const costs = curve.cost_per_day;
  const best = costs.indexOf(Math.min(...costs));
  made.show({
    note: `Missed fraud and reviews, a day. Least at ${significant(points[best][0])} alerts a day.`,
    draw: (width) => line({ series: [{ kind: "first", points }] }, {
      label: `Cost a day over alerts a day; least, ${significant(costs[best])}, at ${significant(points[best][0])} alerts`,
      width, x: { min: Math.max(points[0][0], 0.1), max: points.at(-1)[0], log: true, label: "alerts a day" },
      y: { min: 0, max: Math.max(...costs) * 1.05, format: short } }),
    table: { head: ["Threshold", "Alerts a day", "Cost a day"],
      rows: points.map(([x, y], place) => [significant(curve.threshold[place]), significant(x), significant(y)]) },
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
