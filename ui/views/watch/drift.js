// How far each feature and the score are from what the live version was trained on.
import { bars } from "../../charts/bars.js";
import { figure } from "../../charts/figure.js";
import { h } from "../../dom.js";
import { integer, percent, significant } from "../../format.js";

const FEW = 18;

/** @returns {{element: HTMLElement, show: function(Object), end: function}} */
export function driftChart() {
  const made = figure("Population stability index", [
    { kind: "calm", name: "within" }, { kind: "third", name: "over the limit" }, { kind: "limit", name: "limit" }]);
  const button = h("button", { type: "button", "aria-expanded": "false" });
  let all = false;
  let found = null;
  button.addEventListener("click", () => {
    all = !all;
    show();
  });

  function show() {
    const features = found.drift ? found.drift.features : [];
    const shown = all ? features : features.slice(0, FEW);
    button.hidden = features.length <= FEW;
    button.textContent = all ? "Show the furthest only" : `Show all ${features.length}`;
    button.setAttribute("aria-expanded", String(all));
    made.show({
      note: noteOf(found),
      draw: (width) => bars(shown.map(({ name, psi, limit, breached }) => ({
        name, value: psi, limit, kind: breached ? "third" : "calm", text: significant(psi, 2) })), {
        label: shown.length === 0 ? "No drift figures" : `Drift by feature, the furthest first: ${
          shown.slice(0, 3).map(({ name, psi }) => `${name} ${significant(psi, 2)}`).join(", ")}`, width }),
      table: { head: ["Figure", "PSI", "Limit", "Missing", "Other", ""], rows: features.map((feature) => [
        feature.name, significant(feature.psi), feature.limit === null ? "none" : significant(feature.limit),
        feature.missing === null ? "–" : share(feature.missing, feature.missing_limit),
        feature.other === null ? "–" : share(feature.other, feature.other_limit),
        overOf(feature)]) },
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

/** Which figures of a feature are over their limits. */
function overOf({ breached, psi, limit, missing, missing_limit: most, other, other_limit: strangest }) {
  const over = [["PSI", psi > limit], ["missing", missing > most], ["other", other !== null && other > strangest]]
    .filter(([, is]) => is).map(([name]) => name);
  return !breached ? "" : `${over.length === 1 && over[0] === "PSI" ? "" : `${over.join(" and ")} `}over the limit`;
}

function noteOf({ drift, model_version: version }) {
  if (!drift) {
    return "The live version decided nothing in this window.";
  }
  const rows = `Version ${version} against its training rows, hour by hour, on ${integer(drift.rows)} rows.`;
  if (drift.features[0].limit === null) {
    return `${rows} Its card has no limits.`;
  }
  return drift.judged ? rows : `${rows} Too few to be judged.`;
}
