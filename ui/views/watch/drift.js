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
      table: { head: ["Figure", "PSI", "Limit", "Missing", ""], rows: features.map(({ name, psi, limit, missing, breached }) => [
        name, significant(psi), limit === null ? "none" : significant(limit), percent(missing), breached ? "over the limit" : ""]) },
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
