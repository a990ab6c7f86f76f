// What happens now: four charts over a window that ends now, drawn anew every few seconds.
import { fill, h } from "../dom.js";
import { dateTime, integer, percent } from "../format.js";
import { errorNotice } from "./parts/notice.js";
import { decisionCharts } from "./watch/decisions.js";
import { driftChart } from "./watch/drift.js";
import { labelChart } from "./watch/labels.js";
import { latencyChart } from "./watch/latency.js";
import { shadowPanel } from "./watch/shadow.js";

const SECONDS = 15;
const WINDOWS = { 1: "Last hour", 6: "Last 6 hours", 24: "Last 24 hours", 168: "Last 7 days", 744: "Last 31 days" };
const BUCKETS = 48;

/** Mounts the view. */
export async function mount(root, { api, status }) {
  const ending = new AbortController();
  const [decisions, latency, drift, labels] = [decisionCharts(), latencyChart(), driftChart(), labelChart()];
  const parts = [decisions, latency, drift, labels];
  const shadow = h("div", { hidden: true });
  const trouble = h("div", { class: "said" });
  const figures = h("dl", { class: "figures" });
  const read = h("span", { class: "muted small" }, "Reading…");
  const charts = h("div", { class: "view", hidden: true },
    h("section", { class: "panel", "aria-label": "In short" }, figures),
    decisions.element,
    h("div", { class: "columns" }, drift.element, h("div", { class: "view" }, latency.element, labels.element)), shadow);
  const hours = h("select", { id: "watch-hours", onchange: () => look() },
    Object.entries(WINDOWS).map(([value, name]) => h("option", { value, selected: value === "24" }, name)));
  const live = h("input", { type: "checkbox", id: "watch-live", checked: true });
  fill(root,
    h("header", {}, h("h1", {}, "Watch"),
      h("p", { class: "lead" }, "What the gateway decided lately, by when it was received.")),
    h("div", { class: "row apart" },
      h("div", { class: "row" }, h("label", { for: "watch-hours" }, "Window"), hours),
      h("div", { class: "row" }, read, h("label", { class: "row small", for: "watch-live" }, live, "Update by itself"))),
    trouble, charts);
  let turn = 0;

  async function look() {
    const mine = (turn += 1);
    try {
      const found = await api.get(`watch?hours=${hours.value}&buckets=${BUCKETS}`, { signal: ending.signal });
      if (mine !== turn) {
        return;
      }
      fill(trouble);
      charts.hidden = false;
      fill(figures, inShort(found));
      fill(read, `Read ${dateTime(found.until)}`);
      parts.forEach((part) => part.show(found));
      fill(shadow, shadowPanel(found.shadow)).hidden = found.shadow.length === 0;
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn) {
        fill(trouble, errorNotice(error));
      }
    }
  }

  const timer = setInterval(() => live.checked && !document.hidden && status.current.state !== "away" && look(), SECONDS * 1000);
  let before = status.current.state;
  const forget = status.subscribe(({ state }) => {
    if (state === "ready" && before !== "ready") {
      look();
    }
    before = state;
  });
  await look();
  return () => {
    clearInterval(timer);
    forget();
    ending.abort();
    parts.forEach((part) => part.end());
  };
}

function inShort({ rows, buckets, precision, recall, drift, sampled_rows: sample }) {
  const alerts = buckets.reduce((sum, { decisions }) => sum + decisions.REVIEW + decisions.DECLINE, 0);
  const breached = drift ? drift.features.filter((feature) => feature.breached).length : 0;
  const entries = [
    ["Decisions", integer(rows), sample < rows && `scores, latency and drift from ${integer(sample)} of them`],
    ["Alerts", integer(alerts), rows > 0 && percent(alerts / rows)],
    ["Precision", precision === null ? "–" : percent(precision), "of alerts labelled so far"],
    ["Recall", recall === null ? "–" : percent(recall), "of frauds known so far"],
    ["Drift", !drift ? "–" : drift.judged ? integer(breached) : "too few rows", drift?.judged && "figures over their limit"],
  ];
  return entries.map(([name, value, more]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value), more && h("dd", { class: "against" }, more)));
}
