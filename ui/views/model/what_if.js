// What another alert threshold would do, read off the curve of scores that the shipped thresholds were read off, too.
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { fill, h } from "../../dom.js";
import { percent, score, significant, total } from "../../format.js";

/** The last entry at or above a threshold; 0 where nothing would raise an alert. */
export function entryAt(curve, threshold) {
  const at = curve.threshold.findLastIndex((value) => value >= threshold * (1 - 1e-6));
  return Math.max(at, 0);
}

/** @returns {{element: HTMLElement, end: function}} */
export function whatIf({ card, alert_threshold: alert }) {
  const curve = card.what_if;
  const costs = curve.cost_per_day.length > 0; // none without an amount
  const inUse = entryAt(curve, alert);
  const slider = h("input", { type: "range", id: "what-if", min: 0, max: curve.threshold.length - 1, step: 1, value: inUse });
  const values = h("dl", { class: "figures" });
  const reset = h("button", { type: "button" }, "Back to the current threshold");
  const chart = figure("Recall and precision over alerts a day",
    [{ kind: "first", name: "recall" }, { kind: "second", name: "precision" }, { kind: "faint", name: "current" }]);
  slider.addEventListener("input", show);
  reset.addEventListener("click", () => {
    slider.value = inUse;
    show();
  });

  function show() {
    const at = Number(slider.value);
    const threshold = score(at === inUse ? alert : curve.threshold[at]); // the curve has the next score above the one in use
    const words = `threshold ${threshold}: ${significant(curve.alerts_per_day[at])} alerts a day`;
    slider.setAttribute("aria-valuetext", words);
    reset.disabled = at === inUse;
    fill(values,
      entry("Threshold", threshold, ""),
      entry("Alerts a day", significant(curve.alerts_per_day[at]), change("alerts_per_day", at, significant)),
      entry("Recall", percent(curve.recall[at]), change("recall", at, points)),
      entry("Precision", percent(curve.precision[at]), change("precision", at, points)),
      costs && entry("Cost a day", total(curve.cost_per_day[at]), change("cost_per_day", at, total)),
      entry("False positives", percent(curve.false_positive_rate[at]), ""));
    chart.show({ draw: (width) => draw(width, at), table });
  }

  function change(name, at, format) {
    const by = curve[name][at] - curve[name][inUse];
    return at === inUse || by === 0 ? "same as current" : `${by > 0 ? "+" : "−"}${format(Math.abs(by))} vs current`;
  }

  function draw(width, at) {
    const alerts = curve.alerts_per_day.map((value) => Math.max(value, 0.01));
    const of = (name) => alerts.map((x, place) => [x, curve[name][place]]);
    const x = { min: alerts[0], max: alerts.at(-1), log: true, label: "alerts a day" };
    const y = { min: 0, max: 1, format: (value) => `${Math.round(value * 100)} %` };
    const options = { label: `Recall ${percent(curve.recall[at])} and precision ${percent(curve.precision[at])} at ${
      significant(alerts[at])} alerts a day`, width, x, y };
    return line({ series: [{ kind: "first", points: of("recall") }, { kind: "second", points: of("precision") }],
      marks: [{ x: alerts[inUse], kind: "faint" }],
      dots: [{ x: alerts[at], y: curve.recall[at], kind: "first" }, { x: alerts[at], y: curve.precision[at], kind: "second" }],
    }, options);
  }

  const table = { head: ["Threshold", "Alerts a day", "Recall", "Precision", ...(costs ? ["Cost a day"] : [])],
    rows: curve.threshold.map((value, place) => [score(value), significant(curve.alerts_per_day[place]),
      percent(curve.recall[place]), percent(curve.precision[place]), ...(costs ? [total(curve.cost_per_day[place])] : [])]) };
  show();
  return {
    element: h("section", { class: "panel" }, h("h2", {}, "What if the threshold were different?"),
      h("p", { class: "muted small" }, "On rows the model had not seen. Moving the slider changes nothing; ",
        h("code", {}, "python -m pipelines policy set"), " promotes a new threshold."),
      h("div", { class: "field" }, h("label", { for: "what-if" }, "Alert threshold: fewer alerts to the left, more to the right"), slider),
      values, h("div", { class: "row" }, reset), chart.element),
    end: chart.end,
  };
}

function points(value) {
  return `${significant(value * 100)} pts`;
}

function entry(name, value, more) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value), more && h("dd", { class: "against" }, more));
}
