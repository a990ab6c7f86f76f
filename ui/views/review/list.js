// The queue as a list of buttons; the one that is looked at is marked.
import { h } from "../../dom.js";
import { dateTime, significant } from "../../format.js";
import { badges, titleOf } from "./detail.js";

/**
 * @param {Object[]} items
 * @param {Map} said label by prediction id, for those labelled in this visit
 * @param {number} current place of the one that is looked at
 * @param {function(number)} choose
 * @param {import("../../fields.js").Catalogue|null} catalogue
 */
export function listOf(items, said, current, choose, catalogue) {
  return h("ol", { class: "queue" }, items.map((item, place) => {
    const label = said.get(item.prediction_id);
    return h("li", {}, h("button", {
      type: "button", "aria-current": place === current ? "true" : null, onclick: () => choose(place),
    },
      h("span", { class: "row" }, badges(item), label && h("span", { class: "badge said" }, `✓ ${label}`)),
      h("span", { class: "what" }, h("strong", {}, titleOf(item, catalogue)),
        h("span", { class: "muted small" }, `score ${significant(item.hybrid_score)}`)),
      h("span", { class: "muted small" }, dateTime(item.received_at))));
  }));
}
