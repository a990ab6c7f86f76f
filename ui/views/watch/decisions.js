// Decisions and scores over time. Alerts have a chart of their own: among all decisions nobody would see them.
import { columns } from "../../charts/columns.js";
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { h } from "../../dom.js";
import { integer, score, short } from "../../format.js";
import { beginning, spans, timeAxis, top } from "./window.js";

const QUANTILES = [["p50", "calm", "median"], ["p90", "first", "p90"], ["p99", "second", "p99"]];
const CLOSE = 0.12;

/** @returns {{element: HTMLElement, show: function(Object), end: function}} */
export function decisionCharts() {
  const all = figure("All decisions");
  const alerts = figure("Alerts", [{ kind: "second", name: "review" }, { kind: "third", name: "decline" }]);
  const scores = figure("Scores", [...QUANTILES.map(([, kind, name]) => ({ kind, name })), { kind: "faint", name: "thresholds (dashed)" }]);
  return {
    element: h("section", { class: "panel" }, h("h2", {}, "Decisions and scores"),
      h("div", { class: "charts" }, all.element, alerts.element, scores.element)),
    show(found) {
      showAll(all, found);
      showAlerts(alerts, found);
      showScores(scores, found);
    },
    end: () => [all, alerts, scores].forEach((each) => each.end()),
  };
}

function showAll(made, found) {
  const data = spans(found).map(({ from, to, bucket: { decisions } }) =>
    ({ from, to, value: decisions.APPROVE + decisions.REVIEW + decisions.DECLINE }));
  made.show({
    empty: found.rows === 0,
    draw: (width) => columns(data.map(({ from, to, value }) => ({ from, to, parts: [{ kind: "calm", value }] })), {
      label: `${integer(found.rows)} decisions over time`, width, height: 180,
      x: timeAxis(found), y: { min: 0, max: top(data.map(({ value }) => value)), whole: true, format: short } }),
    table: { head: ["From", "Decisions"], rows: data.map(({ from, value }) => [beginning(from), integer(value)]) },
  });
}

function showAlerts(made, found) {
  const data = spans(found).map(({ from, to, bucket: { decisions } }) => ({ from, to, decisions }));
  const sum = (name) => data.reduce((total, { decisions }) => total + decisions[name], 0);
  const tallest = data.map(({ decisions }) => decisions.REVIEW + decisions.DECLINE);
  made.show({
    empty: sum("REVIEW") + sum("DECLINE") === 0,
    draw: (width) => columns(data.map(({ from, to, decisions }) => ({ from, to, parts: [
      { kind: "second", value: decisions.REVIEW }, { kind: "third", value: decisions.DECLINE }] })), {
      label: `${integer(sum("REVIEW"))} for review and ${integer(sum("DECLINE"))} declined over time`, width, height: 180,
      x: timeAxis(found), y: { min: 0, max: top(tallest), whole: true, format: short } }),
    table: { head: ["From", "Review", "Decline"],
      rows: data.map(({ from, decisions }) => [beginning(from), integer(decisions.REVIEW), integer(decisions.DECLINE)]) },
  });
}

function showScores(made, found) {
  const data = spans(found);
  const values = data.flatMap(({ bucket }) => (bucket.score ? Object.values(bucket.score) : []));
  const { alert_threshold: alert, decline_threshold: decline } = found;
  const least = Math.max(1e-7, Math.min(alert ?? 1, 0.1, ...values.filter((value) => value > 0)));
  const axis = { min: 10 ** Math.floor(Math.log10(least)), max: 2, log: true, format: (value) => score(value).replace(/\.?0+$/, "") || "0" };
  const apart = alert !== null && decline !== null && decline <= 1
    && Math.log10(decline / alert) / Math.log10(axis.max / axis.min) < CLOSE;
  const thresholds = [["review", alert, "second", apart], ["decline", decline, "third", false]]
    .filter(([, value]) => value !== null && value <= 1);
  made.show({
    empty: values.length === 0,
    draw: (width) => line({
      series: QUANTILES.map(([name, kind]) => ({ kind, points: data.map(({ middle, bucket }) =>
        [middle, bucket.score ? Math.max(bucket.score[name], least) : null]) })),
      marks: thresholds.map(([name, y, kind, below]) => ({ y, kind, name, below })),
    }, { label: "Scores over time: median, 90th and 99th percentile, with the thresholds", width, height: 180,
      x: timeAxis(found), y: axis }),
    table: { head: ["From", "Median", "p90", "p99"], rows: data.filter(({ bucket }) => bucket.score)
      .map(({ from, bucket: { score: of } }) => [beginning(from), ...[of.p50, of.p90, of.p99].map(score)]) },
  });
}
