// What is compared: features with their limits, what is over one, and a challenger beside the version that answers.
import { bars } from "../../charts/bars.js";
import { figure } from "../../charts/figure.js";
import { h } from "../../dom.js";
import { dateTime, integer, part, percent, ratio } from "../../format.js";
import { table } from "../model/card.js";

const FEW = 18;
const SHARES = { alerts: "alert share", declines: "decline share" };

/** @returns {{element: HTMLElement, show: function(Object), end: function}} */
export function driftChart() {
  const made = figure("Population stability index", [
    { kind: "calm", name: "within limits" }, { kind: "third", name: "breach" }, { kind: "limit", name: "limit of the PSI" }]);
  const button = h("button", { type: "button", "aria-expanded": "false" });
  let all = false;
  let found = null;
  button.addEventListener("click", () => {
    all = !all;
    show();
  });

  function show() {
    const { drift } = found;
    const features = drift ? drift.features : [];
    const shown = all ? features : features.slice(0, FEW);
    button.hidden = features.length <= FEW;
    button.textContent = all ? "Show fewer" : `Show all ${features.length}`;
    button.setAttribute("aria-expanded", String(all));
    made.show({
      note: noteOf(found),
      empty: features.length === 0,
      draw: (width) => bars(shown.map(({ name, psi, limit, breached }) => ({
        name, value: psi, limit, kind: breached ? "third" : "calm", text: ratio(psi) })), {
        label: shown.length === 0 ? "No drift figures" : `Drift by feature, the furthest first: ${
          shown.slice(0, 3).map(({ name, psi }) => `${name} ${ratio(psi)}`).join(", ")}`, width }),
      table: { head: ["Feature", "PSI", "Limit", "KS", "Limit", "Out of range", "Missing", "Other", "Verdict", "Since"], rows: features.map((feature) => [
        feature.name, ratio(feature.psi), feature.limit === null ? "none" : ratio(feature.limit),
        ratio(feature.ks), feature.ks_limit === null ? "none" : ratio(feature.ks_limit),
        feature.out_of_range === null ? "–" : share(feature.out_of_range, feature.out_of_range_limit),
        feature.missing === null ? "–" : share(feature.missing, feature.missing_limit),
        feature.other === null ? "–" : share(feature.other, feature.other_limit),
        feature.breached ? `breach: ${overOf(feature).map(([name]) => name).join(", ")}` : drift?.judged ? "ok" : "too few rows",
        feature.since ? dateTime(feature.since) : ""]) },
    });
  }

  return {
    element: h("section", { class: "panel" }, h("h2", {}, "Drift"), made.element, h("div", { class: "row" }, button)),
    show(next) {
      found = next;
      show();
    },
    end: made.end,
  };
}

/** A share with its limit, where it has reached half of it. */
function share(value, limit) {
  return limit !== null && value > limit / 2 ? `${percent(value)} (limit ${percent(limit)})` : percent(value);
}

function noteOf({ drift, model_version: version }) {
  if (!drift) {
    return "The live version has decided nothing in this window.";
  }
  const rows = `Version ${version} against its training rows, hour by hour, on ${integer(drift.rows)} rows. A breach may be of the PSI, KS, range, missing or unknown values: see the table.`;
  if (drift.features[0].limit === null) {
    return `${rows} Its card has no limits.`;
  }
  return drift.judged ? rows : `${rows} Too few rows to be judged.`;
}

/** @returns {{name: string, words: string}[]} breaches, shares of decisions first */
export function breachesOf({ shares, drift }) {
  return [
    ...shares.filter(({ breached }) => breached).map((share) => ({ name: share.name, words: shareWords(share) })),
    ...(drift?.features ?? []).filter(({ breached }) => breached).flatMap(featureBreaches),
  ];
}

/** "alert share 1.4 %, limit 0.8 %" */
function shareWords({ name, value, low, high }) {
  return `${SHARES[name]} ${percent(value)} ${limitWords(value > high ? `≤ ${percent(high)}` : `≥ ${percent(low)}`)}`;
}

/** A limit in brackets, which no line breaks. */
function limitWords(limit) {
  return `(limit ${limit})`.replaceAll(" ", "\u00a0");
}

/** Which figures of a feature are beyond their limits. */
function overOf(feature) {
  return [
    ["PSI", feature.psi, feature.limit, ratio],
    ["KS", feature.ks, feature.ks_limit, ratio],
    ["out of range", feature.out_of_range, feature.out_of_range_limit, percent],
    ["missing", feature.missing, feature.missing_limit, percent],
    ["other", feature.other, feature.other_limit, percent],
  ].filter(([, value, limit]) => limit !== null && value > limit);
}

function featureBreaches(feature) {
  return overOf(feature).map(([figure, value, limit, format]) => ({
    name: feature.name, words: `${figure} of ${feature.name} ${format(value)} ${limitWords(`≤ ${format(limit)}`)}`,
  }));
}

/** @param {Object[]} shadow what /watch says of challengers */
export function shadowPanel(shadow) {
  const title = "Challenger beside the champion";
  return h("section", { class: "panel", "aria-label": title }, h("h2", {}, title),
    h("p", { class: "muted small" }, "Only the champion’s decisions counted. Outcomes are of the transactions that are labelled by now."),
    shadow.map((each) => {
      const { model_version: version, alerts_both: both, alerts_champion_only: mine, alerts_challenger_only: other } = each;
      return [
        h("p", {}, h("strong", {}, `Version ${version}`), ` scored ${integer(each.rows)} transactions that the champion answered; both made the same decision on ${
          percent(each.agree / each.rows)}.`),
        table(`Version ${version}`, ["What", "Champion", "Challenger"], [
          ["Alerts", integer(both + mine), integer(both + other)],
          ["Alerts that only it raised", integer(mine), integer(other)],
          ["Frauds caught", caught(each.frauds_champion, each), caught(each.frauds_challenger, each)],
          ["False alarms", integer(each.false_alarms_champion), integer(each.false_alarms_challenger)]]),
      ];
    }));
}

function caught(count, { frauds }) {
  return frauds === 0 ? "no labels yet" : frauds < 20 ? part(count, frauds) : `${part(count, frauds)} of ${integer(frauds)}`;
}
