// The queue as dense rows: one is in the order of the tab key, the arrow keys move from there.
import { h } from "../../dom.js";
import { age, percent } from "../../format.js";
import { titleOf } from "./detail.js";
import { sampled } from "./queue.js";

const LETTERS = { APPROVE: "sample", REVIEW: "review", DECLINE: "decline" };
const MARKS = { waiting: "✓", saving: "✓", saved: "✓ saved", "not saved": "! not saved" };

/**
 * @param {Object[]} items
 * @param {function(Object): {label: string, state: string}|undefined} saidOf what was said of an item in this visit
 * @param {Set} skipped prediction ids
 * @param {number} current place of the one that is looked at; -1 where none is
 * @param {{choose: function(number), catalogue: Object|null, elsewhere: function(Object): boolean}} about elsewhere: whether
 *   another reviewer has an item open
 */
export function listOf(items, saidOf, skipped, current, { choose, catalogue, elsewhere }) {
  const entity = catalogue?.withRole("entity")?.name;
  const list = h("ol", { class: "queue", "aria-label": "Transactions" }, items.map((item, place) => {
    const said = saidOf(item);
    const held = !said && elsewhere(item);
    const before = items[place - 1];
    const together = entity && before && item.inputs[entity] && item.inputs[entity] === before.inputs[entity];
    return h("li", {}, h("button", {
      type: "button", "aria-current": place === current ? "true" : null, tabindex: place === Math.max(current, 0) ? 0 : -1,
      class: together ? "together" : null, "data-said": said?.state ?? null, onclick: () => choose(place),
    },
      h("span", { class: `badge dense${sampled(item) ? " sample" : ""}`, "data-decision": sampled(item) ? null : item.decision },
        LETTERS[item.decision]),
      h("strong", {}, titleOf(item, catalogue)),
      h("span", { class: "muted" }, percent(item.fraud_probability)),
      h("span", { class: "muted end" }, said ? `${MARKS[said.state]} ${said.label}`
        : held ? `open: ${item.claim.reviewer}` : skipped.has(item.prediction_id) ? "skipped" : age(item.received_at))));
  }));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -items.length, End: items.length }[event.key];
    if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const from = [...list.querySelectorAll("button")].indexOf(document.activeElement);
      choose(Math.min(Math.max(from + step, 0), items.length - 1), true);
    }
  });
  return list;
}
