// How long single predictions took inside the gateway.
import { figure } from "../../charts/figure.js";
import { line } from "../../charts/line.js";
import { h } from "../../dom.js";
import { significant } from "../../format.js";
import { beginning, spans, timeAxis, top } from "./window.js";

const QUANTILES = [["p50", "calm", "median"], ["p90", "first", "p90"], ["p99", "second", "p99"]];

/** @returns {{element: HTMLElement, show: function(Object), end: function}} */
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
