// How far each feature and the score are from what the live version was trained on.
import { bars } from "../../charts/bars.js";
import { figure } from "../../charts/figure.js";
import { h } from "../../dom.js";
import { dateTime, integer, percent, ratio } from "../../format.js";
import { overOf } from "./breaches.js";

const FEW = 18;

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
