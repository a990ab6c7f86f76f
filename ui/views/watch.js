// Live traffic: charts over a window that ends now, drawn anew every few seconds.
import { fill, h } from "../dom.js";
import { dateTime, integer, part, percent } from "../format.js";
import { errorNotice } from "./parts/notice.js";
import { redrawn } from "./parts/redraw.js";
import { breachesOf, driftChart, shadowPanel } from "./watch/drift.js";
import { decisionCharts, labelChart, latencyChart } from "./watch/charts.js";

const WINDOWS = { 1: "Last hour", 6: "Last 6 hours", 24: "Last 24 hours", 168: "Last 7 days", 744: "Last 31 days" };
const BUCKETS = 48;
const KINDS = { promote: "version", rollback: "rolled back to", policy: "policy in", outside: "version" };

/** Mounts the view. */
export async function mount(root, { api, status }) {
  const ending = new AbortController();
  const [decisions, latency, drift, labels] = [decisionCharts(), latencyChart(), driftChart(), labelChart()];
  const parts = [decisions, latency, drift, labels];
  const shadow = h("div", { hidden: true });
  const trouble = h("div", { class: "said" });
  const figures = h("dl", { class: "figures" });
  const breaches = h("div", { class: "said" });
  const read = h("span", { class: "muted small" }, "Loading…");
  const charts = h("div", { class: "view", hidden: true },
    h("section", { class: "panel", "aria-label": "In short" }, figures, breaches),
    decisions.element,
    h("div", { class: "columns" }, drift.element, h("div", { class: "view" }, latency.element, labels.element)), shadow);
  const hours = h("select", { id: "watch-hours", onchange: () => look() },
    Object.entries(WINDOWS).map(([value, name]) => h("option", { value, selected: value === "24" }, name)));
  const live = h("input", { type: "checkbox", id: "watch-live", checked: true });
  fill(root,
    h("header", {}, h("h1", {}, "Live traffic"),
      h("p", { class: "lead" }, "What the gateway decided, by when it was received. Trials are left out.")),
    h("div", { class: "row apart" },
      h("div", { class: "row" }, h("label", { for: "watch-hours" }, "Window"), hours),
      h("div", { class: "row" }, read, h("label", { class: "row small", for: "watch-live" }, live, "Refresh automatically"))),
    trouble, charts);
  let turn = 0;

  async function look() {
    const mine = (turn += 1);
    try {
      const found = await api.get(`watch?hours=${hours.value}&buckets=${BUCKETS}`, { signal: ending.signal });
      const history = await api.get("model/history", { signal: ending.signal, quiet: true }).catch(() => ({ moves: [] }));
      if (mine !== turn) {
        return;
      }
      found.moments = momentsOf(found, history);
      fill(trouble);
      charts.hidden = false;
      fill(figures, inShort(found));
      fill(breaches, breachWords(found));
      fill(read, `Updated ${dateTime(found.until)}`);
      parts.forEach((each) => each.show(found));
      fill(shadow, shadowPanel(found.shadow)).hidden = found.shadow.length === 0;
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn) {
        fill(trouble, errorNotice(error));
        if (charts.hidden) {
          fill(read);
        }
      }
    }
  }

  const end = await redrawn(look, status, () => live.checked);
  return () => {
    end();
    ending.abort();
    parts.forEach((each) => each.end());
  };
}

/** Lines that every chart over time bears: promotions, and where drift began. */
function momentsOf({ since, drift }, { moves }) {
  const promotions = moves.filter(({ when, outcome }) => outcome !== "undone" && Date.parse(when) >= Date.parse(since))
    .map(({ when, kind, to }) => ({ x: Date.parse(when), kind: "first", name: `${KINDS[kind] ?? "version"} ${to ?? "none"}` }));
  const begun = (drift?.features ?? []).filter((feature) => feature.since).map((feature) => Date.parse(feature.since));
  return begun.length > 0 ? [...promotions, { x: Math.min(...begun), kind: "third", name: "drift starts" }] : promotions;
}

function inShort(found) {
  const { rows, buckets, drift, shares, sampled_rows: sample } = found;
  const sum = (name) => buckets.reduce((total, { labels }) => total + labels[name], 0);
  const alerts = buckets.reduce((total, { decisions }) => total + decisions.REVIEW + decisions.DECLINE, 0);
  const over = drift ? drift.features.filter((feature) => feature.breached).length : 0;
  const share = shares.find(({ name }) => name === "alerts");
  const [labelled, fraud, missed] = [sum("alerts_labelled"), sum("alerts_fraud"), sum("approved_fraud")];
  const entries = [
    ["Decisions", integer(rows), sample < rows && `scores, response times and drift from a sample of ${integer(sample)}`],
    ["Alerts", integer(alerts), rows > 0 && [percent(alerts / rows), share?.baseline && `, ${percent(share.baseline)} expected`],
      share?.breached && "breach"],
    ["Precision", labelled === 0 ? "–" : part(fraud, labelled),
      labelled === 0 ? "no alert is labelled yet" : `${integer(fraud)} of ${integer(labelled)} labelled alerts were fraud`],
    ["Recall", fraud + missed === 0 ? "–" : part(fraud, fraud + missed),
      fraud + missed === 0 ? "no fraud is known yet" : `${integer(fraud)} of ${integer(fraud + missed)} known frauds raised an alert`],
    ["Drift", !drift ? "–" : drift.judged ? integer(over) : "too few rows",
      drift?.judged && `of ${integer(drift.features.length)} features over a limit`, over > 0 && "breach"],
  ];
  return entries.map(([name, value, more, breach]) => h("div", { "data-breach": breach || null }, h("dt", {}, name),
    h("dd", {}, value, breach && [" ", h("span", { class: "badge", "data-decision": "DECLINE" }, breach)]),
    more && h("dd", { class: "against" }, more)));
}

function breachWords(found) {
  const all = breachesOf(found);
  const waiting = found.shares.some(({ judged, low }) => !judged && low !== null);
  if (all.length === 0) {
    return waiting && h("p", { class: "muted small" }, "Shares of alerts and declines are judged over a day and enough rows.");
  }
  return h("details", { class: "notice", "data-kind": "error" }, h("summary", {}, `${integer(all.length)} ${all.length === 1 ? "breach" : "breaches"}: ${all[0].words}`),
    h("ul", {}, all.map(({ words }) => h("li", {}, words))));
}
