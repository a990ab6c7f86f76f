// How long single predictions took inside the gateway.
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { h } from "../../dom.js";
import { significant } from "../../format.js";
import { beginning, spans, timeAxis, top } from "./window.js";

const QUANTILES = [["p50", "calm", "half of them"], ["p90", "first", "9 of 10"], ["p99", "second", "99 of 100"]];

/** @returns {{element: HTMLElement, show: function(Object), end: function}} */
export function latencyChart() {
  const made = figure("Milliseconds within which single predictions were answered",
    QUANTILES.map(([, kind, name]) => ({ kind, name })));
  return {
    element: h("section", { class: "panel" }, h("h2", {}, "Latency"), made.element),
    show(found) {
      const data = spans(found);
      const there = data.filter(({ bucket }) => bucket.latency_ms);
      made.show({
        note: there.length === 0 ? "There were no single predictions in this window." : "",
        draw: (width) => line({ series: QUANTILES.map(([name, kind]) => ({ kind, points: data.map(({ middle, bucket }) =>
          [middle, bucket.latency_ms ? bucket.latency_ms[name] : null]) })) }, {
          label: "Latency of single predictions over time: median, 90th and 99th percentile, in milliseconds", width,
          x: timeAxis(found), y: { min: 0, max: top(there.map(({ bucket }) => bucket.latency_ms.p99)) } }),
        table: { head: ["From", "Median", "90 %", "99 %"], rows: there.map(({ from, bucket: { latency_ms: ms } }) =>
          [beginning(from), ...[ms.p50, ms.p90, ms.p99].map((value) => `${significant(value)} ms`)]) },
      });
    },
    end: made.end,
  };
}
