// The charts over time: decisions and scores, response times, labels.
import { columns } from "../../charts/bars.js";
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { fill, h } from "../../dom.js";
import { dateTime, FEW, integer, part, score, short, significant } from "../../format.js";

const QUANTILES = [["p50", "calm", "median"], ["p90", "first", "p90"], ["p99", "second", "p99"]];

/** The axis of a window, with what happened in it. */
function timeAxis({ since, until, moments }) {
  return { min: Date.parse(since), max: Date.parse(until), time: true, moments };
}

/** Buckets as [{from, to, middle, bucket}], in milliseconds. */
function spans({ buckets, bucket_seconds: seconds }) {
  return buckets.map((bucket) => {
    const from = Date.parse(bucket.since);
    return { from, to: from + seconds * 1000, middle: from + seconds * 500, bucket };
  });
}

/** A number somewhat above all of these; at least 1, so that counts have whole ticks. */
function top(values) {
  return Math.max(1, ...values) * 1.08;
}

/** When a bucket begins, for a table. */
function beginning(from) {
  return dateTime(new Date(from).toISOString());
}

/**
 * Decisions and scores. Alerts have a chart of their own: among all decisions they would not be seen.
 * @returns {{element: HTMLElement, show: function(Object), end: function}}
 */
export function decisionCharts() {
  const all = figure("All decisions");
  const alerts = figure("Alerts", [{ kind: "second", name: "review" }, { kind: "third", name: "decline" }]);
  const scores = figure("Scores", QUANTILES.map(([, kind, name]) => ({ kind, name })));
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
  const thresholds = [["review", alert, "second"], ["decline", decline, "third"]]
    .filter(([, value]) => value !== null && value <= 1);
  made.show({
    empty: values.length === 0,
    draw: (width) => line({
      series: QUANTILES.map(([name, kind]) => ({ kind, points: data.map(({ middle, bucket }) =>
        [middle, bucket.score ? Math.max(bucket.score[name], least) : null]) })),
      marks: thresholds.map(([name, y, kind]) => ({ y, kind, name })),
    }, { label: "Scores over time: median, 90th and 99th percentile, with the thresholds", width, height: 180,
      x: timeAxis(found), y: axis }),
    table: { head: ["From", "Median", "p90", "p99"], rows: data.filter(({ bucket }) => bucket.score)
      .map(({ from, bucket: { score: of } }) => [beginning(from), ...[of.p50, of.p90, of.p99].map(score)]) },
  });
}

/**
 * How long single predictions took inside the gateway.
 * @returns {{element: HTMLElement, show: function(Object), end: function}}
 */
export function latencyChart() {
  const made = figure("Response time (ms)",
    QUANTILES.map(([, kind, name]) => ({ kind, name })));
  return {
    element: h("section", { class: "panel" }, h("h2", {}, "Response time"), made.element),
    show(found) {
      const data = spans(found);
      const there = data.filter(({ bucket }) => bucket.latency_ms);
      made.show({
        note: there.length === 0 ? "There were no single predictions in this window." : "Of single predictions, inside the gateway.",
        empty: there.length === 0,
        draw: (width) => line({ series: QUANTILES.map(([name, kind]) => ({ kind, points: data.map(({ middle, bucket }) =>
          [middle, bucket.latency_ms ? bucket.latency_ms[name] : null]) })) }, {
          label: "Response time of single predictions over time: median, 90th and 99th percentile, in milliseconds", width,
          x: timeAxis(found), y: { min: 0, max: top(there.map(({ bucket }) => bucket.latency_ms.p99)) } }),
        table: { head: ["From", "Median", "p90", "p99"], rows: there.map(({ from, bucket: { latency_ms: ms } }) =>
          [beginning(from), ...[ms.p50, ms.p90, ms.p99].map((value) => `${significant(value)} ms`)]) },
      });
    },
    end: made.end,
  };
}

/**
 * How much of it is labelled by now, and what the labels say.
 * @returns {{element: HTMLElement, show: function(Object), end: function}}
 */
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
        entry("Alerts labelled", alerts === 0 ? "–" : part(Math.min(labelled, alerts), alerts),
          alerts < FEW ? "" : `${integer(labelled)} of ${integer(alerts)}`),
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
